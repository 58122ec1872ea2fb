"""A legal hold keeps whatever an erasure would take from its inbox: before it is asked for, and while it works"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEntry
from audit.sealing import seal_all
from delivery.erasing import mail as mail_step
from delivery.erasing import records, trail, working
from delivery.models import Erasure, InboundMail, OutboundMail, RawObject, Suppression
from delivery.outbound.send import send_due_mail
from delivery.raw_mover import move_batch
from inboxes.holds import place, release
from inboxes.models import Inbox, LegalHold, Provider
from tests.audit.bundles import EXPORTS, download
from tests.audit.bundles import ask as ask_for_export
from tests.audit.bundles import make as make_exports
from tests.cast import Caller
from tests.console import failed_event
from tests.delivery.erasing.traces import ask, erase, places, texts_of_the_database, texts_of_the_store, work
from tests.mailing import deliver, mail
from tests.mailing import store as take
from tests.stores import Store
from threads.models import Message

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


# --- While it works -----------------------------------------------------------------------------------------------------


def of_every_step(owner: Caller, inbox: Inbox) -> None:
    """Two batches of each step and more, of which a batch is one row."""
    for _ in range(2):
        deliver(from_carol(), inbox, envelope_sender=CAROL)
        fail(inbox)
    owner.patch(f"/v1/inboxes/{inbox.pk}", {"metadata": {"customer": CAROL}})
    deliver(mail(), inbox)
    Message.objects.filter(subject="A question").update(labels=[CAROL])


class Placing:
    """Somebody places a hold once the first batch of a step is committed."""

    def __init__(self, step: str, hold: Callable[[], LegalHold], count: Callable[[], int]) -> None:
        self.step, self.hold, self.count = step, hold, count
        self.placed: list[LegalHold] = []
        self.left = 0

    def reached(self, name: str, *_: Any) -> None:
        if name == "erasure.batch" and not self.placed and Erasure.objects.get().step == self.step:
            self.left = self.count()
            self.placed.append(self.hold())


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((mail_step, "BATCH"), (records, "BATCH"), (trail, "READ")):
        monkeypatch.setattr(module, name, 1)


@pytest.mark.usefixtures("small_batches")
class TestWorking:
    @pytest.mark.parametrize("of_account", [False, True])
    @pytest.mark.parametrize("step", ["mail", "inbound", "rows", "trail"])
    def test_it_stops_before_the_next_batch(
        self,
        owner: Caller,
        inbox: Inbox,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
        step: str,
        of_account: bool,
    ) -> None:
        of_every_step(owner, inbox)
        asked = ask(owner, CAROL)
        placing = Placing(
            step, lambda: place(owner.account, inbox=None if of_account else inbox, **CASE), lambda: left(store)
        )
        monkeypatch.setattr(working, "failpoint", placing.reached)
        work()
        (hold,) = placing.placed
        told = owner.get(f"{PATH}/{asked['id']}").json()["data"]
        assert (told["state"], CASE["matter"] in told["error"]) == ("refused", True)
        assert Erasure.objects.get().step == step
        assert left(store) == placing.left > 0
        assert {"hold.enforced", "erasure.refused"} <= set(AuditEntry.objects.values_list("act", flat=True))
        assert owner.post(PATH, {"address": CAROL, "reason": "again"}).status_code == 409
        release(hold, reason="settled")
        erase(owner, CAROL)
        assert places(store, MARKERS) == set()
        place(owner.account, inbox=inbox, **CASE)
        assert ask(owner, CAROL, dry_run=True)["holds"] == []

    @pytest.mark.parametrize("step", ["mail", "inbound", "rows", "trail"])
    def test_one_of_another_inbox_stops_nothing(
        self, owner: Caller, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        of_every_step(owner, inbox)
        other = owner.create_inbox()
        placing = Placing(step, lambda: place(owner.account, inbox=other, **CASE), lambda: 0)
        monkeypatch.setattr(working, "failpoint", placing.reached)
        erase(owner, CAROL)
        assert placing.placed
        assert places(store, MARKERS) == set()

    def test_one_of_the_account_stops_the_trail_of_the_server(
        self, owner: Caller, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(2):
            Provider.objects.create(name=f"Shared {number}", esp="brevo")
        asked = ask(owner, CAROL)
        placing = Placing("server_trail", lambda: place(owner.account, inbox=None, **CASE), lambda: 0)
        monkeypatch.setattr(working, "failpoint", placing.reached)
        work()
        assert placing.placed
        assert owner.get(f"{PATH}/{asked['id']}").json()["data"]["state"] == "refused"
        assert Erasure.objects.get().step == "server_trail"

    def test_bundles_that_hold_the_last_of_it_can_still_be_downloaded(
        self, owner: Caller, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deliver(from_carol(), inbox, envelope_sender=CAROL)
        export = ask_for_export(owner, inbox_id=inbox.pk)["id"]
        make_exports()
        ask(owner, CAROL)
        placed: list[LegalHold] = []

        def seal() -> None:
            if not placed and Erasure.objects.get().step == "server_trail":
                placed.append(place(owner.account, inbox=inbox, **CASE))
            seal_all()

        monkeypatch.setattr(working, "seal_all", seal)
        work()
        assert (Erasure.objects.get().state, Erasure.objects.get().step) == ("refused", "exports")
        assert download(owner, export)
        assert owner.post(PATH, {"address": CAROL, "reason": "again"}).status_code == 409
        release(placed[0], reason="settled")
        erase(owner, CAROL)
        assert owner.get(f"{EXPORTS}/{export}").json()["data"]["status"] == "expired"

    def test_one_that_is_placed_before_a_step_of_one_batch_stops_it(
        self, owner: Caller, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All of what it would touch is asked for at the beginning alone: then it is the batch that sees it."""
        owner.post("/v1/suppressions", {"address": CAROL, "inbox_id": inbox.pk})
        ask(owner, CAROL)

        def go_on(self: Any) -> None:
            to_the_next_step(self)
            if Erasure.objects.get().step == "suppressions":
                place(owner.account, inbox=inbox, **CASE)

        to_the_next_step = working._Work._go_on
        monkeypatch.setattr(working._Work, "_go_on", go_on)
        work()
        assert (Erasure.objects.get().state, Erasure.objects.get().step) == ("refused", "suppressions")
        assert Suppression.objects.get().address == CAROL
