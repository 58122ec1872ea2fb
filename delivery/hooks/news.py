"""From what an ESP told to what is known of a mail: its recipients' status, its events, and whether an unknown one was taken."""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from audit.actors import Actor, ActorKind, acting_as
from delivery.claims import new_token
from delivery.engagement.machines import machine_signs, told_of
from delivery.models import OutboundMail, ProviderEvent, Recipient
from delivery.outbound.outcomes import Report
from delivery.outbound.states import State
from delivery.outbound.tracking import FOLLOWS, STATUS_OF, Moves
from delivery.outbound.unknown import settle_by_news, settle_by_refusal
from inboxes.models import Provider
from mailbot.lib.bulk import bulk_set, new_row
from mailbot.lib.clock import database_now
from threads.conversation import note_final_message_ids
from threads.events import EventType

log = logging.getLogger(__name__)

BATCH = 100
SHARE = 0.25  # of a batch, for an account that has more than that while others wait
LEASE = timedelta(seconds=60)
# Until the next look for the mail: an ESP may be quicker than our own note of what it answered.
RETRY_AFTER = tuple(timedelta(seconds=s) for s in (2, 10, 60, 600, 3600, 21600))

STRANGE = "No mail of ours has this id."
ON_THE_WIRE = "The mail is being handed over: what becomes of that is not written yet."
OPEN = frozenset({State.SENDING, State.UNKNOWN, State.QUEUED})  # what is heard may settle it, or must wait
FREE = {"lease_token": "", "lease_until": None}


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


class Heard(NamedTuple):
    event: ProviderEvent
    mail: OutboundMail


def process_provider_events(limit: int = BATCH) -> int:
    """Process one batch of news; how many rows it took. Safe to call at any time, from any process.

    Together, in a fixed number of queries; what they say of a mail whose fate is open, and whatever breaks, is looked at alone.
    """
    events = _claim(limit)
    mails = _mails_of(events)
    _put_off([event for event in events if event.pk not in mails], STRANGE, ProviderEvent.State.UNMATCHED)
    for each in _apply_most([Heard(event, mails[event.pk]) for event in events if event.pk in mails]):
        try:
            _apply_alone(each)
        except (OperationalError, InterfaceError):  # the database is in trouble, not an event; the lease runs out
            raise
        except Exception as error:
            log.exception("Provider event %s", each.event.pk)
            _put_off([each.event], f"{type(error).__name__}: {error}", ProviderEvent.State.FAILED)
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


def _mails_of(events: Sequence[ProviderEvent]) -> dict[str, OutboundMail]:
    """By event: the mail whose id the ESP gave back, else that which has the ESP's own id, which only its own mails have: Postal counts
    from 1.

    A provider of an account tells nothing about others' mail.
    """
    named = _by_ids_of_theirs(events)
    wanted = {event.told_mail_id for event in events if event.told_mail_id}.union(*named.values())
    mails = OutboundMail.objects.with_message().defer("raw", "to_fetch").in_bulk(wanted)
    found = {}
    for event in events:
        whose = (event.provider_id, event.provider_message_id)
        candidates = [mails.get(pk) for pk in (event.told_mail_id, *sorted(named[whose], reverse=True))]
        mail = next((mail for mail in candidates if mail and _may_tell_of(event.provider, mail)), None)
        if mail:
            found[event.pk] = mail
    return found


def _may_tell_of(provider: Provider, mail: OutboundMail) -> bool:
    return provider.account_id in (None, mail.account_id)


def _by_ids_of_theirs(events: Sequence[ProviderEvent]) -> dict[tuple[str, str], set[str]]:
    """The last mail of each account that a provider gave such an id to: however many have it, one row comes back."""
    ids = {event.provider_message_id for event in events if event.provider_message_id}
    carried = OutboundMail.objects.filter(provider_message_id__in=ids, carrier__in={e.provider_id for e in events})
    named: dict[tuple[str, str], set[str]] = defaultdict(set)
    for carrier_id, theirs, _, last in (
        carried.order_by().values_list("carrier_id", "provider_message_id", "account_id").annotate(last=Max("pk"))
    ):
        named[carrier_id, theirs].add(last)
    return named


def _apply_most(news: Sequence[Heard]) -> Sequence[Heard]:
    """All at once where that goes; those that are left."""
    if len(news) < 2:
        return news
    try:
        return _apply_together(news)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("%d provider events are looked at one by one", len(news))
        return news


@transaction.atomic
def _apply_together(news: Sequence[Heard]) -> list[Heard]:
    states = _lock({each.mail.pk for each in news})
    done = _finish([each for each in news if states.get(each.mail.pk, State.SENDING) not in OPEN])
    _note_final_ids(done)
    _move(done)
    return [each for each in news if states.get(each.mail.pk, State.SENDING) in OPEN]


