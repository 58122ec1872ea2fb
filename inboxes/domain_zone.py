"""The records of a domain as lines of a zone file. Source: RFC 1035 5.1, RFC 6376 3.6.2.2 (long texts in several strings)."""

from collections.abc import Iterable, Iterator

from inboxes.dns_records import Purpose, Record
from inboxes.models import Domain

TTL = 3600
LONGEST_STRING = 255  # octets

WHAT_FOR = {
    Purpose.OWNERSHIP: "proves that the domain is yours",
    Purpose.MX: "mail comes to this server",
    Purpose.SPF: "who may send; there may be one such record only: add the mechanism to yours if you have one",
    Purpose.DKIM: "the key of its signatures",
    Purpose.DMARC: "what receivers do with mail that proves neither; keep yours if you have one",
    Purpose.RETURN_PATH: "bounces come back by it",
}


def zone_file(domain: Domain, records: Iterable[Record]) -> str:
    """Names are whole, so that it can be included in the zone of the domain or of one above it."""
    return "\n".join([f"; {domain.domain}: what mailbot needs of it", f"$TTL {TTL}", *_lines(records), ""])


def _lines(records: Iterable[Record]) -> Iterator[str]:
    for record in records:
        yield f"; {record.purpose}: {WHAT_FOR[record.purpose]}"
        yield f"{record.name}. {TTL} IN {record.type} {_data(record)}"


def _data(record: Record) -> str:
    return in_strings(record.value) if record.type == "TXT" else f"{record.value}."


def in_strings(text: str) -> str:
    """A TXT record's text, quoted, in strings that DNS can hold."""
    octets = text.encode("ascii")
    parts = [octets[start : start + LONGEST_STRING].decode() for start in range(0, len(octets), LONGEST_STRING)]
    return " ".join('"{}"'.format(part.replace("\\", "\\\\").replace('"', '\\"')) for part in parts)
