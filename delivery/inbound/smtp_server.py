"""The SMTP server of one process: who may connect, how much is held, and how it starts and stops."""

import asyncio
import ipaddress
import logging
import signal
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache

import uvloop
from django.conf import settings
from django.db import connection

from delivery.inbound.large import goes_ahead
from delivery.inbound.receive import LARGE, Outcome, ReceivedMail, store_inbound_mail
from delivery.inbound.smtp_data import OctetBudget
from delivery.inbound.smtp_protocol import CLOSING_DOWN, SMTPSession
from inboxes.routing import RoutedInbox, find_inboxes
from mailbot.lib.addresses import CanonicalAddress
from mailbot.lib.batching import BatchLimits, GroupedCalls

log = logging.getLogger(__name__)

STOP_GRACE = 20.0  # seconds for mail that is in DATA when we are told to stop
BACKLOG = 1024
SHARES = 4  # a single address may hold one of so many parts


@dataclass(frozen=True, slots=True)
class SMTPLimits:
    """Of one process. Sizes in octets, times in seconds."""

    max_size: int
    max_connections: int
    max_recipients: int
    idle_timeout: float
    max_queued_octets: int
    data_timeout: float = 600.0  # for the text of one mail, however it trickles: RFC 5321 4.5.3.2.6
    max_connections_per_address: int = 50  # loopback is exempt: a proxy or the tests of this machine
    spared_silence: float = 10.0  # how long a client may say nothing before it makes room for another one
    database_timeout: float = 5.0  # how long a client waits for the database before it gets a 451
    large_timeout: float = 60.0  # the same for a large mail, which alone may take seconds to write

    @classmethod
    def from_settings(cls) -> "SMTPLimits":
        return cls(
            max_size=settings.SMTP_MAX_SIZE,
            max_connections=settings.SMTP_MAX_CONNECTIONS,
            max_recipients=settings.SMTP_MAX_RECIPIENTS,
            idle_timeout=settings.SMTP_IDLE_TIMEOUT,
            max_queued_octets=settings.SMTP_MAX_QUEUED_OCTETS,
        )


class SMTPServer:
    """Make and use it inside a running event loop. `find` and `store` block; each runs in a thread of its own."""

    def __init__(
        self,
        limits: SMTPLimits,
        *,
        hostname: str,
        tls_context: ssl.SSLContext | None = None,
        find: Callable[[Sequence[CanonicalAddress]], dict[str, RoutedInbox]] = find_inboxes,
        store: Callable[[Sequence[ReceivedMail]], list[Outcome]] = store_inbound_mail,
    ) -> None:
        self.limits = limits
        self.hostname = hostname
        self.tls_context = tls_context
        self.loop = asyncio.get_running_loop()
        self.budget = OctetBudget(limits.max_queued_octets)
        self.is_stopping = False
        self.lookups = _grouped_lookups(find, limits)
        self.storing = _grouped_storing(store, limits, "smtp storing", limits.database_timeout)
        # Writing 30 MiB takes a second: that has a thread and a connection of its own, and ordinary mail goes by it.
        self.storing_large = _grouped_storing(store, limits, "smtp storing large", limits.large_timeout)
        self._sessions: set[SMTPSession] = set()
        self._by_address: Counter[str] = Counter()
        self._shares: dict[str, OctetBudget] = {}
        self._is_empty = asyncio.Event()
        self._listener: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        """Accept connections on a bound socket."""
        self._listener = await self.loop.create_server(lambda: SMTPSession(self), sock=listening, backlog=BACKLOG)

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """Accept no more, send the idle away, let mail in DATA end within `grace` seconds, then cut off."""
        self.is_stopping = True
        if self._listener:
            self._listener.close()
        for session in list(self._sessions):
            if not session.is_in_data:
                session.say_goodbye(CLOSING_DOWN)
        await self._sessions_ended(grace)
        for calls in (self.lookups, self.storing, self.storing_large):
            with suppress(TimeoutError):
                await calls.close(timeout=self.limits.database_timeout)

    async def _sessions_ended(self, grace: float) -> None:
        if not self._sessions:
            return
        try:
            async with asyncio.timeout(grace):
                await self._is_empty.wait()
        except TimeoutError:
            log.warning("Cut off %d connections that did not end in %g s", len(self._sessions), grace)
            for session in list(self._sessions):
                session.cut_off()

    def admit(self, session: SMTPSession) -> str:
        """Take the session in, or the reply that turns it away."""
        if self.is_stopping:
            return CLOSING_DOWN
        if len(self._sessions) >= self.limits.max_connections and not self._make_room():
            return "421 4.7.0 Too many connections, try again later"
        from_there = self._by_address[session.remote_addr]
        if from_there >= self.limits.max_connections_per_address and not _is_local(session.remote_addr):
            return "421 4.7.0 Too many connections from your address"
        self._sessions.add(session)
        self._by_address[session.remote_addr] += 1
        self._is_empty.clear()
        return ""

    def _make_room(self) -> bool:
        """Whether there is some, now that whoever has been silent for longest was sent away: idle clients keep out nobody."""
        staying = [session for session in self._sessions if not session.is_leaving]
        if len(staying) < self.limits.max_connections:
            return True
        idlest = min(staying, key=lambda session: session.heard_at)
        if self.loop.time() - idlest.heard_at < self.limits.spared_silence:
            return False
        idlest.say_goodbye("421 4.3.2 Others need this connection, come again")
        return True

    def budget_of(self, remote_addr: str) -> OctetBudget:
        """One address may hold a part of the memory for mail in flight; what comes through this machine may hold all of it."""
        if _is_local(remote_addr):
            return self.budget
        share = self.limits.max_queued_octets // SHARES
        return self._shares.setdefault(remote_addr, OctetBudget(max(share, self.limits.max_size), share_of=self.budget))

    async def store(self, mail: ReceivedMail) -> Outcome:
        """Raises what GroupedCalls.submit and `store_inbound_mail` raise."""
        is_large = len(mail.raw) > LARGE or goes_ahead(len(mail.raw))
        return await (self.storing_large if is_large else self.storing).submit(mail)

    def forget(self, session: SMTPSession) -> None:
        self._sessions.discard(session)
        self._by_address[session.remote_addr] -= 1
        if not self._by_address[session.remote_addr]:
            del self._by_address[session.remote_addr]
            self._shares.pop(session.remote_addr, None)
        if not self._sessions:
            self._is_empty.set()


