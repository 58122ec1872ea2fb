"""What an erasure would take away, without taking anything: the dry run."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from django.db.models import QuerySet

from audit.models import AuditEntry, Export
from audit.record import Act, record
from audit.records import RECORDS
from delivery.erasing.finding import (
    inbound_of,
    inboxes_of_mail,
    inboxes_told_of,
    mentions,
    messages_of,
    naming,
    provider_events_of,
)
from delivery.erasing.mail import unfinished_of
from delivery.erasing.person import Person
from delivery.erasing.records import answers_naming, inboxes_of, kind_of, rows_naming, tables
from delivery.erasing.suppressed import suppressions_of
from delivery.models import ErasedObject, Recipient
from inboxes.holds import held_among, in_force
from inboxes.models import Account, AddressRule, Inbox
from mailbot.lib.bulk import batches
from mailbot.lib.scope import acting_for_everybody
from threads.models import Attachment, Event, Message, Thread

MOST_NAMED = 100
WHOLE_ACCOUNT = ""  # no inbox: what is held with the account
AT_ONCE = 500
_IN_ENTRIES = (
    "actor_name",
    "actor_email",
    "object_repr",
    "serialized_data",
    "additional_data",
    "changes_text",
    "changes",
)
_COUNTED_APART = (Thread, Event, Recipient)


def plan(person: Person) -> dict[str, Any]:
    """Nothing is changed."""
    mail = mail_of(person)
    messages = mail.messages
    ids = [message.pk for message in messages]
    by_inbox = Counter(message.inbox_id for message in messages)
    affected = affected_inboxes(person, mail)
    addresses = dict(Inbox.objects.filter(pk__in=by_inbox).values_list("pk", "address"))
    return {
        "person": person.pseudonym,
        "messages": {
            "count": len(ids),
            "by_inbox": [{"inbox_id": pk, "address": addresses[pk], "count": n} for pk, n in sorted(by_inbox.items())],
            "ids": ids[:MOST_NAMED],
        },
        "raw_mails": len({message.source_id or message.pk for message in messages} | mail.inbound.keys()),
        "attachments": _attachments(messages),
        "threads": _threads(person, ids),
        "events": _events(person, ids),
        "recipients": _recipients(ids),
        "audit_entries": entries_of(person, ids),
        "provider_events": sum(1 for _ in provider_events_of(person)),
        "kept_answers": sum(1 for _ in answers_naming("", person)),
        "other_rows": _other_rows(person),
        "suppressions": [entry.pk for entry in suppressions_of(person)][:MOST_NAMED],
        "list_entries": [rule.pk for rule in list_entries_of(person)][:MOST_NAMED],
        "exports": exports_of(person, affected),
        "mentioned_in": mentions(person).exclude(pk__in=ids[:AT_ONCE]).count(),
        "holds": holds_against(person, affected),
    }


def holds_against(person: Person, affected: Iterable[str]) -> list[dict[str, Any]]:
    """The holds that forbid it."""
    held = held_among(person.account_id, [*affected, WHOLE_ACCOUNT])
    holds = {hold.pk: hold for found in held.values() for hold in found}
    return [{"id": pk, "matter": hold.matter, "inbox_id": hold.inbox_id} for pk, hold in sorted(holds.items())]


def preview(account: Account, person: Person, reason: str) -> dict[str, Any]:
    """The plan, and an entry that says that somebody asked for it."""
    told = plan(person)
    counts = {"messages": told["messages"]["count"], "audit_entries": told["audit_entries"]}
    about = {"person": person.pseudonym, "reason": person.without(reason), **counts}
    record(Act.ERASURE_PREVIEWED, None, account_id=account.pk, changes=about)
    return told


def entries_of(person: Person, message_ids: list[str]) -> int:
    """Entries of the trail that name the person, and those about his mail."""
    ours = _entries(person)
    found = {pk for pk, _ in _entries_naming(person)}
    for piece in batches(message_ids, AT_ONCE):
        about = ours.filter(object_pk__in=piece).exclude(object_repr="")
        found |= set(about.values_list("pk", flat=True))
    return len(found)


def _entries(person: Person) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(account_id=person.account_id).exclude(act__in=RECORDS).order_by()


def _entries_naming(person: Person) -> Iterator[tuple[int, str]]:
    """Key and inbox."""
    rows = _entries(person).filter(naming(person, _IN_ENTRIES)).values_list("pk", "inbox_id", *_IN_ENTRIES)
    for pk, inbox_id, *texts in rows.iterator(chunk_size=AT_ONCE):
        if person.is_named_in(texts):
            yield pk, inbox_id


def list_entries_of(person: Person) -> list[AddressRule]:
    return list(AddressRule.objects.filter(account_id=person.account_id, pattern=person.address).order_by("pk"))


def exports_of(person: Person, inbox_ids: Collection[str]) -> list[str]:
    """Bundles that may hold something of the person: of these inboxes, and of the whole account where there is anything at all."""
    if not inbox_ids and not any(True for _ in _entries_naming(person)):
        return []
    there = Export.objects.filter(account_id=person.account_id, inbox_id__in=["", *inbox_ids])
    open_ones = there.filter(status__in=[Export.Status.DONE, Export.Status.RUNNING])
    return list(open_ones.order_by("pk").values_list("pk", flat=True)[:MOST_NAMED])


def _attachments(messages: list[Message]) -> int:
    return sum(
        Attachment.objects.filter(message_id__in=[m.pk for m in piece]).count()
        for piece in batches([message for message in messages if message.attachment_count], AT_ONCE)
    )


def _threads(person: Person, message_ids: list[str]) -> int:
    found = {row.pk for row in rows_naming(person, Thread)}
    for piece in batches(message_ids, AT_ONCE):
        found |= set(Message.objects.filter(pk__in=piece).order_by().values_list("thread_id", flat=True))
    return len(found)


def _events(person: Person, message_ids: list[str]) -> int:
    found = {row.pk for row in rows_naming(person, Event)}
    for piece in batches(message_ids, AT_ONCE):
        found |= set(Event.objects.filter(message_id__in=piece).order_by().values_list("pk", flat=True))
    return len(found)


def _recipients(message_ids: list[str]) -> int:
    with acting_for_everybody("as the inboxes of the account are known"):
        return sum(
            Recipient.objects.filter(mail__message_id__in=piece).count() for piece in batches(message_ids, AT_ONCE)
        )


def _other_rows(person: Person) -> dict[str, int]:
    apart = {*_COUNTED_APART, Message}
    counted = {kind_of(model): sum(1 for _ in rows_naming(person, model)) for model in tables() if model not in apart}
    return {kind: number for kind, number in counted.items() if number}


def asked_of_holds(person: Person) -> list[str]:
    """What has to be free of holds: the inboxes that it would touch, and the whole account. Nothing is looked for where no hold is in
    force."""
    with acting_for_everybody("a hold binds who does not see it, too"):
        is_any = in_force().filter(account_id=person.account_id).exists()
    return [*affected_inboxes(person, mail_of(person)), WHOLE_ACCOUNT] if is_any else []


class Mail(NamedTuple):
    """Of a person: the messages, and the mail that became none, with the inboxes that it was for."""

    messages: list[Message]
    inbound: dict[str, set[str]]


def mail_of(person: Person) -> Mail:
    return Mail(list(messages_of(person)), dict(inbound_of(person)))


def affected_inboxes(person: Person, mail: Mail) -> list[str]:
    """Those of which anything would change or go: as the steps of delivery.erasing.working find it."""
    found = {message.inbox_id for message in mail.messages}.union(*mail.inbound.values())
    found |= inboxes_of_mail(person, (message.source_id for message in mail.messages))
    found |= inboxes_told_of(person, provider_events_of(person))
    for model in tables():
        found |= inboxes_of(model, (row.pk for row in rows_naming(person, model)))
    found |= {entry.inbox_id for entry in suppressions_of(person) if entry.inbox_id}
    found |= {inbox_id for _, inbox_id in _entries_naming(person)}
    return sorted((found | _inboxes_taken_over(person)) - {""})


def _inboxes_taken_over(person: Person) -> set[str]:
    """From which an earlier one that came to no end took something: it is gone over what the trail and bundles say of that."""
    begun = unfinished_of(person.account_id, person.pseudonym)
    erased = ErasedObject.objects.filter(erasure_id__in=begun.values("pk"), object_id__startswith="inbox_")
    return set(erased.values_list("object_id", flat=True))
