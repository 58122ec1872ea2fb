"""Which hosts mailbot may connect to on somebody else's word: those of the public internet, and what the operator allows.

Whoever names a URL or a host could otherwise have the server ask for him inside of its own network (server-side request forgery, OWASP
Top 10:2021 A10). A name is looked up here and the connection is made to the address that was checked: looked up twice, it could lead
elsewhere the second time (DNS rebinding).
"""

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

import httpcore
from django.conf import settings

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


class NotPublic(Exception):
    """The host leads to an address that is not of the public internet, and that the operator has not allowed."""


class BadURL(ValueError):
    """The text is no URL that could be fetched; the message says why."""


def check_url(url: str) -> SplitResult:
    """Parse an http or https URL that somebody gave. Raises BadURL, also for a literal address that is not public: whoever gave it is
    still there to be told. What a name leads to is found when it is connected to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadURL("This is not a URL.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadURL("This is not a URL that begins with https:// or http:// and names a host.")
    if "@" in parts.netloc:
        raise BadURL("User names and passwords in URLs are not sent.")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise BadURL(
            "Write characters outside of printable ASCII, and blanks, percent-encoded (RFC 3986), a host name in punycode."
        )
    address = _literal(parts.hostname)
    if port == 0 or (address is not None and not _is_allowed(address, parts.hostname)):
        raise BadURL("This address is not of the public internet.")
    return parts


def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of `host` that may be connected to, as the resolver orders them. Raises NotPublic when there are only others, and
    OSError when the name cannot be looked up."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    allowed = [address for address in addresses if _is_allowed(ipaddress.ip_address(address.partition("%")[0]), host)]
    if not allowed:
        raise NotPublic(f"{host} is not a host of the public internet.")
    return allowed


def is_public(address: IPAddress) -> bool:
    """Whether it is a unicast address of the public internet, also where it stands inside of an IPv6 address."""
    if isinstance(address, ipaddress.IPv6Address) and (inside := _embedded(address)) is not None:
        return is_public(inside)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo


def _literal(host: str) -> IPAddress | None:
    """An address in any way of writing that a resolver takes for one: 127.1 and 0x7f000001 are 127.0.0.1."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
    except OSError:
        return None


def _is_allowed(address: IPAddress, host: str) -> bool:
    names, networks = _allowed(tuple(settings.FETCH_ALLOW))
    return is_public(address) or host.lower() in names or any(address in network for network in networks)


@lru_cache(maxsize=4)
def _allowed(entries: tuple[str, ...]) -> tuple[frozenset[str], tuple[Network, ...]]:
    networks, names = [], set()
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            names.add(entry.lower())
    return frozenset(names), tuple(networks)


class PublicOnly(httpcore.SyncBackend):
    """The network as httpcore uses it, without what is not public."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Raises NotPublic, and what httpcore raises for the last of the host's addresses that may be tried."""
        try:
            addresses = addresses_of(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be looked up: {error}") from error
        failed: Exception | None = None
        for address in addresses[:2]:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError(f"{host} has no address.")
