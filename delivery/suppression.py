"""Adding and removing addresses that get no more mail. Who asks whether one does: delivery.suppression_lookup.

An entry is unique by whose mail it stops and by the address. Of two causes the stronger one stands, and an entry that is there never ends
earlier for one that comes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit.actors import current
from audit.record import Act, Entry, record_many
from delivery.suppression_model import Cause, Scope, Suppression, digest_of, erased_digests
from inboxes.models import Account, Inbox
from mailbot.lib.addresses import AddressError, canonical, canonical_domain, comparable
from mailbot.lib.bulk import batches, bulk_set

# From the weakest: an import is hearsay, a bounce may end, what a person decided here outlasts both, and whoever asked to be left alone
# or called it spam has the last word.
STRENGTH: dict[str, int] = {cause: number for number, cause in enumerate(
    (Cause.IMPORT, Cause.HARD_BOUNCE, Cause.MANUAL, Cause.UNSUBSCRIBE, Cause.COMPLAINT)
)}  # fmt: skip
PIECE = 500  # rows a statement
MAX_REASON = 500
OVER = "This moment is past: the entry would stop nothing."


class NotSuppressible(ValueError):
    """The address cannot be suppressed; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whose mail is stopped: of one inbox, of the inboxes at `domain`, or of all of the account, in one mode."""

    account_id: str
    mode: str
    inbox: Inbox | None = None
    domain: str = ""

    @classmethod
    def of_inbox(cls, inbox: Inbox) -> "Target":
        return cls(inbox.account_id, inbox.mode, inbox)

    def digest(self, address: str) -> str:
        inbox_id = self.inbox.pk if self.inbox else ""
        return digest_of(self.account_id, self.mode, address, inbox_id, self.domain)

    @property
    def columns(self) -> dict[str, Any]:
        return {"account_id": self.account_id, "mode": self.mode, "inbox": self.inbox, "domain": self.domain}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An entry as somebody wants it. `expires_at` None: never; `ends_by_cause`: as that cause's entries end by default."""

    address: str
    cause: str
    reason: str = ""
    status_code: str = ""
    message_id: str = ""
    expires_at: datetime | None = None
    ends_by_cause: bool = True

    def ends_at(self, now: datetime) -> datetime | None:
        return default_end(self.cause, now) if self.ends_by_cause else self.expires_at


def default_end(cause: str, now: datetime) -> datetime | None:
    """A mailbox may come to be again; who complained or unsubscribed said so for good, and what a person entered a person takes out."""
    days: int = settings.SUPPRESSION_DAYS_HARD_BOUNCE
    return now + timedelta(days=days) if cause == Cause.HARD_BOUNCE and days else None


def suppressible(address: str) -> str:
    """The address in comparable form. Raises NotSuppressible."""
    try:
        known = canonical(address)
    except AddressError as error:
        raise NotSuppressible(str(error)) from error
    if known.domain == settings.MAILBOT_SIMULATOR_DOMAIN:
        raise NotSuppressible("Addresses of the simulator are never suppressed, so that they can be tried again.")
    return known.address


def is_simulated(address: str) -> bool:
    return comparable(address).endswith(f"@{settings.MAILBOT_SIMULATOR_DOMAIN}")


def canonical_scope_domain(text: str) -> str:
    """Raises NotSuppressible."""
    try:
        return canonical_domain(text)
    except AddressError as error:
        raise NotSuppressible(str(error)) from error


@transaction.atomic
def suppress(target: Target, wanted: Wanted) -> tuple[Suppression, bool]:
    """`(entry, False)` is one that was there before, strengthened where `wanted` is the stronger cause. Its trail is written."""
    stored = _store([(target, wanted)])
    (entry,) = stored.entries
    if entry.pk in stored.added:
        _record(Act.SUPPRESSION_ADDED, entry)
    elif changes := stored.changed.get(entry.pk):
        _record(Act.SUPPRESSION_CHANGED, entry, **changes)
    return entry, entry.pk in stored.added


@transaction.atomic
def suppress_many(wanted: Sequence[tuple[Target, Wanted]]) -> list[Suppression]:
    """The same for several; the entries that were added, of which the caller writes the trail."""
    stored = _store(wanted)
    known = {entry.pk: entry for entry in stored.entries}
    changed = [(known[pk], changes) for pk, changes in stored.changed.items() if changes]
    record_many([_entry(Act.SUPPRESSION_CHANGED, entry, **changes) for entry, changes in changed])
    return [entry for entry in stored.entries if entry.pk in stored.added]


