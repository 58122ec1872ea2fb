"""The text of a mail as it comes over the wire after DATA, and how much of such text the process holds.

Source: RFC 5321 2.3.8 (only CRLF ends a line), 4.1.1.4 (CRLF.CRLF ends the mail), 4.5.2 (transparency).
"""

import asyncio

from delivery.inbound.receive import LARGE

END_OF_DATA = b"\r\n.\r\n"
END = b"\r\n"  # what is left of it behind the last line of the mail, once its dot is taken off like every dot that begins a line
START = b"\r\n"  # the mail begins where a line begins, so that `.CRLF` at once is an empty mail: RFC 5321 4.1.1.4


# Seconds behind each block of a large mail. Without it a sender that is near takes all of a core of ours meanwhile, for which the 250s of
# others wait; a network is seldom as fast as what is left.
PAUSE = 0.001
HEADER = 256 * 1024  # octets in which hops are counted: as many as anybody's hundred need
MOST_HOPS = 100  # RFC 5321 6.3: a mail with so many goes round in circles, and is refused


def hops(raw: bytes) -> int:
    """How many servers say in its header that they have had this mail."""
    end = raw.find(b"\r\n\r\n", 0, HEADER)
    header = raw[: end if end >= 0 else HEADER].lower()
    return header.count(b"\r\nreceived:") + header.startswith(b"received:")


class OctetBudget:
    """A number of octets that may be held at a time; a share of another budget counts there too."""

    def __init__(self, total: int, share_of: "OctetBudget | None" = None) -> None:
        self._total = total
        self._share_of = share_of
        self.held = 0

    @property
    def is_spent(self) -> bool:
        return self.held >= self._total or (self._share_of is not None and self._share_of.is_spent)

    def take(self, octets: int) -> bool:
        """Whether there was room; if not, nothing is taken."""
        if self.held + octets > self._total or (self._share_of is not None and not self._share_of.take(octets)):
            return False
        self.held += octets
        return True

    def give_back(self, octets: int) -> None:
        self.held -= octets
        if self._share_of is not None:
            self._share_of.give_back(octets)


class MailText:
    """Collects the text of one mail; past a limit it lets go of everything and only counts.

    `add` takes the stuffed text in pieces, from START to END_OF_DATA, and takes the stuffing out of each: done at once for 30 MiB it would
    keep all other clients waiting. Call `release` when the mail is stored or given up.
    """

    def __init__(self, max_size: int, budget: OctetBudget) -> None:
        self._max_size = max_size
        self._budget = budget
        self._pieces: list[bytes] = []
        self._taken = 0
        self._last_octets = b""
        # Neither of the two is part of the mail.
        self.size = -len(START) - len(END)
        self.is_too_large = False
        self.has_no_room = False

    def add(self, piece: bytes) -> None:
        clean = self._unstuffed(piece)
        self.is_too_large = self.size > self._max_size
        self.has_no_room = self.has_no_room or not (self.is_too_large or self._budget.take(len(piece)))
        if self.is_too_large or self.has_no_room:
            self.release()
        else:
            self._taken += len(piece)
            self._pieces.append(clean)

    def raw(self) -> bytes:
        """The mail, octet for octet as it was before the sender stuffed its dots. To be asked once, after the end of data."""
        pieces, self._pieces = self._pieces, []
        head, tail = b"", b""
        while len(tail) < len(END):
            tail = pieces.pop() + tail
        pieces.append(tail[: -len(END)])
        while len(head) < len(START):
            head += pieces.pop(0)
        return b"".join([head[len(START) :], *pieces])

    def release(self) -> None:
        self._pieces.clear()
        self._budget.give_back(self._taken)
        self._taken = 0

    def _unstuffed(self, piece: bytes) -> bytes:
        """Counts it, too: the size of RFC 1870 has no stuffed dot. A piece may end between a CRLF and its dot."""
        before = self._last_octets
        seam = before + piece if before else piece
        dots = seam.count(b"\r\n.")
        self.size += len(piece) - dots
        self._last_octets = seam[-2:]
        return seam.replace(b"\r\n.", b"\r\n")[len(before) :] if dots else piece


async def read_mail_text(reader: asyncio.StreamReader, text: MailText) -> None:
    """Read up to and with the end of data, in blocks as large as the reader holds; what comes behind stays in the
    reader.

    Only CRLF.CRLF ends it. A bare CR or LF never does, whatever stands around it, so that a mail cannot smuggle in a
    second one.
    """
    reader._buffer[:0] = START  # type: ignore[attr-defined]  # a StreamReader has no public way to give something back
    while True:
        try:
            text.add(await reader.readuntil(END_OF_DATA))
            return
        except asyncio.LimitOverrunError as overrun:
            text.add(await reader.read(overrun.consumed))
            if text.size > LARGE:
                await asyncio.sleep(PAUSE)
