"""Domains that a test publishes, mail that they sign, and servers that bring it."""

import secrets
import time
from base64 import b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from delivery.inbound.process import process_inbound
from delivery.inbound.receive import InboundRecipient, Outcome, ReceivedMail, store_inbound_mail
from inboxes.models import Inbox
from inboxes.routing import find_inboxes
from mailbot.lib.addresses import canonical

SELECTOR = "s1"
BANK_SERVER, EVIL_SERVER, OTHER_SERVER = "198.51.100.7", "203.0.113.66", "192.0.2.99"


@lru_cache
def key_pair(name: str) -> tuple[bytes, str]:
    """The private key for dkimpy, and the record to publish."""
    key = rsa.generate_private_key(65537, 1024)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, f"v=DKIM1; k=rsa; p={b64encode(public).decode()}"


@dataclass
class World:
    """DNS as the test publishes it."""

    file: Path
    records: list[str] = field(default_factory=list)

    def publish(self, name: str, text: str) -> None:
        pieces = " ".join(f'"{text[start : start + 200]}"' for start in range(0, len(text), 200))
        self.records.append(f"{name}. 300 IN TXT {pieces}")
        self.file.write_text("\n".join(self.records) + "\n")

    def domain(self, name: str, server: str = "", policy: str = "", is_signing: bool = False) -> None:
        """`server`: the one address that its SPF allows; `policy`: its DMARC record behind `v=DMARC1; `."""
        if server:
            self.publish(name, f"v=spf1 ip4:{server} -all")
        if policy:
            self.publish(f"_dmarc.{name}", f"v=DMARC1; {policy}")
        if is_signing:
            self.publish(f"{SELECTOR}._domainkey.{name}", key_pair(name)[1])


def signed(raw: bytes, domain: str, *, headers: tuple[str, ...] = (), at: float = 0, **options: Any) -> bytes:
    """With a DKIM signature of this domain on top. `headers`: which it covers, else those that it should; `at`: when it was made."""
    clock, dkim.time.time = dkim.time.time, lambda: at or clock()
    try:
        header = dkim.DKIM(raw).sign(
            SELECTOR.encode(),
            domain.encode(),
            key_pair(domain)[0],
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=[name.encode() for name in headers] or None,
            **options,
        )
    finally:
        dkim.time.time = clock
    return bytes(header) + raw


def arrive(
    raw: bytes,
    inbox: Inbox,
    *,
    peer: str = EVIL_SERVER,
    envelope: str = "mallory@evil.example",
    helo: str = "mx.evil.example",
    source: str = "smtp",
) -> None:
    """As if this server had brought it; not filed yet."""
    address = canonical(inbox.address)
    recipient = InboundRecipient(address.address, address.tag, find_inboxes([address])[address.address].inbox_id)
    received = ReceivedMail(source, secrets.token_hex(16), envelope, (recipient,), raw, remote_addr=peer, helo=helo)
    assert store_inbound_mail([received]) == [Outcome.STORED]


def receive(raw: bytes, inbox: Inbox, **envelope: Any) -> None:
    arrive(raw, inbox, **envelope)
    while process_inbound():
        pass


A_MONTH = 30 * 24 * 3600


def a_month_ago() -> float:
    return time.time() - A_MONTH
