"""A legal hold keeps whatever an erasure would take from its inbox"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEntry
from delivery.models import Erasure, InboundMail, OutboundMail, RawObject
from delivery.outbound.send import send_due_mail
from delivery.raw_mover import move_batch
from inboxes.holds import place, release
from inboxes.models import Inbox, Provider
from tests.cast import Caller
from tests.console import failed_event
from tests.delivery.erasing.traces import ask, erase, places, texts_of_the_database, texts_of_the_store, work
from tests.mailing import deliver, mail
from tests.mailing import store as take
from tests.stores import Store
from threads.models import Message

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/v1/erasures"
CAROL = "carol@shop.example"
MARKERS = (CAROL, "subjectmarker", "bodymarker")
CASE = {"matter": "Smith v. Acme", "reason": "court"}


@pytest.fixture
def owner(alice: Caller, store: Store) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(owner: Caller) -> Inbox:
    return owner.create_inbox()


def from_carol(**headers: Any) -> bytes:
    return mail(**{"From": CAROL, "Subject": "subjectmarker", "body": "bodymarker\n", **headers})


def fail(*inboxes: Inbox) -> None:
    """A mail of hers that cannot be read."""
    take(from_carol(), *inboxes, envelope_sender=CAROL)
    unread = InboundMail.objects.filter(state="stored")
    unread.update(state="failed", attempts=4, error="ValueError: it cannot be read")


def left(store: Store) -> int:
    """In how many places something of her stands."""
    texts = [*texts_of_the_database(), *texts_of_the_store(store)]
    return sum(any(marker in text.lower() for marker in MARKERS) for _, text in texts)


# --- What an inbox has of her, and nothing else -------------------------------------------------------------------------


def _failed_mail(owner: Caller, inbox: Inbox) -> None:
    fail(inbox)


def _repeated_mail(owner: Caller, inbox: Inbox) -> None:
    """Its message is gone by retention, what came again is still there."""
    take(from_carol(), inbox)
    InboundMail.objects.update(state="processed", processed_at=timezone.now())


def _raw_mail_of_two(owner: Caller, inbox: Inbox) -> None:
    """Another inbox has its message."""
    other = owner.create_inbox()
    deliver(from_carol(), other)
    recipients = InboundMail.objects.get().recipients
    InboundMail.objects.update(recipients=[*recipients, {"address": inbox.address, "tag": "", "inbox_id": inbox.pk}])


def _raw_mail_of_two_in_the_store(owner: Caller, inbox: Inbox) -> None:
    _raw_mail_of_two(owner, inbox)
    move_batch(older_than=timedelta())
    assert RawObject.objects.get().other_inboxes
    InboundMail.objects.all().delete()


def _provider(owner: Caller) -> Provider:
    return Provider.objects.create(account=owner.account, name="Mine", esp="brevo")


def _news_of_mail_to_it(owner: Caller, inbox: Inbox) -> None:
    told = {"kind": "inbound", "recipient": f"Support <{inbox.address.replace('@', '+tag@')}>"}
    failed_event(_provider(owner), **told, payload={"item": f"{CAROL}: bodymarker"})


def _news_of_mail_from_it(owner: Caller, inbox: Inbox) -> None:
    owner.send(inbox, to="dave@other.example")
    send_due_mail()
    failed_event(_provider(owner), mail=OutboundMail.objects.get(), reason=f"forwarded to <{CAROL}>: bodymarker")


def _metadata(owner: Caller, inbox: Inbox) -> None:
    Inbox.objects.filter(pk=inbox.pk).update(metadata={"customer": CAROL})


def _label(owner: Caller, inbox: Inbox) -> None:
    deliver(mail(), inbox)
    Message.objects.update(labels=[CAROL])


KINDS = [
    _failed_mail,
    _repeated_mail,
    _raw_mail_of_two,
    _raw_mail_of_two_in_the_store,
    _news_of_mail_to_it,
    _news_of_mail_from_it,
    _metadata,
    _label,
]


class TestAsking:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_held_inbox_keeps_all_that_it_has(
        self, owner: Caller, inbox: Inbox, store: Store, kind: Callable[[Caller, Inbox], None]
    ) -> None:
        kind(owner, inbox)
        before = left(store)
        assert before
        hold = place(owner.account, inbox=inbox, **CASE)
        assert [one["id"] for one in ask(owner, CAROL, dry_run=True)["holds"]] == [hold.pk]
        answer = owner.post(PATH, {"address": CAROL, "reason": "because"})
        assert (answer.status_code, CASE["matter"] in answer.content.decode()) == (409, True)
        work()
        assert (left(store), Erasure.objects.count()) == (before, 0)
        release(hold, reason="settled")
        erase(owner, CAROL)
        assert places(store, MARKERS) == set()

    @pytest.mark.parametrize("kind", KINDS)
    def test_one_of_another_inbox_forbids_nothing(
        self, owner: Caller, inbox: Inbox, store: Store, kind: Callable[[Caller, Inbox], None]
    ) -> None:
        kind(owner, inbox)
        place(owner.account, inbox=owner.create_inbox(), **CASE)
        assert ask(owner, CAROL, dry_run=True)["holds"] == []
        erase(owner, CAROL)
        assert places(store, MARKERS) == set()

    def test_mail_of_a_stranger_is_his_and_his_inbox_is_not_named(
        self, owner: Caller, charlie: Caller, inbox: Inbox
    ) -> None:
        theirs = charlie.create_inbox()
        fail(inbox, theirs)
        hold = place(charlie.account, inbox=theirs, **CASE)
        assert ask(owner, CAROL, dry_run=True)["holds"] == []
        release(hold, reason="settled")
        place(owner.account, inbox=None, **CASE)
        assert owner.post(PATH, {"address": CAROL, "reason": "because"}).status_code == 409
        named = set(AuditEntry.objects.filter(act="hold.enforced").values_list("inbox_id", flat=True))
        assert named == {inbox.pk, ""}
