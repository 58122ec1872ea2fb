"""What names a person: looked for in the database by a part of the address that no spelling changes, and then looked at.

An account is gone through in the order of its inboxes, and there of the numbers of its messages, as the index has them, so that a look can
stop and go on anywhere.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from operator import or_
from typing import Any

from django.db.models import CharField, Field, JSONField, Model, Q, QuerySet, TextField

from delivery.erasing.person import Person
from delivery.models import InboundMail, OutboundMail, ProviderEvent, RawObject
from delivery.raw import RawGone, raw_in
from inboxes.models import Inbox
from mailbot.lib.bulk import batches
from mailbot.lib.scope import acting_for_everybody
from threads.models import Message
from threads.tombstones import ERASED

READ = 200
# Headers that say between whom a mail went. Others may mention anybody.
_HEADERS = frozenset(
    "from sender reply-to to cc bcc return-path delivered-to x-original-to errors-to disposition-notification-to resent-from"
    " resent-sender resent-to resent-cc resent-bcc resent-reply-to envelope-to x-envelope-from x-envelope-to".split()
)
_PEOPLE = ("to", "cc", "bcc", "reply_to", "recipients")
_TOLD = (
    "pk",
    "sequence",
    "inbox_id",
    "source_id",
    "from_address",
    "headers",
    "explanation",
    "flags",
    "attachment_count",
)
_READ = (*_TOLD, *_PEOPLE)


def naming(person: Person, columns: Iterable[str]) -> Q:
    """The condition under which a row may name the person in one of these columns."""
    if not person.hint:
        return Q()
    return reduce(or_, (Q(**{f"{column}__icontains": person.hint}) for column in columns))


# --- Mail ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Behind which message of which inbox to go on."""

    inbox_id: str = ""
    sequence: int = 0

    @classmethod
    def read(cls, text: str) -> "Place":
        inbox_id, _, sequence = text.partition(" ")
        return cls(inbox_id, int(sequence or 0))

    def __str__(self) -> str:
        return f"{self.inbox_id} {self.sequence}"


def messages_of(person: Person, place: Place = Place()) -> Iterator[Message]:
    """Of mail that the person sent or was sent, also in inboxes that are deleted, in the order of places."""
    inboxes = Inbox.objects.filter(account_id=person.account_id, pk__gte=place.inbox_id).order_by("pk")
    rest = iter(list(inboxes.values_list("pk", flat=True)))
    naming_columns = ("from_address", *_PEOPLE, "headers", "explanation")
    while some := list(islice(rest, READ)):
        rows = Message.objects.filter(naming(person, naming_columns), inbox_id__in=some)
        rows = rows.order_by("inbox_id", "sequence").only(*_READ)
        while found := list(rows.filter(_behind(place))[:READ]):
            yield from (message for message in found if is_of(person, message))
            place = Place(found[-1].inbox_id, found[-1].sequence)


def _behind(place: Place) -> Q:
    return Q(inbox_id=place.inbox_id, sequence__gt=place.sequence) | Q(inbox_id__gt=place.inbox_id)


def is_of(person: Person, message: Message) -> bool:
    if ERASED in message.flags:
        return False
    addresses = [message.from_address]
    for column in _PEOPLE:
        addresses += [item.get("address", "") for item in getattr(message, column)]
    if any(person.is_at(address) for address in addresses if address):
        return True
    if any(name.lower() in _HEADERS and person.is_named_in(value) for name, value in message.headers):
        return True
    return person.is_named_in(message.explanation.get("checks", {}).get("envelope_sender", ""))


def mentions(person: Person) -> QuerySet[Message]:
    """Mail between others in whose text the address stands: it is theirs, and stays."""
    columns = ("subject", "body_text", "body_html")
    if not person.hint:
        return Message.objects.none()
    return Message.objects.filter(
        reduce(or_, (Q(**{f"{column}__icontains": person.address}) for column in columns)), account_id=person.account_id
    )


