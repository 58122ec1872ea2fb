"""A bundle on its way into the object store: the octets of one zip, cut into objects.

Behind each object stands a row with all that is needed to go on from there in another process: which files are finished, how far the
open one is, and where the work was. An object without its row is written over by whoever goes on.
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from django.db import transaction

from audit.export_models import Export, ExportPart
from mailbot.lib import object_store
from mailbot.lib.failpoints import failpoint
from mailbot.lib.zip_stream import Member, ZipStream, header_length

PART = 4 * 1024 * 1024  # octets, from which on an object is cut off
PIECE = 256 * 1024  # octets at once of what is unpacked again: an object holds a trail of ten times its size


class Damaged(Exception):
    """The store gives back other bytes than it was given: the bundle has to be made anew."""


class BundleWriter:
    """`sums` are the hashes of the finished files by name. `place` is where the work was at the last cut."""

    def __init__(self, export: Export) -> None:
        self.export, self.sums = export, dict[str, str]()
        self.place: dict[str, Any] = {}
        self.number = 0
        self._buffer = bytearray()
        self._finished: list[list[Any]] = []  # since the last cut
        self._sum = hashlib.sha256()
        self.zip = self._as_of_last_cut()

    def _as_of_last_cut(self) -> ZipStream:
        members, written, open_ = list[Member](), 0, None
        for number, size, state in self._parts().values_list("number", "size", "state"):
            self.number, written, self.place = number + 1, written + size, state["place"]
            for name, offset, crc, length, packed, sum_ in state["files"]:
                members.append(Member(name, offset, crc, length, packed))
                self.sums[name] = sum_
            open_ = Member(**state["open"]) if state["open"] else None
        return ZipStream(self.export.created_at, members, written, open_)

    def _parts(self) -> Any:
        return ExportPart.objects.filter(export=self.export).order_by("number")

    @property
    def is_full(self) -> bool:
        return len(self._buffer) >= PART

    # --- Files ---

    def begin(self, name: str) -> None:
        """Nothing where the file is open already: it was begun before the last cut."""
        if self.zip.open is None:
            self._buffer += self.zip.begin(name)
            self._sum = hashlib.sha256()

    def add(self, content: bytes) -> None:
        self._sum.update(content)
        self._buffer += self.zip.add(content)

    def end(self) -> None:
        self._buffer += self.zip.end()
        member, sum_ = self.zip.members[-1], self._sum.hexdigest()
        self.sums[member.name] = sum_
        self._finished.append([*asdict(member).values(), sum_])

    def file(self, name: str, content: Iterable[bytes]) -> None:
        self.begin(name)
        for piece in content:
            self.add(piece)
        self.end()

    def close(self) -> None:
        self._buffer += self.zip.close()

    # --- Objects ---

    def cut(self, place: dict[str, Any], **columns: Any) -> None:
        """Put what there is into the store, and then say so. `columns` of the export change in the same transaction."""
        self._buffer += self.zip.pause()
        octets = bytes(self._buffer)
        name = f"{_folder_of(self.export)}/{self.number:06}"
        object_store.write(name, octets)
        failpoint("export.stored")
        state = {"files": self._finished, "open": asdict(self.zip.open) if self.zip.open else None, "place": place}
        with transaction.atomic():
            ExportPart.objects.create(
                export=self.export,
                account_id=self.export.account_id,
                number=self.number,
                name=name,
                size=len(octets),
                sha256=hashlib.sha256(octets).hexdigest(),
                state=state,
            )
            if columns:
                Export.objects.filter(pk=self.export.pk).update(**columns)
        self.number, self.place, self._finished = self.number + 1, place, []
        self._buffer.clear()

    # --- What is there already ---

    def reopen(self) -> Iterator[bytes]:
        """The content so far of the file that was open at the last cut; its hash is known once all of it was taken."""
        if self.zip.open is None:
            return
        for piece in self.content_of(self.zip.open):
            self._sum.update(piece)
            yield piece

    def content_of(self, member: Member) -> Iterator[bytes]:
        """Of a file that was begun before the last cut, out of the store."""
        start, left = member.offset + header_length(member.name), member.packed
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        at = 0
        for part in self._parts().defer("state"):
            if at + part.size > start and left > 0:
                octets = octets_of(part)[max(start - at, 0) :][:left]
                left -= len(octets)
                while octets:
                    yield inflate.decompress(octets, PIECE)
                    octets = inflate.unconsumed_tail
            at += part.size
        yield inflate.flush()

    def octets(self) -> Iterator[bytes]:
        for part in self._parts().defer("state"):
            yield octets_of(part)


def _folder_of(export: Export) -> str:
    return f"exports/{export.pk}"


def octets_of(part: ExportPart) -> bytes:
    """Raises Damaged, and StoreUnavailable."""
    try:
        octets = object_store.read(part.name)
    except FileNotFoundError as error:
        raise Damaged(f"The store does not have {part.name}.") from error
    if hashlib.sha256(octets).hexdigest() != part.sha256:
        raise Damaged(f"The store has other bytes than it was given under {part.name}.")
    return octets


def forget_parts(export: Export) -> None:
    """The octets go first: a row whose object is gone is found, an object without a row is not. What somebody wrote who was killed
    before there was a row goes, too. Raises StoreUnavailable."""
    for name in object_store.names_in(_folder_of(export)):
        object_store.delete(name)
        failpoint("export.removing")
    object_store.delete(_folder_of(export))  # where the store has folders
    ExportPart.objects.filter(export=export).delete()
