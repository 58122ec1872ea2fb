"""Makes a bundle, step by step, and goes on where a process before this one was stopped.

Each step is a generator that writes something and then says where it is; between two such places the bundle may be cut
(audit.export_writer). Kept in memory are three numbers for each entry, a line for each file, and one object of the store.
"""

import re
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from typing import Any

from django.conf import settings
from django.db.models import F, Q, QuerySet

from audit import export_sources
from audit.bundle import ENTRIES_FILE, PROOF_FILE, AuditPart
from audit.canonical import canonical
from audit.export_models import Export
from audit.export_readme import readme
from audit.export_table import table_head, table_rows
from audit.export_writer import BundleWriter
from audit.given_heads import given_heads
from audit.lookups import within
from audit.models import AuditEntry, AuditHead
from audit.sealing import seal_all
from mailbot.lib.bulk import batches
from mailbot.lib.failpoints import failpoint

FORMAT = "mailbot.export/1"
TABLE_FILE, MANIFEST_FILE = "audit.csv", "manifest.json"
AT_ONCE = 500  # entries
HEADS_AT_ONCE = 100  # each takes some queries
_SEQ = re.compile(rb'"seq":(\d+)\}$')


class TurnOver(Exception):
    """There is more to do; somebody else has a turn first."""


class LeaseLost(Exception):
    """Another process is at it."""


Step = Callable[[str], Iterator[str]]


def entries_of(export: Export) -> QuerySet[AuditEntry] | None:
    """None: all of the account."""
    if not (export.inbox_id or export.mode or export.since or export.until):
        return None
    of_period = within(export.since, export.until)
    rows: QuerySet[AuditEntry] = AuditEntry.objects.filter(of_period, account_id=export.account_id)
    if export.inbox_id:
        return rows.filter(inbox_id=export.inbox_id)
    if export.mode:
        of_mode = Q(inbox_id__in=export_sources.inbox_ids_of(export.account_id, export.mode))
        return rows.filter(of_mode | Q(inbox_id="", mode__in=["", export.mode]))
    return rows