@transaction.atomic
def set_suppression(target: Target, wanted: Wanted) -> tuple[Suppression, bool]:
    """Make the entry exactly this, whatever it was; whether it is new. Safe to repeat: what is so already stays, and writes no trail."""
    stored = _store([(target, wanted)], strengthens=False)
    if stored.entries[0].is_over(timezone.now()):  # it stopped nothing any more, so it begins anew
        stored.entries[0].delete()
        stored = _store([(target, wanted)])
    (entry,) = stored.entries
    is_new = entry.pk in stored.added
    exactly = {
        "cause": wanted.cause,
        "reason": wanted.reason,
        "expires_at": wanted.ends_at(entry.created_at),
    }
    changes = _changes(_told(entry), exactly)
    if changes:
        for name, value in exactly.items():
            setattr(entry, name, value)
        entry.updated_at = timezone.now()
        entry.save(update_fields=[*exactly, "updated_at"])
    if is_new:
        _record(Act.SUPPRESSION_ADDED, entry)
    elif changes:
        _record(Act.SUPPRESSION_CHANGED, entry, **changes)
    return entry, is_new


@transaction.atomic
def lift(entry: Suppression, reason: str = "") -> bool:
    """Mail may go there again. False when somebody did it before."""
    if not Suppression.objects.filter(pk=entry.pk).delete()[0]:
        return False
    _record(Act.SUPPRESSION_REMOVED, entry, reason=reason)
    return True


@transaction.atomic
def remove_expired(limit: int = PIECE) -> int:
    """One batch of those whose time is over; how many there were. They stop nothing any more before that."""
    over = Suppression.objects.filter(Suppression.over(timezone.now())).order_by("expires_at", "pk")
    entries = list(over.select_for_update(skip_locked=True)[:limit])
    Suppression.objects.filter(pk__in=[entry.pk for entry in entries]).delete()
    record_many(_entry(Act.SUPPRESSION_REMOVED, entry, reason="expired") for entry in entries)
    return len(entries)


Changes = dict[str, list[Any]]  # old and new, by name


class Stored(NamedTuple):
    """`added`: ids of the new ones. `changed`: by id, what of an entry that was there is another now, old and new, as the trail has it."""

    entries: list[Suppression]
    added: set[str]
    changed: dict[str, Changes]


def _store(wanted: Sequence[tuple[Target, Wanted]], *, strengthens: bool = True) -> Stored:
    """The entries for these. Rows are written and locked in order of their digests, so that writers of the same addresses wait for each
    other and not in a circle."""
    by_digest, targets = dict[str, Wanted](), dict[str, Target]()
    for target, item in wanted:
        digest = target.digest(item.address)
        by_digest[digest], targets[digest] = item, target
    now, stored = timezone.now(), dict[str, Suppression]()
    added, changed = set[str](), dict[str, Changes]()
    for piece in batches(sorted(by_digest), PIECE):
        of_erased = _of_erased(piece)
        fresh = [digest for digest in piece if digest not in of_erased.values()]
        new = [_row(targets[digest], digest, by_digest[digest], now) for digest in fresh]
        Suppression.objects.bulk_create(new, ignore_conflicts=True)
        mine = {row.pk for row in new}
        wanted_rows = Suppression.objects.select_for_update(no_key=True).filter(digest__in=[*piece, *of_erased])
        found = list(wanted_rows.order_by("digest"))
        added |= {row.pk for row in found if row.pk in mine}
        known = [(row, by_digest[of_erased.get(row.digest, row.digest)]) for row in found if row.pk not in mine]
        if strengthens:
            before = {row.pk: _told(row) for row, _ in known}
            added |= _strengthen(known, now)
            changed |= {row.pk: _changes(before[row.pk], _told(row)) for row, _ in known}
        stored |= {of_erased.get(row.digest, row.digest): row for row in found}
    return Stored([stored[digest] for digest in by_digest], added, changed)


def _of_erased(digests: Sequence[str]) -> dict[str, str]:
    """Those of them that stand there for an erased person, under a keyed digest: by that one."""
    keyed = {one: digest for digest in digests for one in erased_digests(digest)}
    found = Suppression.objects.filter(digest__in=list(keyed)).values_list("digest", flat=True)
    return {one: keyed[one] for one in found}