@transaction.atomic
def _apply_alone(each: Heard) -> None:
    event, mail = each
    state = _lock({mail.pk}).get(mail.pk)
    if state is None:
        _put_off([event], STRANGE, ProviderEvent.State.UNMATCHED)
    elif state == State.SENDING:
        _put_off([event], ON_THE_WIRE, ProviderEvent.State.FAILED)
    elif _finish([each]):
        _note_final_ids([each])
        meaning, said = MEANINGS.get(event.type, UNKNOWN), f"{event.provider.name} says: {event.type}."
        with acting_as(_actor(event.provider)):
            if meaning.is_taken:
                settle_by_news(mail, event.provider_message_id, said)
            _move([each])
            if meaning.event is EventType.MESSAGE_FAILED:
                settle_by_refusal(mail, said)


def _lock(mail_ids: Collection[str]) -> dict[str, str]:
    """Their states. None of them is claimed, settled or cancelled while its news are applied; of one that is on the wire the state is about
    to be written, perhaps as unknown, and what settles that must come behind it."""
    rows = OutboundMail.objects.select_for_update(no_key=True).filter(pk__in=mail_ids)
    return dict(rows.order_by("pk").values_list("pk", "state"))


def _note_final_ids(news: Sequence[Heard]) -> None:
    """What was heard last."""
    told = {mail.pk: (mail, event.final_message_id) for event, mail in news if event.final_message_id}
    finals = {mail: final for mail, final in told.values() if final != mail.final_message_id}
    bulk_set([new_row(OutboundMail, id=mail.pk, final_message_id=f) for mail, f in finals.items()], "final_message_id")
    note_final_message_ids({mail.message_id: final for mail, final in finals.items()})


def _move(news: Sequence[Heard]) -> None:
    told = [each for each in news if MEANINGS.get(each.event.type, UNKNOWN).event]
    if told:
        moves = Moves(each.mail for each in told)
        for event, mail in told:
            if report := _report(event, mail, moves.recipients_of(mail)):
                moves.apply(mail, report)
        moves.write()


def _report(event: ProviderEvent, mail: OutboundMail, known: Sequence[Recipient]) -> Report | None:
    meaning = MEANINGS.get(event.type, UNKNOWN)
    assert meaning.event
    recipients = {recipient.address.lower(): recipient for recipient in known}
    recipient = recipients.get(event.recipient.lower())
    if recipient is None and len(recipients) == 1:  # spelt in another way, or not told
        recipient = next(iter(recipients.values()))
    if meaning.is_told_once and (recipient is None or recipient.status not in FOLLOWS[STATUS_OF[meaning.event]]):
        return None
    address = recipient.address if recipient else event.recipient
    data, actor = _data(event, mail, meaning), _actor(event.provider)
    return Report(meaning.event, address, event.reason[:500], event.occurred_at, data, actor)


def _actor(provider: Provider) -> Actor:
    """Named for what follows from its news, as it is called now."""
    return Actor(ActorKind.PROVIDER, provider.pk, provider.name)


def _data(event: ProviderEvent, mail: OutboundMail, meaning: Meaning) -> dict[str, Any]:
    """Of opens and clicks also whether a program did it, as far as the ESP says who asked."""
    if meaning.event not in (EventType.MESSAGE_OPENED, EventType.MESSAGE_CLICKED):
        return dict(event.data)
    agent = str(event.data.get("user_agent") or "")
    signs = machine_signs(agent, {}, event.occurred_at or event.received_at, mail.finished_at) if agent else []
    return {**event.data, "source": event.provider.esp, **told_of(agent, signs)}


def _finish(news: Sequence[Heard]) -> list[Heard]:
    """Fenced, and in the transaction of what follows from it: an event is applied once. Those that were still ours."""
    ours = _still_ours([each.event for each in news])
    done, now = [each for each in news if each.event.pk in ours], timezone.now()
    state = {"state": ProviderEvent.State.PROCESSED.value, "error": "", "processed_at": now}
    rows = [new_row(ProviderEvent, id=event.pk, mail_id=mail.pk, **state, **FREE) for event, mail in done]
    bulk_set(rows, "mail_id", *state, *FREE)
    return done


@transaction.atomic
def _put_off(events: Sequence[ProviderEvent], why: str, in_the_end: ProviderEvent.State) -> None:
    """Until the next look, or for good after the last one; fenced too."""
    ours = _still_ours(events)
    now, rows = database_now(), []
    for event in events:
        if event.pk in ours:
            columns: dict[str, object] = {"attempts": event.attempts + 1, "error": why[:2000], **FREE}
            columns |= {"state": event.state, "next_attempt_at": event.next_attempt_at, "processed_at": None}
            if event.attempts < len(RETRY_AFTER):
                columns["next_attempt_at"] = now + RETRY_AFTER[event.attempts]
            else:
                columns |= {"state": in_the_end.value, "processed_at": timezone.now()}
            rows.append(new_row(ProviderEvent, id=event.pk, **columns))
    bulk_set(rows, "attempts", "error", "state", "next_attempt_at", "processed_at", *FREE)


def _still_ours(events: Sequence[ProviderEvent]) -> set[str]:
    tokens = {event.lease_token for event in events}
    if not tokens:
        return set()
    rows = ProviderEvent.objects.select_for_update(no_key=True).filter(
        pk__in=[e.pk for e in events], lease_token__in=tokens
    )
    return set(rows.order_by("pk").values_list("pk", flat=True))
