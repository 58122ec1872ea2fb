"""The text of a mail as it comes over the wire after DATA, and how much of such text the process holds.

Source: RFC 5321 2.3.8 (only CRLF ends a line), 4.1.1.4 (CRLF.CRLF ends the mail), 4.5.2 (transparency).
"""

import asyncio

END_OF_DATA = b"\r\n.\r\n"
START = b"\r\n"  # the mail begins where a line begins, so that `.CRLF` at once is an empty mail: RFC 5321 4.1.1.4


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
    """Collects the stuffed text of one mail; past a limit it lets go of everything and only counts.

    `add` takes the text in pieces, from START to END_OF_DATA. Call `release` when the mail is stored or given up.
    """

    def __init__(self, max_size: int, budget: OctetBudget) -> None:
        self._max_size = max_size
        self._budget = budget
        self._pieces: list[bytes] = []
        self._taken = 0
        self._last_octets = b""
        # Neither of the two is part of the mail; the dot of the end is taken off below, like every dot that begins a line.
        self.size = -len(START) - len(END_OF_DATA.replace(b"\r\n.", b""))
        self.is_too_large = False
        self.has_no_room = False

    def add(self, piece: bytes) -> None:
        self._count(piece)
        self.is_too_large = self.size > self._max_size
        self.has_no_room = self.has_no_room or not (self.is_too_large or self._budget.take(len(piece)))
        if self.is_too_large or self.has_no_room:
            self.release()
        else:
            self._taken += len(piece)
            self._pieces.append(piece)

    def raw(self) -> bytes:
        """The mail, octet for octet as it was before the sender stuffed its dots."""
        stuffed = b"".join(self._pieces)
        self._pieces.clear()
        first, end = len(START), len(stuffed) - len(b".\r\n")
        if stuffed.find(b"\r\n.", 0, end) < 0:
            return stuffed[first:end]
        return stuffed[:end].replace(b"\r\n.", b"\r\n")[first:]

    def release(self) -> None:
        self._pieces.clear()
        self._budget.give_back(self._taken)
        self._taken = 0

    def _count(self, piece: bytes) -> None:
        """The size of RFC 1870 counts no stuffed dot, and a piece may end between a CRLF and its dot."""
        seam = self._last_octets + piece if self._last_octets else piece
        self.size += len(piece) - seam.count(b"\r\n.")
        self._last_octets = seam[-2:]


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