def _strengthen(known: Iterable[tuple[Suppression, Wanted]], now: datetime) -> set[str]:
    """What the new cause changes in entries that are there; the ids of those whose time was over, which begin anew."""
    changed, begun = [], set()
    for row, wanted in known:
        was_over = row.is_over(now)
        if was_over:
            begun.add(row.pk)
            row.created_at, row.created_by = now, _who()
        if was_over or _stands_above(wanted, row):
            changed.append(_with_cause(row, wanted, now, may_end_earlier=was_over))
        elif row.expires_at is not None and _later(row.expires_at, wanted.ends_at(now)) != row.expires_at:
            row.expires_at, row.updated_at = _later(row.expires_at, wanted.ends_at(now)), now
            changed.append(row)
    names = (
        "address",
        "cause",
        "reason",
        "status_code",
        "message_id",
        "created_by",
        "created_at",
        "updated_at",
        "expires_at",
    )
    bulk_set(changed, *names)
    return begun


def _stands_above(wanted: Wanted, row: Suppression) -> bool:
    """An equal cause is news: the last bounce says more than the first. What was imported or entered twice is the same."""
    if wanted.cause == row.cause:
        return wanted.cause in (Cause.HARD_BOUNCE, Cause.COMPLAINT, Cause.UNSUBSCRIBE)
    return STRENGTH[wanted.cause] > STRENGTH[row.cause]


def _with_cause(row: Suppression, wanted: Wanted, now: datetime, *, may_end_earlier: bool) -> Suppression:
    ends_at = wanted.ends_at(now)
    row.expires_at = ends_at if may_end_earlier else _later(row.expires_at, ends_at)
    row.cause, row.status_code = wanted.cause, wanted.status_code
    row.reason = "" if row.person else wanted.reason[:MAX_REASON]  # a bounce names who it is about
    row.message_id, row.updated_at = wanted.message_id, now
    row.address = row.address or ("" if row.person else comparable(wanted.address)[:320])
    return row


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    """None is never."""
    return None if one is None or other is None else max(one, other)


def _row(target: Target, digest: str, wanted: Wanted, now: datetime) -> Suppression:
    return Suppression(
        **target.columns,
        digest=digest,
        address=comparable(wanted.address)[:320],
        cause=wanted.cause,
        reason=wanted.reason[:MAX_REASON],
        status_code=wanted.status_code,
        message_id=wanted.message_id,
        created_by=_who(),
        created_at=now,
        updated_at=now,
        expires_at=wanted.ends_at(now),
    )


def _who() -> dict[str, str]:
    actor = current().actor
    return {"kind": actor.kind.value, "id": actor.id, "name": actor.name}


def _record(act: Act, entry: Suppression, **changes: Any) -> None:
    record_many([_entry(act, entry, **changes)])


def _entry(act: Act, entry: Suppression, **more: Any) -> Entry:
    told = {"scope": entry.scope.value, "domain": entry.domain, "cause": entry.cause, "mode": entry.mode, **more}
    return Entry(act, entry, entry.account_id, entry.inbox_id or "", {n: v for n, v in told.items() if v != ""})


def record_import(source: str, numbers: Mapping[Target, Mapping[str, int]]) -> None:
    """One entry in the trail for each whose mail the import stops."""
    record_many([_imported(target, source, those) for target, those in numbers.items()])


def _imported(target: Target, source: str, numbers: Mapping[str, int]) -> Entry:
    told = {"scope": scope_of(target).value, "domain": target.domain, "mode": target.mode, "source": source, **numbers}
    subject = target.inbox or Account.objects.get(pk=target.account_id)
    inbox_id = target.inbox.pk if target.inbox else ""
    return Entry(Act.SUPPRESSION_IMPORTED, subject, target.account_id, inbox_id, told)


def scope_of(target: Target) -> Scope:
    if target.inbox:
        return Scope.INBOX
    return Scope.DOMAIN if target.domain else Scope.ACCOUNT


def _told(entry: Suppression) -> dict[str, Any]:
    """What the trail tells of when it changes."""
    return {name: getattr(entry, name) for name in ("cause", "reason", "expires_at")}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    return {name: [_plain(old[name]), _plain(value)] for name, value in new.items() if old[name] != value}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
