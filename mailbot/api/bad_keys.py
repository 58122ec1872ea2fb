"""Who tries key after key is sent away before any is looked up.

A key has 160 random bits, so nobody finds one by trying: this saves the database the work. Only failures are counted, so a call with a
good key costs nothing here; and keys that were good before pass from an address that is shut out, since others may share it.
"""

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from time import monotonic
from typing import TypeVar

from django.conf import settings

from mailbot.api.rate_limits import counter, too_many
from mailbot.lib.rates import Rate

Value = TypeVar("Value")
IPV6_PREFIX = 64  # what one subscriber has: RFC 6177


class KeyGuard:
    """Of this process: the addresses that are shut out, until when, and digests of keys that were good."""

    MOST = 10_000

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._shut_until: OrderedDict[str, float] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def check(self, remote_addr: str | None, digest: str) -> None:
        """Raises ApiError `rate_limited`."""
        if not self._shut_until or digest in self._known:
            return
        wait = self._shut_until.get(network_of(remote_addr), 0.0) - self._clock()
        if wait > 0:
            raise too_many("Too many calls with unknown keys from your address.", wait, "Check the key.")

    def note_failure(self, remote_addr: str | None) -> None:
        rate: Rate | None = settings.RATE_LIMIT_BAD_KEYS
        if rate is None:
            return
        network = network_of(remote_addr)
        (count,) = counter().hit([(f"bad-keys:{network}", rate)])
        if count.next_in:
            _remember(self._shut_until, network, self._clock() + count.next_in, self.MOST)

    def note_success(self, digest: str) -> None:
        _remember(self._known, digest, None, self.MOST)


def network_of(remote_addr: str | None) -> str:
    """What counts as one caller: an IPv4 address, or the network of an IPv6 one."""
    if remote_addr is None:
        return ""
    address = ip_address(remote_addr)
    if address.version == 6 and address.ipv4_mapped:  # as a socket for both shows IPv4: all of it would be one network
        address = address.ipv4_mapped
    return str(address if address.version == 4 else ip_network((address, IPV6_PREFIX), strict=False))


def _remember(kept: OrderedDict[str, Value], name: str, value: Value, most: int) -> None:
    kept[name] = value
    while len(kept) > most:
        kept.popitem(last=False)


guard = KeyGuard()
