"""A DNS server on loopback, over UDP, that answers out of a zone file, or misbehaves."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.zonefile


class FakeDNS:
    """`manner`: `answers`, `hangs` (says nothing), `fails` (SERVFAIL). `asked`: what it was asked, in order."""

    def __init__(self, sock: socket.socket, zone: str = "") -> None:
        self._sock = sock
        self.address = f"127.0.0.1:{sock.getsockname()[1]}"
        self.manner = "answers"
        self.asked: list[str] = []
        self.publish(zone)

    def publish(self, zone: str) -> None:
        records = dns.zonefile.read_rrsets(zone, rdclass=None, origin=dns.name.root, default_ttl=300, relativize=False)
        self._records = {(record.name, record.rdtype): record for record in records}

    def serve(self) -> None:
        while True:
            try:
                query, client = self._sock.recvfrom(4096)
            except OSError:
                return
            if self.manner != "hangs" and query:
                self._sock.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        asked = dns.message.from_wire(query)
        question = asked.question[0]
        self.asked.append(f"{question.name} {dns.rdatatype.to_text(question.rdtype)}")
        answer = dns.message.make_response(asked, recursion_available=True)
        if self.manner == "fails":
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif found := self._records.get((question.name, question.rdtype)):
            answer.answer.append(found)
        else:
            known = {name for name, _ in self._records}
            answer.set_rcode(dns.rcode.NOERROR if question.name in known else dns.rcode.NXDOMAIN)
            answer.authority.append(
                dns.rrset.from_text(".", 300, "IN", "SOA", "ns.example. root.example. 1 300 300 300 300")
            )
        return answer.to_wire()


@contextmanager
def fake_dns(zone: str = "") -> Iterator[FakeDNS]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        server = FakeDNS(sock, zone)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        yield server
        server.manner = "hangs"
        sock.sendto(b"", sock.getsockname())  # closing alone does not wake it
        sock.close()
