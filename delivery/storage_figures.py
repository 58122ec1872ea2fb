"""How much room what takes, counted by a sweep, so that no page of the console has to.

The counting looks at every attachment and every card. It takes at most one percent of the time: the longer it took, the longer it is
until the next one.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from time import monotonic
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, F, Min, QuerySet, Sum
from django.db.models.functions import Length
from django.utils import timezone

from delivery.models import InboundMail, OutboundMail, RawObject, StorageFigures
from inboxes.models import Inbox
from threads.models import Attachment

SERVER = ""  # the row that stands for all accounts together
NOT_SOONER_THAN = timedelta(minutes=5)
SHARE = 100  # pause, in times of what the last counting took
AT_ONCE = 500

Figures = dict[str, dict[str, int]]


def count_storage(*, now: bool = False) -> bool:
    """Count anew if it is time, or `now`; whether it was."""
    started, at = monotonic(), timezone.now()
    if not now and not _is_due():
        return False
    figures = _by_account()
    # What is of no account, because the inbox was purged meanwhile, counts for the server alone.
    server = {name: sum(account.get(name, 0) for account in figures.values()) for name in _names(figures)}
    figures.pop(SERVER, None)
    rows = [StorageFigures(account_id=account_id, counted_at=at, **numbers) for account_id, numbers in figures.items()]
    whole = StorageFigures(account_id=SERVER, counted_at=at, database_octets=_database_octets(), **server)
    whole.oldest_in_rows = min(
        filter(None, (_oldest(InboundMail, "processed_at"), _oldest(OutboundMail, "finished_at"))), default=None
    )
    whole.seconds = monotonic() - started
    with transaction.atomic():
        StorageFigures.objects.all().delete()
        StorageFigures.objects.bulk_create([whole, *rows])
    return True


def _is_due() -> bool:
    last = StorageFigures.objects.filter(pk=SERVER).first()
    pause = max(NOT_SOONER_THAN, timedelta(seconds=last.seconds * SHARE)) if last else timedelta()
    return last is None or not timedelta() <= timezone.now() - last.counted_at < pause


def _names(figures: Figures) -> set[str]:
    return {name for numbers in figures.values() for name in numbers}


def _by_account() -> Figures:
    figures: Figures = defaultdict(lambda: defaultdict(int))
    held = Sum(F("message_count") - F("messages_removed"))
    for account_id, messages in Inbox.objects.order_by().values_list("account_id").annotate(held=held):
        figures[account_id]["messages"] += messages
    _add(figures, "raw_in_rows", _outbound_in_rows())
    _add(figures, "raw_in_rows", _inbound_in_rows())
    kept = RawObject.objects.filter(state=RawObject.State.KEPT)
    _add(figures, "raw_in_store", kept.order_by().values_list("account_id").annotate(Count("pk"), Sum("size")))
    for account_id, *numbers in _attachments():
        for name, number in zip(("attachments", "attachments_octets", "files", "files_octets"), numbers, strict=True):
            figures[account_id][name] += int(number)
    return figures


def _add(figures: Figures, name: str, counted: Iterable[tuple[str, int, int]]) -> None:
    for account_id, number, octets in counted:
        figures[account_id][name] += number
        figures[account_id][f"{name}_octets"] += octets or 0


def _outbound_in_rows() -> QuerySet[Any, tuple[str, int, int]]:
    rows = OutboundMail.objects.filter(raw_in_row=True).order_by()
    return rows.values_list("account_id").annotate(Count("pk"), octets=Sum(Length("raw")))


def _inbound_in_rows() -> Iterable[tuple[str, int, int]]:
    """By the account of the first inbox that a mail was for; two queries, because each has an index of its own."""
    rows = InboundMail.objects.order_by()
    state = InboundMail.State
    finished = rows.filter(raw_in_row=True, processed_at__isnull=False).exclude(state=state.REJECTED)
    unfinished = InboundMail.objects.unfinished().filter(raw_in_row=True).order_by()
    for some in (finished, unfinished):
        counted = list(some.values_list("recipients__0__inbox_id").annotate(Count("pk"), Sum("size")))
        accounts = _accounts_of([inbox_id for inbox_id, _, _ in counted])
        yield from ((accounts.get(inbox_id, ""), number, octets) for inbox_id, number, octets in counted)


def _accounts_of(inbox_ids: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(inbox_ids), AT_ONCE):
        piece = inbox_ids[start : start + AT_ONCE]
        found |= dict(Inbox.objects.filter(pk__in=piece).values_list("pk", "account_id"))
    return found


def _attachments() -> list[tuple[str, int, int, int, int]]:
    """(account, attachments, their octets, files, their octets): a content is one file of an account, however often it came."""
    table = connection.ops.quote_name(Attachment._meta.db_table)
    contents = f"SELECT account_id, COUNT(*) AS uses, MAX(size) AS octets FROM {table} GROUP BY account_id, sha256"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT account_id, SUM(uses), SUM(uses * octets), COUNT(*), SUM(octets)"  # noqa: S608
            f" FROM ({contents}) AS contents GROUP BY account_id"
        )
        return list(cursor.fetchall())


def _oldest(queue: type[InboundMail] | type[OutboundMail], finished: str) -> Any:
    rows = queue._default_manager.filter(raw_in_row=True, **{f"{finished}__isnull": False}).exclude(state="rejected")
    return rows.aggregate(oldest=Min(finished))["oldest"]


def _database_octets() -> int:
    size = {
        "postgresql": "SELECT pg_database_size(current_database())",
        "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    }
    with connection.cursor() as cursor:
        cursor.execute(size[connection.vendor])
        return int(cursor.fetchone()[0])