def serve(listening: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT, finish what is in DATA, return. Settings say the rest."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(listening, on_ready))


async def _serve(listening: socket.socket, on_ready: Callable[[], None]) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    server = SMTPServer(SMTPLimits.from_settings(), hostname=settings.MAILBOT_DOMAIN, tls_context=tls_context())
    await server.start(listening)
    on_ready()
    await told_to_stop.wait()
    await server.stop()


def tls_context() -> ssl.SSLContext | None:
    """For STARTTLS, when a certificate is set. Raises OSError (ssl.SSLError is one) when it cannot be read."""
    if not settings.SMTP_TLS_CERTIFICATE:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.SMTP_TLS_CERTIFICATE, settings.SMTP_TLS_KEY)
    return context


def _grouped_lookups(
    find: Callable[[Sequence[CanonicalAddress]], dict[str, RoutedInbox]], limits: SMTPLimits
) -> GroupedCalls[CanonicalAddress, RoutedInbox | None]:
    def look_up(addresses: Sequence[CanonicalAddress]) -> list[RoutedInbox | Exception | None]:
        with _own_connection():
            found = find(addresses)
            return [found.get(address.address) for address in addresses]

    batches = BatchLimits(max_batch=500, timeout=limits.database_timeout)
    return GroupedCalls(look_up, name="smtp lookups", limits=batches, on_stop=_close_connection)


def _grouped_storing(
    store: Callable[[Sequence[ReceivedMail]], list[Outcome]], limits: SMTPLimits, name: str, timeout: float
) -> GroupedCalls[ReceivedMail, Outcome]:
    def store_batch(mails: Sequence[ReceivedMail]) -> list[Outcome | Exception]:
        with _own_connection():
            return list(store(mails))

    batches = BatchLimits(timeout=timeout, max_queued_weight=limits.max_queued_octets)
    return GroupedCalls(
        store_batch, name=name, limits=batches, weigh=lambda mail: len(mail.raw), on_stop=_close_connection
    )


@contextmanager
def _own_connection() -> Iterator[None]:
    """Around each use of a thread's own database connection: one that failed is not used again.

    Django does this at the ends of a request; no request is here. The next batch connects anew, so that a database that
    comes back is used without a restart of ours. One that works is kept: Django's own check would close it each time.
    """
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _close_connection() -> None:
    connection.close()  # looked up here: each thread has its own


@lru_cache(maxsize=1024)
def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
