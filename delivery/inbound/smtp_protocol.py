"""One SMTP session: aiosmtpd's command loop, with our own verbs and our own reading of DATA.

aiosmtpd keeps the connection, reads command lines and calls `smtp_<VERB>`. It is not used for what it does too slowly
(DATA line by line), too loosely (addresses) or not at all (enhanced status codes, limits). Source: RFC 5321, RFC
2034, RFC 2920, RFC 3207.
"""

# ruff: noqa: N802  (aiosmtpd finds a command's method by its name)

import asyncio
import logging
import re
import ssl
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from aiosmtpd.smtp import SMTP, Envelope

from delivery.inbound import smtp_paths
from delivery.inbound.receive import LARGE, InboundRecipient, Outcome, ReceivedMail, StorageError, StorageFull
from delivery.inbound.smtp_data import MOST_HOPS, MailText, hops, read_mail_text
from delivery.inbound.smtp_paths import Refused
from mailbot.lib.addresses import CanonicalAddress
from mailbot.lib.batching import Overloaded

if TYPE_CHECKING:
    from delivery.inbound.smtp_server import SMTPServer

log = logging.getLogger(__name__)

MAX_ERRORS = 20  # a session: bad syntax, unknown commands, commands out of order
READ_LIMIT = 64 * 1024  # octets of the reader: a block of DATA, and where reading from the socket pauses
MAX_COMMAND = 1024  # octets; RFC 5321 4.5.3.1.4 asks for 512, and more for the parameters of extensions
FLUSH_TIMEOUT = 5.0  # seconds for a client to read our last words

NO_MAILBOX = "550 5.1.1 No such mailbox here"
TRY_LATER = "451 4.3.0 The mail system cannot do this now, try again later"
MAILBOX_FULL = "452 4.2.2 The mailbox is full, try again later"
NO_ROOM = "452 4.3.1 Not enough room now, try again later"
TOO_MANY_ERRORS = "421 4.7.0 Too many errors, closing"
CLOSING_DOWN = "421 4.3.2 The service is closing down"
TOO_SLOW = "421 4.4.2 The mail took too long"
LOOPS = "554 5.4.6 This mail goes round in circles: too many Received headers"
REPLIES = {Outcome.STORED: "250 2.0.0 OK", Outcome.NO_LONGER_HERE: NO_MAILBOX, Outcome.UNSTORABLE: TRY_LATER}

# RFC 2034 wants an enhanced code in every reply but those to HELO and EHLO. aiosmtpd's own replies have none.
_ENHANCED = {"221": "2.0.0", "250": "2.0.0", "500": "5.5.2", "501": "5.5.4", "502": "5.5.1", "503": "5.5.1"}
_HAS_ENHANCED = re.compile(r"... [245]\.\d{1,3}\.\d{1,3} ")
_ERRORS = frozenset({"500", "501", "502", "503", "504", "555"})
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class MailTransaction(Envelope):
    """What MAIL and RCPT have said so far. `sender` is None until MAIL, and empty for the null sender."""

    def __init__(self) -> None:
        super().__init__()
        self.sender: str | None = None
        self.recipients: list[InboundRecipient] = []


class _OneLimitForAll(dict[str, int]):
    """aiosmtpd keeps limits by command, in a table that grows with every command that a client makes up."""

    def __missing__(self, command: str) -> int:
        return MAX_COMMAND


