"""Exports: asked for, made by a worker in turns, kept for a while, downloaded.

queued → running → done → expired
                 ↘ failed
"""

import logging
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from audit.actors import acting_for_request, current
from audit.bundle import NothingSealed
from audit.export_build import Build, LeaseLost, TurnOver
from audit.export_models import Export, ExportPart
from audit.export_writer import Damaged, forget_parts, octets_of
from audit.record import Act, record
from audit.signing import KeyRefused
from mailbot.lib.hints import ring_on_commit
from mailbot.lib.object_store import StoreUnavailable

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=120)  # longer than an object takes to be made and stored
AGAIN_AFTER = timedelta(seconds=30)
MOST_ATTEMPTS = 5  # in a row without an object more
MOST_UNFINISHED = 5  # of an account
MOST_EXPIRED = 100  # a turn
MAKE = "audit.tasks.make_exports"
UNFINISHED = (Export.Status.QUEUED, Export.Status.RUNNING)


class TooManyExports(Exception):
    """The account waits for as many as it may."""


class NotThere(Exception):
    """The export is not finished, has failed, or its time is over."""


def ask_for_export(
    *,
    account_id: str,
    inbox_id: str,
    mode: str,
    since: datetime | None,
    until: datetime | None,
    include: list[str],
    reason: str,
    told: Mapping[str, str] | None = None,
) -> Export:
    """Have one made, for whoever acts now. `told` is what its entry says beside. Raises TooManyExports."""
    context = current()
    with transaction.atomic():
        if Export.objects.filter(account_id=account_id, status__in=UNFINISHED).count() >= MOST_UNFINISHED:
            raise TooManyExports
        export = Export.objects.create(
            account_id=account_id,
            inbox_id=inbox_id,
            mode=mode,
            since=since,
            until=until,
            include=" ".join(sorted(include)),
            reason=reason,
            actor_kind=context.actor.kind,
            actor_id=context.actor.id,
            actor_name=context.actor.name,
            request_id=context.request_id,
        )
        changes = {"from": since, "to": until, "include": export.included, "reason": reason}
        plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in changes.items()}
        _record(Act.EXPORT_CREATED, export, {**plain, **(told or {})})
        ring_on_commit(MAKE)
    return export


def _record(act: Act, export: Export, changes: dict[str, Any]) -> None:
    record(act, export, account_id=export.account_id, inbox_id=export.inbox_id, changes=changes)


# --- Making -------------------------------------------------------------------------------------------------------------


def make_exports(seconds: float) -> bool:
    """Have a turn of so long at one that waits, from where the last turn or a process that was stopped left it. Whether there is more
    to do at once."""
    export = _claimed()
    if export is None:
        return False
    with acting_for_request(export.request_id):
        return _have_a_turn(export, time.monotonic() + seconds)


def _claimed() -> Export | None:
    """Those who had no turn yet come first. One is made at a time: the others of the pool's processes are for mail."""
    now, lease = timezone.now(), secrets.token_hex(16)
    if Export.objects.filter(status=Export.Status.RUNNING, lease_until__gt=now).exclude(lease="").exists():
        return None
    free = Export.objects.filter(Q(lease_until=None) | Q(lease_until__lte=now), status__in=UNFINISHED)
    for pk in free.order_by(F("lease_until").asc(nulls_first=True), "pk").values_list("pk", flat=True)[:10]:
        columns = {"status": Export.Status.RUNNING, "lease": lease, "lease_until": now + LEASE}
        if free.filter(pk=pk).update(**columns):
            return Export.objects.get(pk=pk)
    return None


def _have_a_turn(export: Export, until: float) -> bool:
    def hold(**columns: Any) -> None:
        if not _held(export, lease_until=timezone.now() + LEASE, **columns):
            raise LeaseLost

    try:
        size, sha256 = Build(export, hold).run(until)
    except TurnOver:
        return bool(_held(export, lease="", lease_until=timezone.now()))
    except LeaseLost:
        log.warning("Export %s was taken over by another worker.", export.pk)
    except Damaged as why:
        log.warning("Export %s is made anew: %s", export.pk, why)
        _start_again(export)
    except NothingSealed:
        _fail(export, "Nothing of the account is sealed.")
    except (StoreUnavailable, KeyRefused) as error:
        _try_later(export, str(error))
    except Exception as error:
        log.exception("Export %s cannot be made.", export.pk)
        _try_later(export, type(error).__name__)
    else:
        _finish(export, size, sha256)
    return True


def _held(export: Export, **columns: Any) -> int:
    return Export.objects.filter(pk=export.pk, lease=export.lease, status=Export.Status.RUNNING).update(**columns)


