"""Asking DNS. Whoever needs a record asks here, so that one setting says who answers: the servers of the system, those of
MAILBOT_DNS_SERVERS, or the zone file of MAILBOT_DNS_ZONE_FILE in place of all of them.

Every look-up has an end: it answers, or raises, within the time that it was given. Answers are kept for as long as they say (their TTL),
also that there is none (RFC 2308).

Sources: RFC 1034 3.6.2 (aliases), RFC 4592 (wildcards), RFC 1035 5 (zone files), RFC 7208 3.3 (strings of a TXT record are one text).
"""

import logging
import os
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Protocol

import dns.exception
import dns.inet
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset
import dns.tokenizer
import dns.zonefile
from django.conf import settings

log = logging.getLogger(__name__)

AT_ONCE = 16  # look-ups of lookup_all that a process has on their way
KEPT = 10_000  # answers
MAX_ALIASES = 8
DEFAULT_TTL = 300  # seconds, in zone files


class LookupFailed(Exception):
    """There is no answer that could be used."""


class NotFound(LookupFailed):
    """DNS says that there is none. `name_exists`: the name has records of other types."""

    def __init__(self, name: str, record_type: str, *, name_exists: bool = False) -> None:
        super().__init__(f"{name} has no {record_type} record." if name_exists else f"{name} does not exist in DNS.")
        self.name_exists = name_exists


class Temporary(LookupFailed):
    """Nobody knows: DNS did not answer in time, or a server of the domain is at fault. Ask again later."""


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    record_type: str


class Resolver(Protocol):
    def lookup(self, name: str, record_type: str, *, within: float, fresh: bool) -> tuple[str, ...]:
        """As `lookup` below."""
        ...


def lookup(name: str, record_type: str, *, within: float | None = None, fresh: bool = False) -> tuple[str, ...]:
    """The records of this name and type (`TXT`, `MX`, `A`, `AAAA`, `PTR` …), aliases followed, in order of their text, at least one.

    A TXT record is one text, its strings joined; an MX record is `10 mx.example.com`; names have no dot at their end. `fresh`: what is
    kept from before is not used (a server on the way may still have it). Raises NotFound or Temporary, within `within` seconds
    (None: MAILBOT_DNS_TIMEOUT).
    """
    return resolver().lookup(name, record_type, within=settings.DNS_TIMEOUT if within is None else within, fresh=fresh)


def lookup_all(
    questions: Collection[Question], *, within: float | None = None, fresh: bool = False
) -> dict[Question, tuple[str, ...] | LookupFailed]:
    """Many at once, in threads: each answer, or why there is none. Takes `within` seconds at most, however many are asked."""
    within = settings.DNS_TIMEOUT if within is None else within
    ends_at = monotonic() + within
    asking = {question: _pool(os.getpid()).submit(_before, ends_at, question, fresh) for question in questions}
    wait(asking.values(), within)
    return {question: _outcome(future) for question, future in asking.items()}


@lru_cache(maxsize=1)
def _pool(_pid: int) -> ThreadPoolExecutor:
    """One a process: what was made before a fork has no threads behind it."""
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="dns")


def _before(ends_at: float, question: Question, fresh: bool) -> tuple[str, ...]:
    left = ends_at - monotonic()
    if left <= 0:
        raise Temporary("DNS was not asked in time.")
    return lookup(question.name, question.record_type, within=left, fresh=fresh)


def _outcome(future: "Future[tuple[str, ...]]") -> tuple[str, ...] | LookupFailed:
    if not future.done():
        future.cancel()
        return Temporary("DNS did not answer in time.")
    try:
        return future.result()
    except LookupFailed as failed:
        return failed


def resolver() -> Resolver:
    """Who answers, as the settings say now."""
    if settings.DNS_ZONE_FILE:
        file = Path(settings.DNS_ZONE_FILE)
        try:
            found = file.stat()
            return _zone_file(file, (found.st_mtime_ns, found.st_ino, found.st_size))
        except (OSError, ValueError) as error:
            log.warning("MAILBOT_DNS_ZONE_FILE cannot be read: %s", error)
            raise Temporary("The zone file of this server cannot be read.") from error
    return _servers(tuple(settings.DNS_SERVERS))


@lru_cache(maxsize=8)
def _servers(addresses: tuple[str, ...]) -> "Servers":
    return Servers(addresses)


@lru_cache(maxsize=8)
def _zone_file(file: Path, _version: tuple[int, int, int]) -> "Zone":
    return Zone.read(file.read_text(encoding="utf-8"))