class SMTPSession(SMTP):
    line_length_limit = READ_LIMIT
    command_size_limit = MAX_COMMAND
    command_size_limits = _OneLimitForAll()

    def __init__(self, server: "SMTPServer") -> None:
        limits = server.limits
        super().__init__(
            server,
            data_size_limit=limits.max_size,
            enable_SMTPUTF8=True,
            hostname=server.hostname,
            ident="mailbot ESMTP",
            tls_context=server.tls_context,
            timeout=limits.idle_timeout,
            loop=server.loop,
        )
        self.server = server
        self.remote_addr = ""
        self.is_tls = False
        self.is_in_data = False
        self._is_admitted = False
        self._errors = 0
        self._held = ""  # replies that go with the next one
        self._refused_recipients = 0
        self.heard_at = self.loop.time()

    @property
    def mail(self) -> MailTransaction:
        return cast(MailTransaction, self.envelope)

    # --- The connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.remote_addr = str(peer[0]) if peer else ""
        if refusal := self.server.admit(self):
            cast(asyncio.WriteTransport, transport).write(f"{refusal}\r\n".encode())
            transport.close()
            return
        self._is_admitted = True
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_admitted:
            self._is_admitted = False
            self.server.forget(self)
            super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self._is_admitted:
            self.heard_at = self.loop.time()
            super().data_received(data)

    def eof_received(self) -> bool | None:
        return super().eof_received() if self._is_admitted else None

    @property
    def is_leaving(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    def say_goodbye(self, reply: str) -> None:
        """Send a last reply and close. A client that does not read it is cut off."""
        if self.transport is None or self.is_leaving:
            return
        self._write(reply)
        self.transport.close()
        self.loop.call_later(FLUSH_TIMEOUT, cast(asyncio.WriteTransport, self.transport).abort)

    def cut_off(self) -> None:
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()

    def _create_envelope(self) -> MailTransaction:
        return MailTransaction()

    def _reset_timeout(self, duration: float | None = None) -> None:
        # aiosmtpd sets a new timer for each command. Here one timer runs, and looks when the client was last heard.
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_later(self._timeout_duration, self._timeout_cb)

    def _timeout_cb(self) -> None:
        remaining = self.heard_at + self._timeout_duration - self.loop.time()
        if remaining > 0:
            self._timeout_handle = self.loop.call_later(remaining, self._timeout_cb)
        else:
            self.say_goodbye("421 4.4.2 Nothing was heard for too long, closing")

    async def _handle_client(self) -> None:
        with suppress(ConnectionError):
            await super()._handle_client()

    async def handle_exception(self, error: Exception) -> str:
        log.error("SMTP session with %s failed", self.remote_addr, exc_info=error)
        return TRY_LATER

    # --- Replies -----------------------------------------------------------------------------------------------------

    async def push(self, status: str | bytes) -> None:
        reply = _complete(status if isinstance(status, str) else status.decode())
        if reply[:3] in _ERRORS:
            self._errors += 1
            if self._errors > MAX_ERRORS or "Too many unrecognized commands" in reply:
                self.say_goodbye(TOO_MANY_ERRORS)
                return
        await self._send(reply)

    async def _push_with_the_next(self, reply: str) -> None:
        """Where another command is here already, their replies go together: RFC 2920 3.2."""
        if b"\n" in self._reader._buffer:  # type: ignore[attr-defined]
            self._held += f"{reply}\r\n"
        else:
            await self._send(reply)

    async def _send(self, *lines: str) -> None:
        self._write(*lines)
        await self._writer.drain()

    def _write(self, *lines: str) -> None:
        held, self._held = self._held, ""
        self._writer.write((held + "".join(f"{line}\r\n" for line in lines)).encode())

    # --- Greeting and small commands ---------------------------------------------------------------------------------

    async def smtp_HELO(self, hostname: str | None) -> None:
        if not hostname:
            await self.push("501 5.5.4 Syntax: HELO hostname")
            return
        self._greet(hostname, extended=False)
        await self._send(f"250 {self.hostname}")

    async def smtp_EHLO(self, hostname: str | None) -> None:
        if not hostname:
            await self.push("501 5.5.4 Syntax: EHLO hostname")
            return
        self._greet(hostname, extended=True)
        offers = [f"SIZE {self.server.limits.max_size}", "8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES"]
        if self.tls_context and not self.is_tls:
            offers.append("STARTTLS")
        await self._send(f"250-{self.hostname}", *(f"250-{offer}" for offer in offers[:-1]), f"250 {offers[-1]}")

    def _greet(self, hostname: str, *, extended: bool) -> None:
        assert self.session is not None
        self.envelope = MailTransaction()
        self.session.host_name = hostname
        self.session.extended_smtp = extended

    async def smtp_VRFY(self, arg: str | None) -> None:
        await self.push("252 2.1.5 Send the mail, then you will know")

    async def smtp_EXPN(self, arg: str | None) -> None:
        await self.push("502 5.5.1 Not offered here")

    async def smtp_AUTH(self, arg: str | None) -> None:
        await self.push("502 5.5.1 Not offered here")

    async def smtp_HELP(self, arg: str | None) -> None:
        await self.push("214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY STARTTLS: see RFC 5321")

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        if arg:
            await self.push("501 5.5.4 Syntax: STARTTLS")
            return
        if self.tls_context is None or self.is_tls:
            await self.push("502 5.5.1 Not offered here")
            return
        await self.push("220 2.0.0 Ready to start TLS")
        await self._discard_plaintext()
        await self._start_tls(self.tls_context)

    async def _discard_plaintext(self) -> None:
        """Commands that came in clear behind STARTTLS may be an attacker's: RFC 3207 6, CVE-2011-0411."""
        if pending := len(self._reader._buffer):  # type: ignore[attr-defined]
            await self._reader.read(pending)

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        plain = cast(asyncio.Transport, self.transport)
        try:
            secured = await self.loop.start_tls(plain, self, context, server_side=True, ssl_handshake_timeout=30)
        except (OSError, ssl.SSLError, TimeoutError):
            plain.abort()
            return
        # As in asyncio's own StreamWriter.start_tls, and for the reader too, which pauses what it reads from.
        self.transport = self._transport = secured
        self._reader._transport = self._writer._transport = secured  # type: ignore[attr-defined]
        self._over_ssl = self.is_tls = True
        assert self.session is not None
        assert secured is not None
        self.session.ssl = {"cipher": secured.get_extra_info("cipher")}
        self.session.host_name = None
        self.envelope = MailTransaction()

    # --- The envelope ------------------------------------------------------------------------------------------------

    async def smtp_MAIL(self, arg: str | None) -> None:
        if await self.check_helo_needed():
            return
        if self.mail.sender is not None:
            await self.push("503 5.5.1 MAIL was already sent")
            return
        try:
            path, parameters = smtp_paths.parse_path(arg, "FROM")
            smtp_paths.check_mail_parameters(parameters, max_size=self.server.limits.max_size)
            self.mail.sender = smtp_paths.envelope_sender(path)
        except Refused as refusal:
            await self.push(str(refusal))
            return
        await self._push_with_the_next("250 2.1.0 OK")

    async def smtp_RCPT(self, arg: str | None) -> None:
        if await self.check_helo_needed():
            return
        if self.mail.sender is None:
            await self.push("503 5.5.1 MAIL comes first")
            return
        if len(self.mail.recipients) >= self.server.limits.max_recipients:
            await self.push("452 4.5.3 Too many recipients, send them the mail separately")
            return
        try:
            await self._add_recipient(arg)
        except Refused as refusal:
            await self._refuse_recipient(str(refusal))
            return
        await self._push_with_the_next("250 2.1.5 OK")

    async def _add_recipient(self, arg: str | None) -> None:
        path, parameters = smtp_paths.parse_path(arg, "TO")
        smtp_paths.check_rcpt_parameters(parameters)
        address = smtp_paths.recipient_address(path)
        recipient = InboundRecipient(address.address, address.tag, await self._find_inbox(address))
        if recipient not in self.mail.recipients:
            self.mail.recipients.append(recipient)

    async def _find_inbox(self, address: CanonicalAddress) -> str:
        try:
            inbox = await self.server.lookups.submit(address)
        except (Overloaded, TimeoutError) as error:
            raise Refused(TRY_LATER) from error
        except Exception as error:
            log.warning("An inbox could not be looked up: %s", error)
            raise Refused(TRY_LATER) from error
        if inbox is None:
            raise Refused(NO_MAILBOX)
        if inbox.is_full:  # for now: the sender keeps the mail and comes again for days
            raise Refused(MAILBOX_FULL)
        return inbox.inbox_id

    async def _refuse_recipient(self, reply: str) -> None:
        """A sender with an old list is wrong now and then; one that tries name after name is harvesting."""
        self._refused_recipients += reply.startswith("55")
        if self._refused_recipients > self.server.limits.max_recipients:
            self.say_goodbye("421 4.7.0 Too many unknown recipients, closing")
            return
        await self.push(reply)

    # --- The mail ----------------------------------------------------------------------------------------------------

    async def smtp_DATA(self, arg: str | None) -> None:
        if refusal := self._why_no_data(arg):
            await self.push(refusal)
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        text = MailText(self.server.limits.max_size, self.server.budget_of(self.remote_addr))
        self.is_in_data = True
        try:
            async with asyncio.timeout(self.server.limits.data_timeout):
                await read_mail_text(self._reader, text)
            reply = await self._take(text)
        except TimeoutError:
            self.say_goodbye(TOO_SLOW)
            return
        finally:
            self.is_in_data = False
            text.release()
        self.envelope = MailTransaction()
        await self.push(reply)
        if self.server.is_stopping:
            self.say_goodbye(CLOSING_DOWN)

    def _why_no_data(self, arg: str | None) -> str:
        if self.mail.sender is None:
            return "503 5.5.1 MAIL comes first"
        if not self.mail.recipients:
            return "503 5.5.1 RCPT comes first" if not self._refused_recipients else "554 5.5.1 No valid recipients"
        if arg:
            return "501 5.5.4 Syntax: DATA"
        return NO_ROOM if self.server.budget_of(self.remote_addr).is_spent else ""

    async def _take(self, text: MailText) -> str:
        """The reply to the whole mail. Only a commit makes it a 250."""
        if text.is_too_large:
            return smtp_paths.too_large(self.server.limits.max_size)
        if text.has_no_room:
            return NO_ROOM
        raw = await self._whole(text)
        if hops(raw) >= MOST_HOPS:
            return LOOPS
        try:
            return REPLIES[await self.server.store(self._received(raw))]
        except (Overloaded, StorageFull):
            return NO_ROOM
        except (StorageError, TimeoutError) as error:
            log.warning("A mail from %s was not stored: %s", self.remote_addr, str(error) or "it took too long")
            return TRY_LATER

    async def _whole(self, text: MailText) -> bytes:
        """Of a large mail put together in a thread: copying 30 MiB takes a while, and Python lets others run meanwhile."""
        return await asyncio.to_thread(text.raw) if text.size > LARGE else text.raw()

    def _received(self, raw: bytes) -> ReceivedMail:
        assert self.session is not None
        return ReceivedMail(
            source="smtp",
            dedupe_key="",  # whether a mail came before is judged by its content, when it is processed
            envelope_sender=self.mail.sender or "",
            recipients=tuple(self.mail.recipients),
            raw=raw,
            remote_addr=self.remote_addr,
            helo=self.session.host_name or "",
            tls=self.is_tls,
        )


@lru_cache(maxsize=256)  # nearly all are the same few
def _complete(reply: str) -> str:
    """With an enhanced code, in printable ASCII, within the 512 octets of RFC 5321 4.5.3.1.5."""
    if reply[:3] in _ENHANCED and not _HAS_ENHANCED.match(reply):
        reply = f"{reply[:3]} {_ENHANCED[reply[:3]]} {reply[4:]}"
    return _UNPRINTABLE.sub("?", reply.replace("“", '"').replace("”", '"'))[:510]