def _finish(export: Export, size: int, sha256: str) -> None:
    now = timezone.now()
    ends = now + timedelta(hours=settings.EXPORT_HOURS)
    columns = {"status": Export.Status.DONE, "size": size, "sha256": sha256, "finished_at": now, "expires_at": ends}
    with transaction.atomic():
        if _held(export, **columns, done=F("total"), error=""):
            _record(Act.EXPORT_FINISHED, export, {"size": size, "sha256": sha256})


def _start_again(export: Export) -> None:
    if export.restarts + 1 >= MOST_ATTEMPTS:
        _fail(export, "The store loses what it was given.")
        return
    try:
        forget_parts(export)
    except StoreUnavailable as error:
        _try_later(export, str(error))
    else:
        anew = {"head_id": None, "trail": None, "done": 0, "restarts": export.restarts + 1}
        _held(export, **anew, lease="", lease_until=timezone.now())


def _try_later(export: Export, why: str) -> None:
    attempts = Export.objects.filter(pk=export.pk).values_list("attempts", flat=True).get() + 1
    if attempts >= MOST_ATTEMPTS:
        _fail(export, why)
    else:
        again = timezone.now() + AGAIN_AFTER * attempts
        _held(export, attempts=attempts, error=why[:500], lease="", lease_until=again)


def _fail(export: Export, why: str) -> None:
    ends = timezone.now()  # its objects go with the next sweep
    with transaction.atomic():
        if _held(export, status=Export.Status.FAILED, error=why[:500], finished_at=ends, expires_at=ends):
            _record(Act.EXPORT_FAILED, export, {"error": why[:500]})


# --- Afterwards ---------------------------------------------------------------------------------------------------------


def expire_exports() -> int:
    """Remove the octets of those whose time is over, and of those that failed; how many."""
    over = Export.objects.filter(expires_at__lte=timezone.now())
    gone = 0
    for export in over.filter(status=Export.Status.DONE).order_by("expires_at")[:MOST_EXPIRED]:
        with transaction.atomic():  # first: nobody may begin to download what goes
            if Export.objects.filter(pk=export.pk, status=Export.Status.DONE).update(status=Export.Status.EXPIRED):
                gone += 1
                _record(Act.EXPORT_EXPIRED, export, {})
    ended = ExportPart.objects.filter(export__status__in=[Export.Status.EXPIRED, Export.Status.FAILED])
    for pk in ended.order_by().values_list("export", flat=True).distinct()[:MOST_EXPIRED]:
        try:
            forget_parts(Export(pk=pk))
        except StoreUnavailable as error:
            log.error("The octets of the export %s cannot be removed: %s", pk, error)
    return gone


def withdraw_exports(account_id: str, inbox_ids: Collection[str], why: dict[str, str]) -> int:
    """Bundles that hold what has been erased since cannot be downloaded any more, and one that is just made fails: those of these inboxes
    and of the whole account. How many. Their octets go with the next sweep."""
    theirs = Export.objects.filter(account_id=account_id, inbox_id__in=["", *inbox_ids])
    now, error = timezone.now(), "Something that it is of was erased while it was made. Ask for it again."
    number = 0
    for export in theirs.filter(status__in=[Export.Status.DONE, Export.Status.RUNNING]).order_by("pk"):
        is_done = export.status == Export.Status.DONE
        columns = {"status": Export.Status.EXPIRED, "expires_at": now}
        if not is_done:
            columns = {
                "status": Export.Status.FAILED,
                "error": error,
                "finished_at": now,
                "expires_at": now,
                "lease": "",
            }
        with transaction.atomic():
            if Export.objects.filter(pk=export.pk, status=export.status).update(**columns):
                act, told = (Act.EXPORT_EXPIRED, {}) if is_done else (Act.EXPORT_FAILED, {"error": error})
                _record(act, export, told | why)
                number += 1
    return number


def has_octets(account_id: str) -> bool:
    """Whether the store still has something of bundles that are over."""
    over = [Export.Status.EXPIRED, Export.Status.FAILED]
    return ExportPart.objects.filter(account_id=account_id, export__status__in=over).exists()


def begin_download(export: Export, told: Mapping[str, str] | None = None) -> None:
    """Write down that whoever acts now gets it, and what else is `told`. Raises NotThere."""
    now = timezone.now()
    there = Export.objects.filter(pk=export.pk, status=Export.Status.DONE, expires_at__gt=now)
    with transaction.atomic():
        if not there.update(downloads=F("downloads") + 1):
            raise NotThere
        _record(Act.EXPORT_DOWNLOADED, export, {"size": export.size, "sha256": export.sha256, **(told or {})})


def octets_of_export(export: Export) -> Iterator[bytes]:
    """One object of the store after the other. Raises Damaged, and StoreUnavailable."""
    number = 0
    while (part := ExportPart.objects.filter(export=export, number=number).defer("state").first()) is not None:
        yield octets_of(part)
        number += 1


def filename_of(export: Export) -> str:
    return f"audit-{export.inbox_id or export.account_id}-{export.created_at:%Y-%m-%d}.zip"
