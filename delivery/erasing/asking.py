"""Asking for an erasure: for whoever acts now, with a reason."""

from django.db import transaction

from audit.actors import current
from audit.record import Act, record
from delivery.erasing.person import Person
from delivery.erasing.planning import asked_of_holds
from delivery.models import Erasure
from inboxes.holds import refuse_if_held
from inboxes.models import Account, Inbox
from mailbot.lib.addresses import AddressError
from mailbot.lib.hints import ring_on_commit

RUN = "delivery.tasks.run_erasures"
MOST_REASON = 500
UNDER_WAY = (Erasure.State.PLANNED, Erasure.State.RUNNING)


class NotErasable(ValueError):
    """The address is none, or that of an inbox; the message says which."""


class UnderWay(Exception):
    """One for the same person is there already."""

    def __init__(self, erasure: Erasure) -> None:
        self.erasure = erasure
        super().__init__(f"{erasure.pk} erases this person already.")


def person_at(account: Account, address: str) -> Person:
    """Raises NotErasable."""
    try:
        person = Person.at(account.pk, address)
    except AddressError as error:
        raise NotErasable(str(error)) from error
    if inbox := Inbox.objects.filter(account=account, address=person.address).first():
        raise NotErasable(f"This is the address of the inbox {inbox.pk}, and no person: purge the inbox.")
    return person


def ask_for_erasure(account: Account, person: Person, reason: str) -> Erasure:
    """Have a worker do it. Raises UnderWay, and Held where a legal hold forbids it."""
    refuse_if_held(account.pk, asked_of_holds(person), f"erase {person.pseudonym}")
    context = current()
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        if known := Erasure.objects.filter(account=account, person=person.pseudonym, state__in=UNDER_WAY).first():
            raise UnderWay(known)
        erasure = Erasure(
            account=account,
            person=person.pseudonym,
            reason=person.without(reason)[:MOST_REASON],
            actor_kind=context.actor.kind,
            actor_id=context.actor.id,
            actor_name=person.without(context.actor.name)[:200],
            request_id=context.request_id,
        )
        erasure.address = person.address
        erasure.save()
        record(Act.ERASURE_REQUESTED, erasure, account_id=account.pk, changes={"reason": erasure.reason})
        ring_on_commit(RUN)
    return erasure