class Servers:
    """DNS servers: these (`127.0.0.1:5353`, `[::1]:53`, an address alone), or without any those of /etc/resolv.conf."""

    def __init__(self, addresses: Iterable[str] = ()) -> None:
        named = [nameserver(address) for address in addresses]
        try:
            self._resolver = dns.resolver.Resolver(configure=not named)
        except dns.resolver.NoResolverConfiguration as error:
            log.warning("No DNS server is known: %s", error)
            raise Temporary("This server knows no DNS server.") from error
        if named:
            self._resolver.nameservers = named
        self._kept = dns.resolver.LRUCache(KEPT)
        self._resolver.cache = self._kept

    def lookup(self, name: str, record_type: str, *, within: float, fresh: bool) -> tuple[str, ...]:
        wanted, kind = _absolute(name, record_type), dns.rdatatype.from_text(record_type)
        if fresh:
            self._kept.flush((wanted, kind, dns.rdataclass.IN))
            self._kept.flush((wanted, dns.rdatatype.ANY, dns.rdataclass.IN))  # where a name that does not exist is kept
        try:
            answer = self._resolver.resolve(wanted, kind, lifetime=within, search=False)
        except dns.resolver.NXDOMAIN:
            raise NotFound(name, record_type) from None
        except dns.resolver.NoAnswer:
            raise NotFound(name, record_type, name_exists=True) from None
        except (dns.exception.DNSException, OSError) as error:
            raise Temporary(_in_words(name, error)) from error
        return tuple(sorted(as_text(record) for record in answer))


def _in_words(name: str, error: Exception) -> str:
    """For tenants: dnspython's own words name the servers that were asked."""
    if isinstance(error, dns.resolver.NoNameservers):
        return f"DNS has a fault: all servers refused to answer for {name}."
    return f"DNS did not answer for {name}{' in time' if isinstance(error, dns.exception.Timeout) else ''}."


def nameserver(address: str) -> dns.nameserver.Nameserver:
    """Raises ValueError for what is no `address`, `address:port` or `[address]:port`."""
    host, _, port = address.rpartition(":") if address.count(":") == 1 or "]:" in address else (address, "", "53")
    host = host.strip("[]")
    if not dns.inet.is_address(host) or not port.isdigit():
        raise ValueError(f"“{address}” is no address of a server.")
    return dns.nameserver.Do53Nameserver(host, int(port))


class Zone:
    """What a zone file says, and nothing else. Names of any domain may stand in it; those that end in no dot are meant whole, too."""

    def __init__(self, records: Iterable[dns.rrset.RRset]) -> None:
        self._records = {(records_of.name, records_of.rdtype): records_of for records_of in records}
        self._names = {parent for name, _ in self._records for parent in _upwards(name)}

    @classmethod
    def read(cls, text: str) -> "Zone":
        """Raises ValueError with the line at fault."""
        return cls(read_records(text))

    def lookup(self, name: str, record_type: str, *, within: float = 0, fresh: bool = False) -> tuple[str, ...]:
        """At once, and never Temporary."""
        owner, kind = _absolute(name, record_type), dns.rdatatype.from_text(record_type)
        for _ in range(MAX_ALIASES):
            source = owner if owner in self._names else self._wildcard(owner)
            if found := self._records.get((source, kind)):
                return tuple(sorted(as_text(record) for record in found))
            alias = self._records.get((source, dns.rdatatype.CNAME))
            if alias is None:
                break
            owner = alias[0].target
        raise NotFound(name, record_type, name_exists=source in self._names)

    def _wildcard(self, owner: dns.name.Name) -> dns.name.Name:
        """The wildcard below the nearest name above this one that exists."""
        nearest = next(above for above in _upwards(owner.parent()) if above in self._names or above == dns.name.root)
        return dns.name.Name((b"*", *nearest.labels))


def read_records(zone: str) -> list[dns.rrset.RRset]:
    """What stands in a zone file, with $ORIGIN and $TTL. Raises ValueError with the line at fault."""
    found = dns.zonefile.RRSetsReaderManager(dns.name.root, relativize=False)
    directives = ("$ORIGIN", "$TTL")
    try:
        with found.writer(True) as writer:  # type: ignore[no-untyped-call]
            lines = dns.tokenizer.Tokenizer(zone, "line")
            dns.zonefile.Reader(
                lines, dns.rdataclass.IN, writer, allow_directives=directives, default_ttl=DEFAULT_TTL
            ).read()
    except dns.exception.DNSException as error:
        raise ValueError(f"This is no zone file: {error}") from error
    return found.rrsets


def _upwards(name: dns.name.Name) -> Iterable[dns.name.Name]:
    while name != dns.name.root:
        yield name
        name = name.parent()
    yield name


def _absolute(name: str, record_type: str) -> dns.name.Name:
    """Raises NotFound for what cannot be a name: nobody can have published anything there."""
    try:
        return dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError):
        raise NotFound(name, record_type) from None


def as_text(record: dns.rdata.Rdata) -> str:
    match record.rdtype:
        case dns.rdatatype.TXT | dns.rdatatype.SPF:
            return b"".join(record.strings).decode("utf-8", "replace")  # type: ignore[attr-defined]
        case dns.rdatatype.MX:
            return f"{record.preference} {_bare(record.exchange)}"  # type: ignore[attr-defined]
        case dns.rdatatype.CNAME | dns.rdatatype.NS | dns.rdatatype.PTR:
            return _bare(record.target)  # type: ignore[attr-defined]
        case _:
            return record.to_text()


def _bare(name: dns.name.Name) -> str:
    """A null MX stays a dot (RFC 7505)."""
    return name.to_text(omit_final_dot=True).lower() or "."
