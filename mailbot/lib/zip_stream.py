"""A zip that is written from the front to the back, octet by octet, and can be gone on with by another process.

The standard library's ZipFile writes to a place that cannot be sought in, too, but whoever is killed in the middle begins anew. Here the
state is a few numbers: after `pause` the deflate stream depends on nothing before it (zlib's full flush). Format: PKWARE's APPNOTE
6.3.10, always with the sizes of zip64 behind the data, as for any file of which nobody knows beforehand how long it gets.
"""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

_FLAGS = 0x0808  # sizes stand behind the data; names are UTF-8
_DEFLATE = 8
_ZIP64 = 45  # version needed
_LONG = 0xFFFFFFFF
_LEVEL = 6


@dataclass(slots=True)
class Member:
    """A file in the zip. `offset` is where its header begins; the rest is as far as it is written."""

    name: str
    offset: int
    crc: int = 0
    size: int = 0
    packed: int = 0


class ZipStream:
    """Each method answers the octets to be written. `written` counts them; `open` is the file that is being written."""

    def __init__(
        self, moment: datetime, members: Iterable[Member] = (), written: int = 0, open_: Member | None = None
    ) -> None:
        self.members, self.written, self.open = list(members), written, open_
        self._moment = _dos_time(moment)
        self._deflate = _compressor()

    def begin(self, name: str) -> bytes:
        self.open, self._deflate = Member(name, self.written), _compressor()
        encoded = name.encode()
        head = struct.pack(
            *("<4s5H3L2H", b"PK\3\4", _ZIP64, _FLAGS, _DEFLATE, *self._moment, 0, _LONG, _LONG, len(encoded), 20)
        )
        return self._counted(head + encoded + struct.pack("<HHQQ", 1, 16, 0, 0))

    def add(self, content: bytes) -> bytes:
        member = self._member()
        member.crc, member.size = zlib.crc32(content, member.crc), member.size + len(content)
        return self._packed(self._deflate.compress(content))

    def pause(self) -> bytes:
        """What zlib holds back. A ZipStream that is made of the state after it goes on."""
        return self._packed(self._deflate.flush(zlib.Z_FULL_FLUSH)) if self.open else b""

    def end(self) -> bytes:
        last, member = self._packed(self._deflate.flush()), self._member()
        self.members.append(member)
        self.open = None
        sizes = struct.pack("<4sLQQ", b"PK\7\10", member.crc, member.packed, member.size)
        return last + self._counted(sizes)

    def close(self) -> bytes:
        """The directory, which is as long as there are files."""
        start = self.written
        directory = b"".join(map(self._listed, self.members))
        count, length = len(self.members), len(directory)
        zip64 = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, _ZIP64, _ZIP64, 0, 0, count, count, length, start)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + length, 1)
        few = min(count, 0xFFFF)
        last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, few, few, min(length, _LONG), min(start, _LONG), 0)
        return self._counted(directory + zip64 + locator + last)

    def _listed(self, member: Member) -> bytes:
        name = member.name.encode()
        extra = struct.pack("<HHQQQ", 1, 24, member.size, member.packed, member.offset)
        head = struct.pack(
            *("<4s6H3L5H2L", b"PK\1\2", 0x0300 | _ZIP64, _ZIP64, _FLAGS, _DEFLATE, *self._moment),
            *(member.crc, _LONG, _LONG, len(name), len(extra), 0, 0, 0, 0o100600 << 16, _LONG),
        )
        return head + name + extra

    def _member(self) -> Member:
        if self.open is None:
            raise RuntimeError("No file was begun.")
        return self.open

    def _packed(self, octets: bytes) -> bytes:
        self._member().packed += len(octets)
        return self._counted(octets)

    def _counted(self, octets: bytes) -> bytes:
        self.written += len(octets)
        return octets


def header_length(name: str) -> int:
    """Octets from a member's offset to its data."""
    return 30 + len(name.encode()) + 20


def _compressor() -> "zlib._Compress":
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def _dos_time(moment: datetime) -> tuple[int, int]:
    """MS-DOS knows no years before 1980, and only even seconds."""
    date = (max(moment.year - 1980, 0) << 9) | (moment.month << 5) | moment.day
    return (moment.hour << 11) | (moment.minute << 5) | (moment.second // 2), date
