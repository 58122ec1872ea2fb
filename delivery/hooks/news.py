"""From what an ESP told to what is known of a mail: its recipients' status, its events, and whether an unknown one was taken."""

import logging
from collections import Counter
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from delivery.claims import new_token, release
from delivery.engagement.machines import machine_signs, told_of
from delivery.models import OutboundMail, ProviderEvent
from delivery.outbound.outcomes import Report
from delivery.outbound.states import State
from delivery.outbound.tracking import FOLLOWS, STATUS_OF, apply_reports
from delivery.outbound.unknown import settle_by_news, settle_by_refusal
from mailbot.lib.clock import database_now
from threads.conversation import note_final_message_id
from threads.events import EventType

log = logging.getLogger(__name__)

BATCH = 100
SHARE = 0.25  # of a batch, for an account that has more than that while others wait
LEASE = timedelta(seconds=60)
# Until the next look for the mail: an ESP may be quicker than our own note of what it answered.
RETRY_AFTER = tuple(timedelta(seconds=s) for s in (2, 10, 60, 600, 3600, 21600))


class Meaning(NamedTuple):
    """`event` None: nothing that a reader of the mail needs to hear. `is_taken`: that it proves that the ESP took the mail."""

    event: EventType | None
    is_taken: bool = True
    is_told_once: bool = False  # we may have told it ourselves when we handed the mail over


MEANINGS: dict[str, Meaning] = {
    "queued": Meaning(EventType.MESSAGE_SENT, is_told_once=True),
    "sent": Meaning(EventType.MESSAGE_SENT, is_told_once=True),
    "delivered": Meaning(EventType.MESSAGE_DELIVERED),
    "deferred": Meaning(EventType.MESSAGE_DEFERRED),
    "bounced": Meaning(EventType.MESSAGE_BOUNCED),
    "rejected": Meaning(EventType.MESSAGE_FAILED, is_taken=False),
    "failed": Meaning(EventType.MESSAGE_FAILED, is_taken=False),
    "opened": Meaning(EventType.MESSAGE_OPENED),
    "clicked": Meaning(EventType.MESSAGE_CLICKED),
    "complained": Meaning(EventType.MESSAGE_COMPLAINED),
    "unsubscribed": Meaning(EventType.MESSAGE_UNSUBSCRIBED),
    "autoresponded": Meaning(None),
    "subscribed": Meaning(None),
}
UNKNOWN = Meaning(None, is_taken=False)  # a type that nobody knew yet: kept, and nothing is concluded from it


def process_provider_events(limit: int = BATCH) -> int:
    """Process one batch of news; how many rows it took. Safe to call at any time, from any process."""
    events = _claim(limit)
    for event in events:
        try:
            _process(event)
        except (OperationalError, InterfaceError):  # the database is in trouble, not an event; the lease runs out
            raise
        except Exception as error:
            log.exception("Provider event %s", event.pk)
            _later(event, f"{type(error).__name__}: {error}", ProviderEvent.State.FAILED)
    return len(events)


def _claim(limit: int) -> list[ProviderEvent]:
    token, due = new_token(), ProviderEvent.objects.due().filter(kind=ProviderEvent.Kind.TRACKING)
    chosen = _chosen(due.order_by("next_attempt_at", "pk"), limit)
    if not chosen:
        return []
    due.filter(pk__in=chosen).update(lease_token=token, lease_until=database_now() + LEASE)
    taken = ProviderEvent.objects.filter(pk__in=chosen, lease_token=token).select_related("provider")
    return list(taken.order_by("occurred_at", "pk"))


def _chosen(due: QuerySet[ProviderEvent], limit: int) -> list[str]:
    """The oldest; but where one account fills the batch, whatever of the others is there goes before the most of it."""
    oldest = list(due.values_list("pk", "provider_id", "provider__account_id")[:limit])
    many = Counter(account_id or provider_id for _, provider_id, account_id in oldest)
    loud = [whose for whose, number in many.items() if number > limit * SHARE]
    if len(oldest) < limit or not loud:
        return [pk for pk, _, _ in oldest]
    others = due.exclude(Q(provider_id__in=loud) | Q(provider__account_id__in=loud)).values_list("pk", flat=True)
    quiet = list(others[: int(limit * (1 - SHARE))])
    return list(dict.fromkeys([*quiet, *(pk for pk, _, _ in oldest)]))[:limit]


