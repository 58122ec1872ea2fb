"""What this app does when threads says that content was erased. Runs in the transaction of the erasure."""

from collections.abc import Sequence
from typing import Any

from django.dispatch import receiver

from delivery.models import InboundMail, OutboundMail, ProviderEvent, RawObject
from delivery.raw_erasure import in_pieces, let_go, let_go_outbound, sources_in_use
from inboxes.models import Inbox
from inboxes.signals import inbox_goes
from mailbot.lib.addresses import addresses_in
from mailbot.lib.scope import acting_for_everybody
from threads.signals import content_erased, content_goes, messages_erased, messages_go

# An id begins with the time at which it was made; so many characters of it leave out the last minutes, for clocks that differ.
_TIME_IN_ID = 6


@receiver([inbox_goes, content_goes], dispatch_uid="delivery.wait_for_senders")
def wait_for_senders(sender: object, *, inbox: Inbox, **_: Any) -> None:
    """Who settles a mail has locked its row first, and goes on to its inbox, its recipients and its message: an erasure that began with
    these would wait for him, and he for it. Before the inbox is locked, and again for what was queued until then."""
    locked = OutboundMail.objects.filter(inbox=inbox).order_by("pk").select_for_update()
    for _mail in locked.values_list("pk").iterator():
        pass


@receiver(content_erased, dispatch_uid="delivery.erase_raw_mail")
def erase_raw_mail(sender: object, *, inbox: Inbox, source_ids: set[str], **_: Any) -> None:
    """The raw mail goes too, in the rows and in the store, unless it was addressed to other inboxes as well, which still have it.

    Not all of it has become a message: what came again did not, and what is still to be processed has not yet. Rows before cards,
    as the mover does; the rows of outbound mail went with their messages.
    """
    with acting_for_everybody("who else was it addressed to"):
        gone = (source_ids - _needed_elsewhere(inbox, source_ids)) | _for_nobody_else(inbox)
    for piece in in_pieces(gone):
        InboundMail.objects.filter(pk__in=piece).delete()
    let_go(gone)
    let_go_outbound(inbox.pk)
    _forget_calls(inbox)


@receiver(messages_go, dispatch_uid="delivery.let_go_sent_mail")
def let_go_sent_mail(sender: object, *, message_ids: Sequence[str], **_: Any) -> None:
    """Of mail that was sent: its rows are locked before the inbox, as whoever settles them does, and its objects go."""
    for piece in in_pieces(message_ids):
        rows = OutboundMail.objects.filter(message_id__in=piece).order_by("pk").select_for_update()
        let_go(rows.values_list("pk", flat=True))


@receiver(messages_erased, dispatch_uid="delivery.erase_raw_of_messages")
def erase_raw_of_messages(sender: object, *, source_ids: set[str], **_: Any) -> None:
    """The mails that they were read from, with their rows, unless an inbox still has a message of one, or gets it yet."""
    with acting_for_everybody("who else was it addressed to"):
        gone = source_ids - _still_needed(source_ids)
    for piece in in_pieces(gone):
        InboundMail.objects.filter(pk__in=piece).delete()
    let_go(gone)


def _still_needed(source_ids: set[str]) -> set[str]:
    mails: dict[str, tuple[str, str, list[str]]] = {}
    pending: set[str] = set()
    for piece in in_pieces(source_ids):
        cards = RawObject.objects.filter(pk__in=piece).values_list("pk", "sha256", "inbox_id", "other_inboxes")
        mails |= {pk: (pk, sha256, [first, *others]) for pk, sha256, first, others in cards}
        for pk, sha256, recipients, state in InboundMail.objects.filter(pk__in=piece).values_list(
            "pk", "sha256", "recipients", "state"
        ):
            mails[pk] = (pk, sha256, [item["inbox_id"] for item in recipients])
            if state not in (InboundMail.State.PROCESSED, InboundMail.State.REJECTED):
                pending.add(pk)
    return pending | sources_in_use(mails.values())


def _forget_calls(inbox: Inbox) -> None:
    """What ESPs told of its inbound mail: with some of them that is the text itself. What is still to be fetched for others too stays."""
    oldest = f"pevt_{inbox.pk.removeprefix('inbox_')[:_TIME_IN_ID]}"
    of_mail = ProviderEvent.objects.filter(pk__gte=oldest, kind=ProviderEvent.Kind.INBOUND)
    told = of_mail.filter(recipient__icontains=inbox.local_part).values_list("pk", "recipient", "state")
    addressed = {pk: (addresses_in(recipient), state) for pk, recipient, state in told}
    gone = {
        pk
        for pk, (addresses, state) in addressed.items()
        if inbox.address in addresses and (state != ProviderEvent.State.PENDING or addresses == {inbox.address})
    }
    for piece in in_pieces(gone):
        ProviderEvent.objects.filter(pk__in=piece).delete()


def _needed_elsewhere(inbox: Inbox, source_ids: set[str]) -> set[str]:
    """Mail of which another inbox still has a message. The row knows for whom it was; where it is history, the card does."""
    shared: dict[str, tuple[str, str, list[str]]] = {}
    for piece in in_pieces(source_ids):
        cards = RawObject.objects.filter(pk__in=piece).values_list("pk", "sha256", "inbox_id", "other_inboxes")
        shared |= {pk: (pk, sha256, [first, *others]) for pk, sha256, first, others in cards if others}
        rows = InboundMail.objects.filter(pk__in=piece).values_list("pk", "sha256", "recipients")
        found = ((pk, sha256, [item["inbox_id"] for item in recipients]) for pk, sha256, recipients in rows)
        shared |= {pk: (pk, sha256, names) for pk, sha256, names in found if set(names) != {inbox.pk}}
    return sources_in_use(shared.values())


def _for_nobody_else(inbox: Inbox) -> set[str]:
    """Mail all of whose inboxes are purged. Mail for an inbox is younger than the inbox, so the key finds where to begin."""
    oldest = f"inmail_{inbox.pk.removeprefix('inbox_')[:_TIME_IN_ID]}"
    rows = InboundMail.objects.filter(pk__gte=oldest, recipients__icontains=inbox.pk)
    inboxes = {pk: {item["inbox_id"] for item in found} for pk, found in rows.values_list("pk", "recipients")}
    living = Inbox.objects.filter(pk__in=set().union(*inboxes.values()), purged_at=None)
    kept = set(living.values_list("pk", flat=True))
    return {pk for pk, addressed in inboxes.items() if not addressed & kept}
