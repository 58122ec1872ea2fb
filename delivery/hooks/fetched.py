"""Getting what an ESP keeps for us: mails that its calls only name, and the confirmation that it may call us at all."""

import logging
import random
from collections import Counter
from collections.abc import Collection
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from delivery.claims import claim, release
from delivery.esps import ESPS
from delivery.esps.base import Arrived
from delivery.hooks.calls import UNROUTED, NoRoom, take_arrived
from delivery.inbound.receive import StorageError
from delivery.models import ProviderEvent
from delivery.slow_work import Source
from mailbot.lib.clock import database_now
from mailbot.lib.safe_fetch import FetchFailed, fetch

log = logging.getLogger(__name__)

AT_ONCE = 8
AT_ONCE_OF_ONE = 2  # account; a shared provider counts by itself
LEASE = timedelta(minutes=3)  # what names the files of a mail is asked first, and they have one time together
RETRY_AFTER = (10, 60, 300, 1800, 7200, 21600, 43200)  # seconds: ESPs keep a mail for a day at least
JITTER = 0.2
FETCHED = Q(kind__in=[ProviderEvent.Kind.INBOUND, ProviderEvent.Kind.CONFIRMATION])
Found = Arrived | FetchFailed | None


def _due() -> QuerySet[ProviderEvent]:
    return ProviderEvent.objects.due().filter(FETCHED)


def _next(flying: Collection[ProviderEvent]) -> ProviderEvent | None:
    many = Counter(event.provider.account_id or event.provider_id for event in flying)
    full = [whose for whose, count in many.items() if count >= AT_ONCE_OF_ONE]
    others = (
        _due().exclude(Q(provider_id__in=full) | Q(provider__account_id__in=full)).order_by("next_attempt_at", "pk")
    )
    pk = others.values_list("pk", flat=True).first()
    event = claim(ProviderEvent.objects.due(), pk, state=ProviderEvent.State.PENDING, lease=LEASE) if pk else None
    if event:
        _ = event.provider  # read here: the thread that asks touches no database
    return event


def _ask(event: ProviderEvent) -> Found:
    """In a thread: no database."""
    try:
        if event.kind == ProviderEvent.Kind.CONFIRMATION:
            fetch(event.payload["url"], most=64 * 1024, seconds=20)
            return None
        return ESPS[event.provider.esp].fetch(event.provider.credentials, event.payload)
    except FetchFailed as failed:
        return failed
    except Exception as error:  # whatever an ESP made of its answer: this row alone must suffer
        log.exception("Fetching what provider event %s names", event.pk)
        return FetchFailed(f"{type(error).__name__}: {error}", is_temporary=True)


def _settle(event: ProviderEvent, found: Found) -> None:
    try:
        if isinstance(found, FetchFailed):
            _later(event, found)
            return
        is_unrouted = found is not None and take_arrived(event.provider, [found]).unrouted > 0
        _done(event, is_unrouted)
    except (NoRoom, StorageError) as error:
        _later(event, FetchFailed(str(error) or "The account has no room left.", is_temporary=True))
    except Exception as error:
        log.exception("Storing what provider event %s names", event.pk)
        _later(event, FetchFailed(f"{type(error).__name__}: {error}", is_temporary=True))


def _done(event: ProviderEvent, is_unrouted: bool) -> None:
    """What it took to fetch is not needed any more; with some ESPs it is the text of the mail."""
    state = ProviderEvent.State.UNMATCHED if is_unrouted else ProviderEvent.State.PROCESSED
    error = UNROUTED if is_unrouted else ""
    release(event, state=state, error=error, payload={}, processed_at=timezone.now())


def _later(event: ProviderEvent, failed: FetchFailed) -> None:
    columns: dict[str, object] = {"attempts": event.attempts + 1, "error": str(failed)[:2000]}
    if failed.is_temporary and event.attempts < len(RETRY_AFTER):
        pause = RETRY_AFTER[event.attempts] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
        columns["next_attempt_at"] = database_now() + timedelta(seconds=pause)
    else:
        columns |= {"state": ProviderEvent.State.FAILED, "processed_at": timezone.now()}
    release(event, **columns)


# Few of one account: who chooses the address of his API chooses how slow it is.
KEPT_BY_ESPS = Source(actor="provider events", at_once=AT_ONCE, due=_due, claim=_next, ask=_ask, settle=_settle)