def _process(event: ProviderEvent) -> None:
    mail = _mail_of(event)
    if mail is None:
        _later(event, "No mail of ours has this id.", ProviderEvent.State.UNMATCHED)
        return
    with transaction.atomic():
        if _is_on_the_wire(mail):
            _later(
                event,
                "The mail is being handed over: what becomes of that is not written yet.",
                ProviderEvent.State.FAILED,
            )
        elif _finish(event, mail):
            _apply(event, mail)


def _is_on_the_wire(mail: OutboundMail) -> bool:
    """Then its state is about to be written, perhaps as unknown, and what settles that must come behind it. Otherwise the row is locked: it
    is not claimed, settled or cancelled while its news are applied."""
    locked = OutboundMail.objects.select_for_update(no_key=True).filter(pk=mail.pk)
    return locked.values_list("state", flat=True).first() == State.SENDING


def _mail_of(event: ProviderEvent) -> OutboundMail | None:
    """By the id that the ESP gave back, else by its own, which only its own mails have: Postal counts from 1.

    A provider of an account tells nothing about others' mail.
    """
    mails = OutboundMail.objects.select_related("message")
    if event.provider.account_id:
        mails = mails.filter(account_id=event.provider.account_id)
    if event.told_mail_id and (mail := mails.filter(pk=event.told_mail_id).first()):
        return mail
    if not event.provider_message_id:
        return None
    return mails.filter(carrier=event.provider, provider_message_id=event.provider_message_id).order_by("-pk").first()


def _apply(event: ProviderEvent, mail: OutboundMail) -> None:
    meaning = MEANINGS.get(event.type, UNKNOWN)
    if event.final_message_id and event.final_message_id != mail.final_message_id:
        OutboundMail.objects.filter(pk=mail.pk).update(final_message_id=event.final_message_id)
        note_final_message_id(mail.message_id, event.final_message_id)
    said = f"{event.provider.name} says: {event.type}."
    if meaning.is_taken:
        settle_by_news(mail, event.provider_message_id, said)
    if report := _report(event, mail, meaning):
        apply_reports(mail, [report])
    if meaning.event is EventType.MESSAGE_FAILED:
        settle_by_refusal(mail, said)


def _report(event: ProviderEvent, mail: OutboundMail, meaning: Meaning) -> Report | None:
    if meaning.event is None:
        return None
    recipients = {recipient.address.lower(): recipient for recipient in mail.recipients.all()}
    recipient = recipients.get(event.recipient.lower())
    if recipient is None and len(recipients) == 1:  # spelt in another way, or not told
        recipient = next(iter(recipients.values()))
    if meaning.is_told_once and (recipient is None or recipient.status not in FOLLOWS[STATUS_OF[meaning.event]]):
        return None
    address = recipient.address if recipient else event.recipient
    return Report(meaning.event, address, event.reason[:500], event.occurred_at, _data(event, mail, meaning))


def _data(event: ProviderEvent, mail: OutboundMail, meaning: Meaning) -> dict[str, Any]:
    """Of opens and clicks also whether a program did it, as far as the ESP says who asked."""
    if meaning.event not in (EventType.MESSAGE_OPENED, EventType.MESSAGE_CLICKED):
        return dict(event.data)
    agent = str(event.data.get("user_agent") or "")
    signs = machine_signs(agent, {}, event.occurred_at or event.received_at, mail.finished_at) if agent else []
    return {**event.data, "source": event.provider.esp, **told_of(agent, signs)}


def _finish(event: ProviderEvent, mail: OutboundMail) -> bool:
    """Fenced, and in the transaction of what follows from it: an event is applied once."""
    return release(event, state=ProviderEvent.State.PROCESSED, mail=mail, error="", processed_at=timezone.now())


def _later(event: ProviderEvent, why: str, in_the_end: ProviderEvent.State) -> None:
    columns: dict[str, object] = {"attempts": event.attempts + 1, "error": why[:2000]}
    if event.attempts < len(RETRY_AFTER):
        columns["next_attempt_at"] = database_now() + RETRY_AFTER[event.attempts]
    else:
        columns |= {"state": in_the_end, "processed_at": timezone.now()}
    release(event, **columns)
