"""The backends of provider rows that a worker keeps open: making one anew costs a TLS handshake, and with Amazon SES 420 ms.

A requests.Session is not made for threads, so each thread has its own for each row; a client of botocore is, so all threads share it.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.request import getproxies

from django.core.mail import get_connection

from delivery.esps import ESPS
from inboxes.models import Provider
from mailbot.lib.public_hosts import public_addresses

MOST_OPEN = 32  # backends a thread
# Seconds that a connection may have been idle. Servers close them, the quickest after five: one that is closed at the moment in which
# a mail is written to it leaves nobody knowing whether that was taken.
REUSED_WITHIN = 4.0
HTTPS = 443
HANDED_OVER = "mailbot_handed_over"


@dataclass
class _Open:
    fingerprint: str
    backend: Any
    used_at: float = field(default_factory=monotonic)


class _OfOneThread(threading.local):
    def __init__(self) -> None:
        self.backends: OrderedDict[str, _Open] = OrderedDict()


_own = _OfOneThread()
_shared: dict[str, _Open] = {}
_making = threading.Lock()


@contextmanager
def backend_of(row: Provider) -> Iterator[Any]:
    """An open backend with the credentials that the row has now.

    Raises CannotDecrypt, PrivateHost, OSError when the provider cannot be reached, and what Anymail says of wrong options: nothing was
    handed over.
    """
    esp = ESPS[row.esp]
    if not esp.keeps_open:
        backend = _opened(row)
        try:
            yield backend
        finally:
            close(backend)
    elif esp.is_thread_safe:
        with _making:
            backend = _kept(_shared, row)
        yield backend
    else:
        yield _kept_by_thread(row)


def _kept_by_thread(row: Provider) -> Any:
    backends = _own.backends
    known = backends.get(row.pk)
    if known and monotonic() - known.used_at > REUSED_WITHIN:
        close(backends.pop(row.pk).backend)
    backend = _kept(backends, row)
    backends.move_to_end(row.pk)
    while len(backends) > MOST_OPEN:
        close(backends.popitem(last=False)[1].backend)
    return backend


def _kept(backends: dict[str, _Open], row: Provider) -> Any:
    fingerprint = hashlib.sha256(f"{row.esp} {row.sealed}".encode()).hexdigest()
    known = backends.get(row.pk)
    if known is None or known.fingerprint != fingerprint:
        if known:
            close(known.backend)
        known = backends[row.pk] = _Open(fingerprint, _opened(row))
    known.used_at = monotonic()
    return known.backend


def _opened(row: Provider) -> Any:
    esp, credentials = ESPS[row.esp], row.credentials
    if row.account_id:  # a tenant's hosts may lead elsewhere by now than when they were saved
        for host in esp.hosts(credentials).values():
            public_addresses(host, HTTPS)
    backend = noting(get_connection(esp.backend, fail_silently=False, **esp.options(credentials)))
    backend.open()
    if session := getattr(backend, "session", None):
        session.max_redirects = 0  # an API does not move, and a tenant's could lead into the server's own network
        # Asked for each request otherwise: a tenth of what a mail costs here.
        session.trust_env = bool(getproxies())
    return backend


def noting(backend: Any) -> Any:
    """The backend, which notes on a message that it begins to talk to the ESP about it: an error of ours before that has handed nothing
    over, one after it perhaps. Only Anymail's have such a place."""
    if post := getattr(backend, "post_to_esp", None):

        def noted(payload: Any, message: Any) -> Any:
            setattr(message, HANDED_OVER, True)
            return post(payload, message)

        backend.post_to_esp = noted
    return backend


def forget(row: Provider) -> None:
    """Its connection of this thread is in a state that nobody knows: the next mail gets a new one."""
    if known := _own.backends.pop(row.pk, None):
        close(known.backend)


def close(backend: Any) -> None:
    try:
        backend.close()
    except OSError:  # the peer hung up first: what it answered counts
        return