def inbound_of(person: Person, after: str = "") -> Iterator[tuple[str, set[str]]]:
    """Rows of the inbound queue that are of the person and of which no message is: what came again, what was refused, what could not be
    read; with the inboxes of the account that each was for. What is still to be processed is left: it becomes a message first."""
    with acting_for_everybody("mail on its way is of no account"):
        ours = set(Inbox.objects.filter(account_id=person.account_id).values_list("pk", flat=True))
        waiting = (InboundMail.State.STORED, InboundMail.State.PROCESSING)
        rows = InboundMail.objects.exclude(state__in=waiting).order_by("pk")
        while found := list(
            rows.filter(pk__gt=after).values_list("pk", "envelope_sender", "recipients", "error")[:READ]
        ):
            after = found[-1][0]
            theirs = [row for row in found if any(item["inbox_id"] in ours for item in row[2])]
            kept = set(
                Message.objects.filter(source_id__in=[row[0] for row in theirs]).values_list("source_id", flat=True)
            )
            for pk, sender, recipients, error in theirs:
                if person.is_named_in([sender, error]) or (pk not in kept and _is_raw_of(person, pk)):
                    yield pk, ours.intersection(item["inbox_id"] for item in recipients)


def inboxes_of_mail(person: Person, mail_ids: Iterable[str]) -> set[str]:
    """Those of the account that these deliveries were for: by the row and, once that is gone, by the card."""
    found: set[str] = set()
    with acting_for_everybody("mail on its way is of no account"):
        for piece in batches(sorted({*mail_ids} - {""}), READ):
            rows = InboundMail.objects.filter(pk__in=piece).values_list("recipients", flat=True)
            named = {item["inbox_id"] for recipients in rows for item in recipients}
            for first, others in RawObject.objects.filter(pk__in=piece).values_list("inbox_id", "other_inboxes"):
                named |= {first, *others}
            ours = Inbox.objects.filter(account_id=person.account_id, pk__in=named)
            found |= set(ours.values_list("pk", flat=True))
    return found


def _is_raw_of(person: Person, mail_id: str) -> bool:
    try:
        raw = raw_in(mail_id)
    except RawGone:
        return False
    head = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    return person.is_named_in(head.decode("utf-8", "replace"))


def waits_for_mail(person: Person) -> bool:
    """Whether mail that the person sent is still to be processed."""
    with acting_for_everybody("mail on its way is of no account"):
        ours = set(Inbox.objects.filter(account_id=person.account_id).values_list("pk", flat=True))
        states = (InboundMail.State.STORED, InboundMail.State.PROCESSING)
        rows = InboundMail.objects.unfinished().filter(state__in=states).filter(naming(person, ["envelope_sender"]))
        found = rows.values_list("envelope_sender", "recipients")
        return any(
            person.is_named_in(sender) and any(item["inbox_id"] in ours for item in recipients)
            for sender, recipients in found
        )


# --- Other rows ---------------------------------------------------------------------------------------------------------


def text_columns(model: type[Model], without: Iterable[str] = ()) -> list[Field[Any, Any]]:
    """Columns in which anybody may have written an address."""
    return [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, (CharField, TextField, JSONField)) and not field.primary_key and field.name not in without
    ]


def provider_events_of(person: Person) -> Iterator[ProviderEvent]:
    """What ESPs told of the person to providers of the account, or of its mail; by a provider that all accounts share, also of mail that
    came in for it, once that is fetched or will not be."""
    columns = ("recipient", "reason", "data", "payload", "error")
    with acting_for_everybody("what ESPs tell is of no account"):
        own = Q(provider__account_id=person.account_id) | Q(mail__account_id=person.account_id)
        shared = Q(provider__account=None, kind=ProviderEvent.Kind.INBOUND, processed_at__isnull=False)
        rows = ProviderEvent.objects.filter(own | shared).filter(naming(person, columns)).order_by("pk")
        for event in rows.select_related("provider").iterator(chunk_size=READ):
            is_ours = event.provider.account_id or event.mail_id or _is_for(person, event)
            if is_ours and person.is_named_in([getattr(event, column) for column in columns]):
                yield event


def _is_for(person: Person, event: ProviderEvent) -> bool:
    """For inboxes of the account alone: what was for another one's too is its as well."""
    owners = Inbox.objects.filter(address__in=event.addressed).values_list("account_id", flat=True)
    return set(owners) == {person.account_id}


def inboxes_told_of(person: Person, events: Iterable[ProviderEvent]) -> set[str]:
    """Those of the account of whose mail these tell: that it came in, or what became of it."""
    found: set[str] = set()
    with acting_for_everybody("what ESPs tell is of no account"):
        for piece in batches(events, READ):
            sent = OutboundMail.objects.filter(pk__in={event.mail_id for event in piece if event.mail_id})
            told = Q(address__in=set().union(*(event.addressed for event in piece))) | Q(pk__in=sent.values("inbox_id"))
            found |= set(Inbox.objects.filter(told, account_id=person.account_id).values_list("pk", flat=True))
    return found
