"""`uvicorn --http mailbot.http_protocol:HttpProtocol`: uvicorn's own, which also finds out whether an answer has arrived.

TCP tells the server more than HTTP does. Linux answers a reset and not an end when a program closes a connection with something unread in
it, so an end of the connection, with every octet acknowledged, says that all was read. A client that asks again on a connection has read
the answer before. What is acknowledged on a connection that stays open was at least taken by the other side's kernel, or by a proxy.

Only answers that somebody watches cost anything (mailbot.lib.receipts).
"""

import asyncio
import fcntl
import socket
import struct
import termios
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mailbot.lib.receipts import EXTENSION, Outcome, Receipt

OPEN_FOR = (
    1.0  # seconds after which an answer that was acknowledged, on a connection that is still open, counts as delivered
)
RESET_WITHIN = 0.5  # seconds in which a reset follows an end of the connection when the client had not read all


class HttpProtocol(HttpToolsProtocol):
    """One connection. `_unsure` is the receipt of its last answer, while that is written and nobody has asked again."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unanswered: list[Receipt] = []
        self._unsure: Receipt | None = None
        self._look: asyncio.TimerHandle | None = None
        self._is_ended = False  # we have said that nothing more comes from us

    # --- Requests -----------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._settle(Outcome.DELIVERED)  # who asks again has read the answer
        self._unsure = None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        cycle = self.cycle
        if self.scope["method"] != "POST" or getattr(cycle, "scope", None) is not self.scope:  # an upgrade has none
            return
        receipt = Receipt()
        self._unanswered.append(receipt)
        self.scope["extensions"] = {EXTENSION: receipt}
        cycle.on_response = lambda: self._answered(receipt)
        cycle.transport = cast(asyncio.Transport, _PatientTransport(self, cycle, receipt))

    def data_received(self, data: bytes) -> None:
        if not self._is_ended:
            super().data_received(data)

    # --- Evidence -----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Say that nothing more comes, and listen for what the client says to that, for as long as a connection is kept alive."""
        self._is_ended = True
        self.transport.write_eof()

    def _answered(self, receipt: Receipt) -> None:
        self._unanswered = [other for other in self._unanswered if other is not receipt]
        if receipt.is_watched and not self.transport.is_closing():
            self._unsure = receipt
            self._look_after(OPEN_FOR)
        if self._is_ended:
            self.pipeline.clear()
        self.on_response_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """True keeps our side open: a client that closes with something unread sends a reset after its end."""
        if self._unsure is None or self._unsure.outcome is not Outcome.PENDING:
            return False
        if not self._is_acknowledged():
            self._settle(Outcome.LOST)
            return False
        if self.scheme == "https":  # which has no half-open connections
            self._settle(Outcome.DELIVERED)
            return False
        self._look_after(RESET_WITHIN, at_end=True)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_look()
        for receipt in self._unanswered:
            receipt.settle(Outcome.LOST)
        if exc is not None:
            self._settle(Outcome.LOST)
        self._unanswered, self._unsure = [], None
        super().connection_lost(exc)

    def _settle(self, outcome: Outcome) -> None:
        self._cancel_look()
        if self._unsure is not None:
            self._unsure.settle(outcome)

    def _look_after(self, seconds: float, *, at_end: bool = False) -> None:
        self._cancel_look()
        self._look = self.loop.call_later(seconds, self._look_at_end if at_end else self._look_at_open)

    def _cancel_look(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _look_at_open(self) -> None:
        if self.transport.is_closing():
            return
        if self._is_acknowledged():
            self._settle(Outcome.DELIVERED)  # a reset that comes later takes it back: connection_lost
        else:
            self._look_after(OPEN_FOR)

    def _look_at_end(self) -> None:
        if not self.transport.is_closing():
            self._settle(Outcome.LOST if self._error() else Outcome.DELIVERED)
            self.transport.close()

    def _is_acknowledged(self) -> bool:
        """Whether the other side has taken every octet. Where the system does not tell, it has what we have handed to the system."""
        if self.transport.get_write_buffer_size():
            return False
        try:
            (octets,) = struct.unpack("i", fcntl.ioctl(self._socket().fileno(), termios.TIOCOUTQ, b"\0" * 4))
        except OSError:
            return True
        return bool(octets <= self._is_ended)  # our end counts as one octet, and the client's may have crossed it

    def _error(self) -> int:
        return cast(int, self._socket().getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _socket(self) -> Any:
        return self.transport.get_extra_info("socket")


class _PatientTransport:
    """What the cycle of a POST writes to. uvicorn closes behind an answer that is the connection's last, and would hear no more of it."""

    def __init__(self, protocol: HttpProtocol, cycle: RequestResponseCycle, receipt: Receipt) -> None:
        self._protocol, self._cycle, self._receipt = protocol, cycle, receipt
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        transport = self._protocol.transport
        is_whole = self._receipt.is_watched and self._cycle.response_complete
        if is_whole and transport.can_write_eof() and not transport.is_closing():
            self._protocol.end()
        else:
            transport.close()
