"""Which hosts mailbot may connect to on somebody else's word: those of the public internet, and what MAILBOT_FETCH_ALLOW names.

Whoever names a URL or a host could otherwise have the server ask for him inside of its own network (server-side request forgery, OWASP
Top 10:2021 A10). What can be said without asking anybody is said when it is given (`check_url`, `refuse_private_name`). Where a name
leads is found when we connect, and the connection is made to the address that was checked: looked up twice, it could lead elsewhere the
second time (DNS rebinding).

Sources: IANA's special-purpose address registries (as in `ipaddress`), RFC 6761 (names), RFC 4291 2.5.5.2, 6052 (IPv4 in IPv6).
"""

import socket
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpcore
from django.conf import settings

IPAddress = IPv4Address | IPv6Address

_OWN_NAMES = (".localhost", ".local", ".internal", ".home.arpa")
_TRANSLATED = IPv6Network("64:ff9b::/96")  # the last 32 bits are an IPv4 address
# IANA gives addresses to hosts out of this alone; of it, these are not for hosts, or are a tunnel to an IPv4 address.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")))
# What older Pythons take for global: protocol assignments, AS112, AMT, the 6to4 relays.
_SPECIAL_IPV4 = tuple(
    map(IPv4Network, ("192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24"))
)
# Below 1024 other services listen, which read a request as something else (as the "bad ports" of the WHATWG's Fetch).
_WEB_PORTS = (80, 443)
_WHOM_TO_ASK = "Whoever runs this server can allow it with MAILBOT_FETCH_ALLOW."


class PrivateHost(ValueError):
    """It is not on the public internet, or does not say where it is."""


class BadURL(ValueError):
    """The text is no URL that could be fetched; the message says why."""


def check_url(url: str) -> SplitResult:
    """Parse an http or https URL that somebody gave. Raises BadURL, also for a host that is surely not public: whoever gave it is still
    there to be told."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadURL("This is not a URL.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadURL("This is not a URL that begins with https:// or http:// and names a host.")
    if port is not None and port < 1024 and port not in _WEB_PORTS:
        raise BadURL(f"Port {port} is not one for the web: 80, 443, or one from 1024 on.")
    if "@" in parts.netloc:
        raise BadURL("User names and passwords in URLs are not sent.")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise BadURL(
            "Write blanks and characters outside of ASCII percent-encoded (RFC 3986), and a host name in punycode."
        )
    try:
        refuse_private_name(parts.hostname)
    except PrivateHost as error:
        raise BadURL(str(error)) from error
    return parts


def host_of(value: str) -> str:
    """The host in a URL or in `host:port`; "" where there is none."""
    with suppress(ValueError):
        return (urlsplit(value if "://" in value else f"//{value}").hostname or "").rstrip(".").lower()
    return ""


def refuse_private_name(host: str) -> None:
    """Without looking it up. Raises PrivateHost."""
    if not host:
        raise PrivateHost("This names no host.")
    if _is_allowed_name(host):
        return
    if (address := _literal(host)) is not None:
        _refuse_private_address(host, address)
    elif "." not in host or f".{host}".endswith(_OWN_NAMES):
        raise PrivateHost(f"“{host[:100]}” is no public host. {_WHOM_TO_ASK}")


def public_addresses(host: str, port: int) -> list[str]:
    """Where the name leads, all of it public: connect to these and to nothing that is looked up again. Raises PrivateHost, OSError."""
    refuse_private_name(host)
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not _is_allowed_name(host):
        for address in found:
            _refuse_private_address(host, ip_address(address.partition("%")[0]))
    return list(dict.fromkeys(found))


def _refuse_private_address(host: str, address: IPAddress) -> None:
    if not is_public(address) and not _is_allowed_address(address):
        raise PrivateHost(f"“{host[:100]}” leads to {address}, which is no public address. {_WHOM_TO_ASK}")


def is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv4Address):
        usual = address.is_global and not (address.is_multicast or address.is_reserved)
        return usual and not any(address in special for special in _SPECIAL_IPV4)
    inner = _inside(address)
    if inner is not None:
        return is_public(inner)
    return address in _GLOBAL_UNICAST and not any(address in special for special in _SPECIAL_IPV6)


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _TRANSLATED else address.ipv4_mapped


def _literal(host: str) -> IPAddress | None:
    """Also in the spellings that the C library takes for one: 127.1, 0x7f000001, 2130706433."""
    with suppress(ValueError):
        return ip_address(host)
    with suppress(OSError):
        return IPv4Address(socket.inet_aton(host))
    return None


def _is_allowed_name(host: str) -> bool:
    return host in {name.lower() for name in settings.FETCH_ALLOW}


def _is_allowed_address(address: IPAddress) -> bool:
    for allowed in settings.FETCH_ALLOW:
        with suppress(ValueError):
            if address in ip_network(allowed, strict=False):
                return True
    return False


class PublicOnly(httpcore.SyncBackend):
    """The network as httpcore uses it, without what is not public, until `ends` (time.monotonic): no server can make it longer by
    sending an octet now and then."""

    def __init__(self, ends: float) -> None:
        self._ends = ends

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Raises PrivateHost, and what httpcore raises for the last of the host's addresses that may be tried."""
        try:
            addresses = public_addresses(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be looked up: {error}") from error
        failed: Exception | None = None
        for address in addresses[:2]:
            try:
                left = _left(self._ends, timeout, httpcore.ConnectTimeout)
                stream = super().connect_tcp(address, port, left, local_address, socket_options)
                return _Until(self._ends, stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError(f"{host} has no address.")


class _Until(httpcore.NetworkStream):
    def __init__(self, ends: float, stream: httpcore.NetworkStream) -> None:
        self._ends, self._stream = ends, stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._ends, timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._ends, timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._ends, timeout, httpcore.ConnectTimeout)
        return _Until(self._ends, self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(ends: float, timeout: float | None, over: type[httpcore.TimeoutException]) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise over("The time for all of it is over.")
    return left if timeout is None else min(timeout, left)
