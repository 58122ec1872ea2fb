"""Fetching what a URL of somebody else's leads to: from public hosts only, within limits of time and size.

httpcore without httpx: that one takes no network backend, and unpacks what a server has compressed to a bomb.
"""

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

import httpcore
from django.conf import settings

from mailbot.lib.public_hosts import BadURL, PrivateHost, PublicOnly, check_url, host_of

MOST_REDIRECTS = 3
SILENCE = 10.0  # seconds that a server may take to connect, or between two pieces
# Not now, says the server (RFC 9110, RFC 6585); 500 and above is its own trouble.
TEMPORARY_STATUSES = frozenset({408, 425, 429})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Fetched:
    """`content_type` is the server's, without parameters; empty where it says none."""

    content: bytes
    content_type: str


class FetchFailed(Exception):
    """It was not fetched, and why, in words that name no query of the URL. `is_temporary`: another try may succeed."""

    def __init__(self, message: str, *, is_temporary: bool = False) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary


def shown(url: str) -> str:
    """The URL without its query: that may be a signature which opens the file to whoever has it."""
    before, mark, _ = url.partition("?")
    return before + ("?…" if mark else "")


def fetch(url: str, *, most: int, seconds: float, headers: Mapping[str, str] | None = None) -> Fetched:
    """What GET of `url` answers: at most so many octets, in so many seconds for all of it. Raises FetchFailed.

    `headers` go to the host of `url` and to no other that it redirects to: they may be the key to an API.
    """
    host = host_of(url)
    certificates = ssl.create_default_context()  # read first: what that takes is none of the server's time
    ends = time.monotonic() + seconds
    with httpcore.ConnectionPool(network_backend=PublicOnly(ends), ssl_context=certificates) as pool:
        for _ in range(MOST_REDIRECTS + 1):
            answer = _asked(pool, url, most, headers or {} if host_of(url) == host else {})
            if isinstance(answer, Fetched):
                return answer
            url = _next(url, answer)
    raise FetchFailed(f"{shown(url)} is the end of more than {MOST_REDIRECTS} redirects.")


def _next(url: str, location: str) -> str:
    target = urljoin(url, location)
    if url.startswith("https:") and not target.startswith("https:"):
        raise FetchFailed(f"{shown(url)} redirects to something that is not encrypted.")
    return target


def _asked(pool: httpcore.ConnectionPool, url: str, most: int, own: Mapping[str, str]) -> Fetched | str:
    """The content, or where it redirects to."""
    try:
        check_url(url)
        agent = f"mailbot/{settings.VERSION}"
        headers = {"User-Agent": agent, "Accept": "*/*", "Accept-Encoding": "identity", **own}
        limits = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), SILENCE)}
        with pool.stream("GET", url, headers=list(headers.items()), extensions=limits) as response:
            told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTS and "location" in told:
                return told["location"]
            _check(url, response.status, told, most)
            return Fetched(_read(url, response, most), told.get("content-type", "").partition(";")[0].strip().lower())
    except (BadURL, PrivateHost) as error:
        raise FetchFailed(f"{shown(url)}: {error}") from error
    except httpcore.TimeoutException as error:
        raise FetchFailed(f"{shown(url)} takes too long.", is_temporary=True) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise FetchFailed(
            f"{shown(url)} cannot be fetched: {str(error) or type(error).__name__}", is_temporary=True
        ) from error


def _check(url: str, status: int, told: dict[str, str], most: int) -> None:
    if status != 200:
        is_temporary = status >= 500 or status in TEMPORARY_STATUSES
        raise FetchFailed(f"{shown(url)} answers {status}.", is_temporary=is_temporary)
    if told.get("content-encoding", "identity") != "identity":
        raise FetchFailed(f"{shown(url)} is compressed, although that was not asked for.")
    if told.get("content-length", "").isdigit() and int(told["content-length"]) > most:
        raise _too_large(url, most)


def _read(url: str, response: httpcore.Response, most: int) -> bytes:
    content = bytearray()
    for piece in response.iter_stream():
        content += piece
        if len(content) > most:
            raise _too_large(url, most)
    return bytes(content)


def _too_large(url: str, most: int) -> FetchFailed:
    return FetchFailed(f"{shown(url)} is larger than the {most:,} octets that the mail still has room for.")
