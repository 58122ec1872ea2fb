"""What stands in DNS during a test: a zone file in place of all servers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inboxes.domain_zone import in_strings
from tests.cast import Caller


class PublishedZone:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: dict[tuple[str, str], list[str]] = {}
        self._writes = 0
        self._write()

    def publish(self, records: Iterable[dict[str, Any]]) -> None:
        """`dns_records` of a domain, each in place of what was there."""
        for record in records:
            is_text = record["type"] == "TXT"
            data = in_strings(record["value"]) if is_text else f"{record['value']}."
            self.put(record["name"], record["type"], data)

    def put(self, name: str, kind: str, *data: str) -> None:
        """In place of what was there; without data, nothing is there any more."""
        self._lines[name, kind] = [f"{name}. 300 IN {kind} {each}" for each in data]
        self._write()

    def text(self, name: str, *texts: str) -> None:
        self.put(name, "TXT", *map(in_strings, texts))

    def _write(self) -> None:
        """The file is read anew when its time changes, and two writes may fall into one tick of the clock."""
        self._writes += 1
        lines = [f"; {self._writes}", *(line for lines in self._lines.values() for line in lines), ""]
        draft = self._file.with_suffix(f".{self._writes}")
        draft.write_text("\n".join(lines))
        draft.rename(self._file)


def add_domain(caller: Caller, name: str = "shop.example", **body: Any) -> dict[str, Any]:
    answer = caller.post("/v1/domains", {"domain": name, **body})
    assert answer.status_code == 201, answer.content
    return dict(answer.json()["data"])


def verify(caller: Caller, domain: dict[str, Any]) -> dict[str, Any]:
    """The whole answer."""
    answer = caller.post(f"/v1/domains/{domain['id']}/verify")
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def verified_domain(caller: Caller, dns: PublishedZone, name: str = "shop.example", **body: Any) -> dict[str, Any]:
    """One with all of its records in DNS."""
    domain = add_domain(caller, name, **body)
    dns.publish(domain["dns_records"])
    verified = dict(verify(caller, domain)["data"])
    assert verified["status"] == "verified"
    return verified


def statuses(domain: dict[str, Any]) -> dict[str, str]:
    """By purpose and name."""
    return {
        f"{record['purpose']} {record['type']} {record['name']}": record["status"] for record in domain["dns_records"]
    }
