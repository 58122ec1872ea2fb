"""The first step of an erasure: mail that the person sent or was sent, a batch of one inbox at a time.

A batch is one transaction. What it took from the object store is written down in it, and deleted once it is committed: who is killed in
between finds the names again.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile

from django.db import transaction
from django.db.models import Q, QuerySet

from delivery.erasing.finding import Place, inbound_of, messages_of
from delivery.erasing.person import Person
from delivery.models import (
    ErasedObject,
    Erasure,
    InboundMail,
    OutboundMail,
    ProviderEvent,
    RawObject,
    RecentSend,
    Recipient,
    SendAttempt,
)
from delivery.outbound.states import State
from delivery.raw_erasure import let_go
from inboxes.models import Inbox
from mailbot.lib.failpoints import failpoint
from mailbot.lib.scope import acting_for_everybody
from threads.models import Message
from threads.tombstones import leave_tombstones

BATCH = 50
_WAITING = (State.PREPARING, State.QUEUED)


def next_messages(person: Person, place: Place) -> list[Message]:
    """The next batch, all of one inbox."""
    found = messages_of(person, place)
    first = next(found, None)
    if first is None:
        return []
    return [first, *takewhile(lambda message: message.inbox_id == first.inbox_id, islice(found, BATCH - 1))]


@transaction.atomic
def erase_messages(erasure: Erasure, person: Person, messages: Sequence[Message]) -> Counter[str]:
    """What went, by kind."""
    ids = [message.pk for message in messages]
    inbox = Inbox.objects.get(pk=messages[0].inbox_id)
    # Who settles a mail has locked its row first: see delivery.receivers.
    mails = list(
        OutboundMail.objects.filter(message_id__in=ids).order_by("pk").select_for_update().values_list("pk", "state")
    )
    outbound = [pk for pk, _ in mails]
    gone = leave_tombstones(inbox, ids, {"erasure_id": erasure.pk, "person": person.pseudonym}, person.without)
    counted = _erase_outbound([(pk, State(state)) for pk, state in mails], ids)
    counted += _erase_sources(erasure.account_id, gone.sources)
    let_go(outbound)
    threads = len(gone.threads) - _known(erasure, gone.threads)
    note_erased(erasure, [inbox.pk, *ids, *gone.threads, *gone.sources, *outbound])
    erasure.files = sorted({*erasure.files, *gone.files})
    failpoint("erasure.erased")
    return counted + Counter(
        messages=len(ids),
        attachments=gone.attachments,
        search_documents=gone.documents,
        events=gone.events,
        threads=threads,
    )


def _erase_outbound(mails: Sequence[tuple[str, State]], message_ids: Sequence[str]) -> Counter[str]:
    """The rows of the queue, with their raw mail, recipients and attempts. A mail that waits is not sent any more."""
    ids = [pk for pk, _ in mails]
    for states, status in ((_WAITING, Message.Status.CANCELLED), ((State.SENDING,), Message.Status.UNKNOWN)):
        stopped = OutboundMail.objects.filter(pk__in=[pk for pk, state in mails if state in states])
        Message.objects.filter(pk__in=stopped.values("message_id")).update(status=status)
    counted = Counter(
        recipients=Recipient.objects.filter(mail_id__in=ids).delete()[0],
        send_attempts=SendAttempt.objects.filter(mail_id__in=ids).delete()[0],
        provider_events=ProviderEvent.objects.filter(mail_id__in=ids).delete()[0],
        raw_mails=len(ids),
    )
    RecentSend.objects.filter(message_id__in=message_ids).delete()
    OutboundMail.objects.filter(pk__in=ids).delete()
    return counted


def _erase_sources(account_id: str, source_ids: Iterable[str]) -> Counter[str]:
    """The rows that messages were read from, with their raw mail. One that was for an inbox of another account too is that one's, and only
    forgets ours."""
    counted: Counter[str] = Counter()
    with acting_for_everybody("who else was it addressed to"):
        ours = set(Inbox.objects.filter(account_id=account_id).values_list("pk", flat=True))
        for source_id in sorted(source_ids):
            row = InboundMail.objects.select_for_update(no_key=True).defer("raw").filter(pk=source_id).first()
            card = RawObject.objects.select_for_update().filter(pk=source_id).first()
            addressed = {item["inbox_id"] for item in row.recipients} if row else set()
            addressed |= {card.inbox_id, *card.other_inboxes} if card else set()
            others = addressed - ours - {""}
            if Inbox.objects.filter(pk__in=others, purged_at=None).exists():
                _forget_ours(row, card, ours)
                counted["raw_mails_of_others"] += 1
            else:
                InboundMail.objects.filter(pk=source_id).delete()
                let_go([source_id])
                counted["raw_mails"] += 1
    return counted


def _forget_ours(row: InboundMail | None, card: RawObject | None, ours: set[str]) -> None:
    if row:
        left = [item for item in row.recipients if item["inbox_id"] not in ours]
        InboundMail.objects.filter(pk=row.pk).update(recipients=left)
    if card:
        inboxes = [one for one in (card.inbox_id, *card.other_inboxes) if one not in ours]
        whose = Inbox.objects.get(pk=inboxes[0]).account_id
        RawObject.objects.filter(pk=card.pk).update(inbox_id=inboxes[0], other_inboxes=inboxes[1:], account_id=whose)


def next_inbound(person: Person, after: str) -> dict[str, set[str]]:
    """The next batch of rows of the inbound queue of which there is no message, and for which inboxes of the account each was."""
    return dict(islice(inbound_of(person, after), BATCH))


@transaction.atomic
def erase_inbound(erasure: Erasure, mail_ids: Sequence[str]) -> Counter[str]:
    """What went, by kind."""
    counted = _erase_sources(erasure.account_id, mail_ids)
    note_erased(erasure, mail_ids)
    failpoint("erasure.erased")
    return counted


def note_erased(erasure: Erasure, ids: Iterable[str]) -> None:
    rows = [
        ErasedObject(account_id=erasure.account_id, erasure_id=erasure.pk, object_id=one) for one in sorted(set(ids))
    ]
    ErasedObject.objects.bulk_create(rows, ignore_conflicts=True)


def _known(erasure: Erasure, ids: Iterable[str]) -> int:
    """How many of them it took something from before."""
    return ErasedObject.objects.filter(erasure_id=erasure.pk, object_id__in=list(ids)).count()


def take_over(erasure: Erasure) -> None:
    """What earlier ones of the same person that came to no end took away, and left: entries about it still have to be gone over, and files
    to be deleted."""
    for one in unfinished_of(erasure.account_id, erasure.person).order_by("pk"):
        note_erased(
            erasure, ErasedObject.objects.filter(erasure_id=one.pk).values_list("object_id", flat=True).iterator()
        )
        erasure.files = sorted({*erasure.files, *one.files})


def unfinished_of(account_id: str, pseudonym: str) -> QuerySet[Erasure]:
    """Erasures of a person that came to no end, and that none has ended since."""
    theirs = Erasure.objects.filter(account_id=account_id, person=pseudonym)
    done = theirs.filter(state=Erasure.State.DONE).order_by("-pk").values_list("pk", flat=True).first()
    return theirs.filter(state__in=(Erasure.State.FAILED, Erasure.State.REFUSED), pk__gt=done or "")


def is_leaving(erasure: Erasure) -> bool:
    """Whether raw mail of this erasure is still in the store."""
    erased = ErasedObject.objects.filter(erasure_id=erasure.pk).filter(
        Q(object_id__startswith="inmail_") | Q(object_id__startswith="outmail_")
    )
    cards = RawObject.objects.filter(pk__in=erased.values("object_id"))
    return cards.filter(Q(account_id=erasure.account_id) | Q(state=RawObject.State.LEAVING)).exists()
