"""Many addresses at once, out of a file that people have: CSV, JSON, or one address a line. And the way back, as CSV."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import orjson
from django.db import transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from delivery.suppression import (
    MAX_REASON,
    OVER,
    NotSuppressible,
    Target,
    Wanted,
    canonical_scope_domain,
    record_import,
    scope_of,
    suppress_many,
    suppressible,
)
from delivery.suppression_model import Cause, Scope, Suppression
from inboxes.models import Inbox
from mailbot.api.renderers import timestamp
from mailbot.lib.csv_cells import csv_lines, undefused
from mailbot.lib.ids import is_id

MOST = 10_000  # entries of one import
MOST_NAMED = 100  # that are named
MOST_EXPORTED = 50_000
ADDRESS_COLUMNS = ("address", "email", "email_address", "e-mail", "recipient")
REASON_COLUMNS = ("reason", "error", "note")
# How others call the causes, in their exports.
CAUSES: dict[str, str] = {
    **{cause.value: cause.value for cause in Cause},
    **dict.fromkeys(("bounce", "bounced", "hardbounce", "hard bounce", "invalid"), Cause.HARD_BOUNCE.value),
    **dict.fromkeys(("spam", "spamcomplaint", "spam complaint", "complained", "abuse"), Cause.COMPLAINT.value),
    **dict.fromkeys(("unsubscribed", "unsubscription", "optout", "opt-out"), Cause.UNSUBSCRIBE.value),
    **dict.fromkeys(("manualsuppression", "admin"), Cause.MANUAL.value),
}
ERASED = "erased person"  # in the place of an address that is kept as a hash alone
COLUMNS = (
    *("address", "scope", "inbox_id", "domain", "cause", "reason", "status_code", "message_id", "mode"),
    *("created_by", "created_at", "expires_at"),
)


class TooMany(ValueError):
    """The file has more than MOST entries."""


class Unreadable(ValueError):
    """The file is not what it was said to be."""


@dataclass(slots=True)
class Line:
    """What stands in a line, which may be none that can be suppressed."""

    number: int
    address: str
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Imported:
    """What became of a file. `known`: was there before, or twice in the file. `refused`: the first ones of `invalid`."""

    total: int = 0
    added: int = 0
    known: int = 0
    invalid: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, line: Line, why: str) -> None:
        self.invalid += 1
        if len(self.refused) < MOST_NAMED:
            self.refused.append({"line": line.number, "value": line.address[:200], "error": why})


def import_lines(target: Target, lines: Iterable[Line], source: str, usual: Wanted) -> Imported:
    """Suppress all that can be; the others are named. All of it or nothing, when something goes wrong. Safe to repeat.

    `target`: whose mail is stopped. Is that the whole account, a line that says a narrower scope, as our own exports do, keeps it.
    `usual`: cause, reason and end of lines that say none. Raises TooMany, Unreadable.
    """
    told, now = Imported(), timezone.now()
    given = list(islice(lines, MOST + 1))
    if len(given) > MOST:
        raise TooMany(f"These are more than {MOST:,} entries. Import them in several calls.")
    scopes = _Scopes(target, given)
    wanted: dict[tuple[Target, str], Wanted] = {}
    for line in given:
        told.total += 1
        try:
            whose, entry = scopes.of(line), _wanted(line, usual, now)
        except NotSuppressible as error:
            told.refuse(line, str(error))
        else:
            wanted.setdefault((whose, entry.address), entry)
    with transaction.atomic():
        added = suppress_many([(whose, entry) for (whose, _), entry in wanted.items()])
        told.added = len(added)
        told.known = told.total - told.invalid - told.added
        record_import(source, _numbers(target, told, [whose for whose, _ in wanted], added))
    return told


def _numbers(
    target: Target, told: Imported, whose: Iterable[Target], added: Iterable[Suppression]
) -> dict[Target, dict[str, int]]:
    """For the trail: of the whole import, and of each narrower scope in it."""
    new = Counter((entry.inbox_id or "", entry.domain) for entry in added)
    whole = {name: getattr(told, name) for name in ("total", "added", "known", "invalid")}
    narrower = {
        one: {"total": total, "added": new[one.inbox.pk if one.inbox else "", one.domain]}
        for one, total in Counter(whose).items()
        if one != target
    }
    return {target: whole, **narrower}


class _Scopes:
    """Whose mail each line stops."""

    def __init__(self, target: Target, lines: Iterable[Line]) -> None:
        self._target = target
        self._is_open = scope_of(target) is Scope.ACCOUNT
        named = {_cell_of(line, "inbox_id") for line in lines if _cell_of(line, "scope")} if self._is_open else set()
        mine = Inbox.objects.filter(
            account_id=target.account_id, mode=target.mode, pk__in=[pk for pk in named if is_id(pk, "inbox")]
        )
        self._inboxes = mine.exclude(status=Inbox.Status.DELETED).in_bulk() if named else {}

    def of(self, line: Line) -> Target:
        """Raises NotSuppressible."""
        scope = _cell_of(line, "scope").lower()
        if not self._is_open or scope in ("", Scope.ACCOUNT):
            return self._target
        if scope == Scope.INBOX:
            inbox = self._inboxes.get(_cell_of(line, "inbox_id"))
            if inbox is None:
                raise NotSuppressible(f"Its inbox is deleted, or none of this account in {self._target.mode} mode.")
            return replace(self._target, inbox=inbox)
        if scope == Scope.DOMAIN:
            return replace(self._target, domain=canonical_scope_domain(_cell_of(line, "domain")))
        raise NotSuppressible(f"“{scope[:50]}” is no scope: {', '.join(Scope.values)}.")


def _cell_of(line: Line, name: str) -> str:
    return str(line.columns.get(name) or "").strip()


def _wanted(line: Line, usual: Wanted, now: datetime) -> Wanted:
    if line.address.startswith(ERASED):
        raise NotSuppressible(
            "The entry of an erased person has no address; only the server that kept its hash can go by it."
        )
    told = {name: str(value or "").strip() for name, value in line.columns.items()}
    cause = told.get("cause", "")
    if cause and cause.lower() not in CAUSES:
        raise NotSuppressible(f"“{cause[:50]}” is no cause: {', '.join(Cause.values)}.")
    moment = told.get("expires_at", "")
    entry = Wanted(
        address=suppressible(undefused(line.address)),
        cause=CAUSES[cause.lower()] if cause else usual.cause,
        reason=undefused(told.get("reason", ""))[:MAX_REASON].replace("\0", "") or usual.reason,
        status_code=told.get("status_code", "")[:20].replace("\0", ""),
        expires_at=_moment(moment) if moment else usual.expires_at,
        ends_by_cause=usual.ends_by_cause and not moment,
    )
    if entry.expires_at is not None and entry.expires_at <= now:
        raise NotSuppressible(OVER)
    return entry


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
        if moment is not None:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # 31 February; the end of all years, further west
        pass
    raise NotSuppressible(f"“{text[:50]}” is no time such as 2027-01-31T12:00:00Z.")


# --- Reading ---


def lines_of(content: str, file_format: str = "") -> Iterator[Line]:
    """`file_format`: csv, json or lines; empty: as the content looks. Raises Unreadable."""
    text = content.removeprefix("\ufeff")
    readers = {"csv": _csv_lines, "json": _json_lines, "lines": _plain_lines}
    return readers[file_format or _looks_like(text)](text)


def _looks_like(text: str) -> str:
    if text.lstrip()[:1] in ("[", "{"):
        return "json"
    first = text.lstrip().partition("\n")[0]
    names = {cell.strip(' "\r').lower() for cell in first.replace(";", ",").replace("\t", ",").split(",")}
    return "csv" if len(names) > 1 or names & set(ADDRESS_COLUMNS) else "lines"


def _plain_lines(text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip()
        if bare and not bare.startswith("#"):
            yield Line(number, bare)


def _csv_lines(text: str) -> Iterator[Line]:
    """With a first line that names the columns, or with the address in the first column."""
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
    names: list[str] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if names is None:
                names = _names_in(row)
                if names:
                    continue
                names = ["address", "reason"]
            columns = dict(zip(names, row, strict=False))
            yield Line(reader.line_num, columns.pop("address", "").strip(), columns)
    except csv.Error as error:
        raise Unreadable(f"Line {reader.line_num} is no CSV: {error}.") from error


def _names_in(row: list[str]) -> list[str]:
    """The names of the columns, ours for those that we know; empty where the row has none for the address."""
    names = [cell.strip().lower() for cell in row]
    known = ["address" if n in ADDRESS_COLUMNS else "reason" if n in REASON_COLUMNS else n for n in names]
    return known if "address" in known else []


def _json_lines(text: str) -> Iterator[Line]:
    """A list of addresses or objects, or one object a line (JSON Lines). A list's items are counted, of the others the lines."""
    if text.lstrip().startswith("["):
        yield from entry_lines(_read_json(text, "The file"))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield from (
                Line(number, found.address, found.columns)
                for found in entry_lines([_read_json(line, f"Line {number}")])
            )


def _read_json(text: str, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"{what} is no JSON: {error.msg}.") from error


def entry_lines(entries: Iterable[Any]) -> Iterator[Line]:
    """Addresses, or objects with the names of the columns."""
    for number, item in enumerate(entries, start=1):
        if isinstance(item, Mapping):
            named = {_names_in([str(name)])[0] if _names_in([str(name)]) else str(name): item[name] for name in item}
            yield Line(number, str(named.pop("address", "")).strip(), named)
        else:
            yield Line(number, item.strip() if isinstance(item, str) else str(item))


# --- Writing ---


def as_csv(entries: Iterable[Suppression]) -> str:
    rows = ([_cell(entry, name) for name in COLUMNS] for entry in entries)
    return csv_lines([COLUMNS, *rows])


def _cell(entry: Suppression, name: str) -> str:
    if name == "created_by":
        return str(entry.created_by.get("name") or entry.created_by.get("id") or "")
    if name == "address" and entry.person:
        return f"{ERASED} ({entry.person})"
    value = getattr(entry, name)
    return timestamp(value) if isinstance(value, datetime) else str(value or "")
