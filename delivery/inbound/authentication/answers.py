"""What DNS says, as the checks of one mail ask it: bounded in number and time, and not at all where that is known to be of no use."""

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from time import monotonic

from django.conf import settings

from delivery.inbound.authentication.breaker import BREAKER, Breaker
from mailbot.lib import dns
from mailbot.lib.dns import NotFound, Temporary

MOST = 100  # look-ups for one mail; SPF may take 10 and those of their names, each DKIM signature takes one
WITHIN = 2.5  # seconds for one of them
SHARE_OF_OTHERS = 0.25  # of the time of a mail
# RFC 6761: no DNS server of the world knows names below these.
RESERVED = (".test", ".example", ".invalid", ".localhost")
Lookup = Callable[..., tuple[str, ...]]


class Answers:
    """`ends_at` (time.monotonic): whatever is asked later is Temporary. `lookup` and `breaker`: others than those of the process."""

    def __init__(self, ends_at: float, lookup: Lookup | None = None, breaker: Breaker | None = None) -> None:
        self._ends_at, self._lookup, self._breaker = ends_at, lookup or dns.lookup, breaker or BREAKER
        self._left = MOST

    def ask(self, name: str, record_type: str) -> tuple[str, ...]:
        """The records, at least one. Raises NotFound or Temporary."""
        if is_reserved(name) and not settings.DNS_ZONE_FILE:
            raise NotFound(name, record_type)
        seconds = min(self._ends_at - monotonic(), WITHIN)
        if seconds <= 0:
            raise Temporary("The time for this mail is over.")
        if self._left <= 0:
            raise Temporary(f"More than {MOST} look-ups for one mail.")
        self._left -= 1
        return self._breaker.ask(lambda: self._lookup(name, record_type, within=seconds))

    def aside(self) -> "Answers":
        """For what decides nothing, because it is not of From's domain: with less time, and a number of its own.

        Whoever forges chooses those domains, and their silence must not take the time of what decides.
        """
        now = monotonic()
        return Answers(now + SHARE_OF_OTHERS * (self._ends_at - now), self._lookup, self._breaker)

    @property
    def is_late(self) -> bool:
        return monotonic() > self._ends_at


def is_reserved(name: str) -> bool:
    return f".{name.rstrip('.').lower()}".endswith(RESERVED)


# Who stands in a network of our own, of which no SPF record speaks: RFC 1122, 1918, 3927, 6598, 4193, 4291.
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 100.64.0.0/10 ::1/128 fc00::/7 fe80::/10".split(),
    )
)


@lru_cache(maxsize=4096)
def public_peer(peer: str) -> str:
    """The address of a client of which SPF can speak; empty for none, and for one in a network of our own."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_unspecified or any(address.version == net.version and address in net for net in _PRIVATE):
        return ""
    return str(address)