class Build:
    """Of an export that this process has claimed. `hold` extends the lease and saves the columns, or raises LeaseLost."""

    def __init__(self, export: Export, hold: Callable[..., None]) -> None:
        self.export, self.hold = export, hold
        self.part = self._part()
        self.writer = BundleWriter(export)
        self.done = export.done

    def _part(self) -> AuditPart:
        export = self.export
        head = AuditHead.objects.filter(pk=export.head_id).first() if export.head_id else None
        if head is None:
            seal_all()  # what asks for it is in it, too
            part = AuditPart(export.account_id, entries_of(export))
            counts = (export_sources.parts[name].source.count(export) for name in self._included())
            self.hold(head_id=part.head.pk, total=2 * len(part) + sum(counts))
            return part
        return AuditPart(export.account_id, entries_of(export), head)

    def _included(self) -> list[str]:
        return [name for name in self.export.included if name in export_sources.parts]

    def steps(self) -> dict[str, Step]:
        """By name, in order."""
        own: dict[str, Step] = {
            "readme": self._readme,
            "lines": self._lines,
            "proof": self._proof,
            "table": self._table,
        }
        more: dict[str, Step] = {f"part {name}": self._step_of(name) for name in self._included()}
        return {**own, **more, "manifest": self._manifest}

    def run(self, until: float) -> tuple[int, str]:
        """Size and SHA-256 of the finished zip. Raises TurnOver where it is not finished when the monotonic clock says `until`, and
        LeaseLost, StoreUnavailable, Damaged, NothingSealed, KeyRefused."""
        steps = self.steps()
        names = list(steps)
        place = self.writer.place or {"step": names[0], "cursor": ""}
        if place["step"] != "closed":
            self._resume(place)
            for name in names[names.index(place["step"]) :]:
                for cursor in steps[name](place["cursor"] if name == place["step"] else ""):
                    self._between({"step": name, "cursor": cursor}, until)
            self.writer.close()
            self._cut({"step": "closed", "cursor": ""})
        return self._read_back()

    def _between(self, place: dict[str, str], until: float) -> None:
        if self.writer.is_full:
            self._cut(place)
            if time.monotonic() > until:
                raise TurnOver

    def _cut(self, place: dict[str, str]) -> None:
        self.hold()
        self.writer.cut(place, done=self.done, attempts=0)
        failpoint("export.cut")

    def _read_back(self) -> tuple[int, str]:
        size, sum_ = 0, sha256()
        for octets in self.writer.octets():
            size += len(octets)
            sum_.update(octets)
            self.hold()
        failpoint("export.read-back")
        return size, sum_.hexdigest()

    # --- Going on ---

    def _resume(self, place: dict[str, str]) -> None:
        """Hashes of an open file, and which entries are written already, are found again in what the store has."""
        content = self.writer.reopen()
        if place["step"] == "proof":
            for _ in content:
                pass
            (member,) = [member for member in self.writer.zip.members if member.name == ENTRIES_FILE]
            content = self.writer.content_of(member)
        if place["step"] in ("lines", "proof"):
            self.part.written = array("q", _places(content))
        for _ in content:
            pass

    # --- Steps ---

    def _readme(self, after: str) -> Iterator[str]:
        self.writer.file("README.txt", [readme(self.export, is_complete=self.part.is_complete)])
        return iter(())

    def _lines(self, after: str) -> Iterator[str]:
        self.writer.begin(ENTRIES_FILE)
        behind, is_more = int(after or -1), True
        while is_more:
            for lines in batches(self.part.lines(behind), AT_ONCE):
                self.writer.add(b"".join(lines))
                self.done += len(lines)
                yield str(self.part.written[-1])
            behind = self.part.head.size - 1
            is_more = self._catch_up()
        self.writer.end()

    def _catch_up(self) -> bool:
        failpoint("export.lines")
        seal_all()
        known = len(self.part)
        if not self.part.catch_up():
            return False
        self.hold(head_id=self.part.head.pk, total=F("total") + 2 * (len(self.part) - known))
        return True

    def _proof(self, after: str) -> Iterator[str]:
        """`after` counts lines: they are few, and made again to go on."""
        self.writer.begin(PROOF_FILE)
        number = int(after or 0)
        for lines in batches(islice(self.part.proof_lines(), number, None), AT_ONCE):
            self.writer.add(b"".join(lines))
            number += len(lines)
            yield str(number)
        self.writer.end()
        self.export.trail = self.part.manifest()
        self.hold(trail=self.export.trail, entries=len(self.part.written))

    def _table(self, after: str) -> Iterator[str]:
        self.writer.begin(TABLE_FILE)
        if not after:
            self.writer.add(table_head())
        for rows in batches(self.part.entries(int(after or -1)), AT_ONCE):
            self.writer.add(table_rows(rows))
            self.done += len(rows)
            yield str(rows[-1][0])
        self.writer.end()

    def _step_of(self, name: str) -> Step:
        """A file of such a part is small enough to be written whole between two cuts."""

        def step(after: str) -> Iterator[str]:
            for file in export_sources.parts[name].source.files(self.export, after):
                self.writer.file(file.name, file.content())
                self.done += 1
                yield file.cursor

        return step

    def _manifest(self, after: str) -> Iterator[str]:
        self.writer.file(MANIFEST_FILE, [canonical(self.manifest()), b"\n"])
        return iter(())

    def _earlier(self) -> Iterator[dict[str, Any]]:
        for heads in batches(given_heads(self.export.account_id, self.part.head.size), HEADS_AT_ONCE):
            yield from self.part.earlier(heads)
            self.hold()

    def manifest(self) -> dict[str, Any]:
        export = self.export
        about = {
            "id": export.pk,
            "account_id": export.account_id,
            "inbox_id": export.inbox_id,
            "mode": export.mode,
            "from": _moment(export.since),
            "to": _moment(export.until),
            "include": export.included,
            "reason": export.reason,
            "asked_by": {"kind": export.actor_kind, "id": export.actor_id, "name": export.actor_name},
            "asked_at": _moment(export.created_at),
            "request_id": export.request_id,
        }
        made_by = f"mailbot {settings.VERSION}"
        audit = {**(export.trail or {}), "earlier": list(self._earlier())}
        return {"format": FORMAT, "made_by": made_by, "export": about, "audit": audit, "files": self.writer.sums}


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None


def _places(content: Iterable[bytes]) -> Iterator[int]:
    """Of the entries in audit.jsonl, which come in pieces of any length."""
    rest = b""
    for piece in content:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            found = _SEQ.search(line)
            if found:
                yield int(found[1])
