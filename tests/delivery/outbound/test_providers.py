"""Sending through the ESPs: what each is handed, and what becomes of a mail by what it answers"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError
from django.utils import timezone

from audit.actors import acting_as_system
from delivery.esps import ESPS
from delivery.models import OutboundMail, SendAttempt
from delivery.outbound import send, sending
from delivery.outbound.claiming import claim_next
from delivery.outbound.outcomes import Outcome, Result
from delivery.outbound.send import send_due_mail
from delivery.outbound.states import State
from inboxes.models import Inbox, Provider
from tests.cast import Caller, run_workers
from tests.fake_esp.credentials import credentials_for
from tests.fake_esp.server import FakeEsp, fake_esp

pytestmark = pytest.mark.one_profile
HTTP_ESPS = sorted(ESPS.keys() - {"smtp"})


@pytest.fixture
def esp(settings: Any) -> Iterator[FakeEsp]:
    settings.FETCH_ALLOW = ["127.0.0.0/8"]
    with fake_esp() as esp:
        yield esp


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox(display_name="Agent")


def make_provider(live: Caller, esp: FakeEsp, key: str = "postmark", **others: Any) -> Provider:
    body = {"name": key, "esp": key, "credentials": credentials_for(key, esp.url), "is_default": True, **others}
    answer = live.post("/v1/providers", body)
    assert answer.status_code == 201, answer.content
    return Provider.objects.get(pk=answer.json()["data"]["id"])


def now_of(live: Caller, inbox: Inbox, sent: dict[str, Any]) -> dict[str, Any]:
    return dict(live.get(f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}").json()["data"])


def state() -> str:
    return str(OutboundMail.objects.get().state)


def make_due() -> None:
    OutboundMail.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("key", HTTP_ESPS)
class TestEachEsp:
    def test_it_takes_a_mail(self, live: Caller, inbox: Inbox, esp: FakeEsp, key: str) -> None:
        make_provider(live, esp, key)
        sent = live.send(inbox, to="ann@example.com", subject="Hello", body_text="Text", body_html="<p>HTML</p>")
        run_workers()
        assert now_of(live, inbox, sent)["status"] == "sent", OutboundMail.objects.get().error
        (entry,) = esp.taken
        assert (entry["esp"], entry["to"][-1:]) == (key, ["ann@example.com"])
        assert OutboundMail.objects.get().provider_message_id

    def test_it_can_be_told_which_mail_its_news_are_of(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, key: str
    ) -> None:
        """By our own id, or by the Message-ID where it has no place for one; or by the ESP's id when all went well."""
        make_provider(live, esp, key)
        sent = live.send(inbox, to="ann@example.com")
        run_workers()
        (entry,) = esp.taken
        mail = OutboundMail.objects.get()
        assert entry["mailbot_id"] == mail.pk or key in ("mailersend", "postal")
        assert entry["message_id"] == sent["message_id_header"] or key in ("mandrill",)

    def test_it_refuses_for_now(self, live: Caller, inbox: Inbox, esp: FakeEsp, key: str) -> None:
        make_provider(live, esp, key)
        live.send(inbox, to="ann@example.com", subject="[429=90]")
        run_workers()
        mail = OutboundMail.objects.get()
        assert (mail.state, mail.attempts, esp.taken) == (State.QUEUED, 1, [])
        assert mail.next_attempt_at - timezone.now() > timedelta(seconds=80)
        waits_until = Provider.objects.get().waits_until
        assert waits_until is not None
        assert waits_until - timezone.now() > timedelta(seconds=80)

    def test_it_goes_nowhere_else(self, live: Caller, inbox: Inbox, esp: FakeEsp, key: str) -> None:
        """Whoever chooses the address of an API must not lead the server into its own network."""
        make_provider(live, esp, key)
        live.send(inbox, to="ann@example.com", subject="[307]")
        run_workers()
        assert [entry["path"].startswith("/elsewhere") for entry in esp.ledger] == [False]
        assert (state() in (State.QUEUED, State.FAILED), esp.taken) == (True, [])

    def test_it_refuses_for_good(self, live: Caller, inbox: Inbox, esp: FakeEsp, key: str) -> None:
        make_provider(live, esp, key)
        sent = live.send(inbox, to="ann@example.com", subject="[400]")
        run_workers()
        assert (state(), now_of(live, inbox, sent)["status"]) == (State.FAILED, "failed")

    @pytest.mark.parametrize("step", ["500", "cut", "lost", "garbage"])
    def test_nobody_knows_whether_it_took_it(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, key: str, step: str
    ) -> None:
        if step == "garbage" and key in ("mailersend", "sendgrid"):
            pytest.skip("the answer is in a header")
        make_provider(live, esp, key)
        live.send(inbox, to="ann@example.com", subject=f"[{step}]")
        with acting_as_system("worker"):
            send_due_mail()
        assert state() in (State.UNKNOWN, State.QUEUED)
        assert state() == State.UNKNOWN or ESPS[key].retries_safely or ESPS[key].refusing_statuses
        assert len(esp.ledger) == 1  # no library tried again by itself

    def test_nobody_is_there(self, live: Caller, inbox: Inbox, esp: FakeEsp, key: str) -> None:
        row = make_provider(live, esp, key)
        with acting_as_system("worker"):
            row.credentials = credentials_for(key, "http://127.0.0.1:9")
            row.save()
        live.send(inbox, to="ann@example.com")
        run_workers()
        assert state() == State.QUEUED
        assert "cannot be reached" in OutboundMail.objects.get().error


class TestManyAtOnce:
    @pytest.fixture(autouse=True)
    def in_threads(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        settings.SEND_THREADS = 16
        sending._pool.cache_clear()
        yield
        sending._pool(16).shutdown()
        sending._pool.cache_clear()

    def test_one_worker_has_many_on_their_way(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        esp.latency = 0.5
        make_provider(live, esp, concurrency=16)
        for number in range(32):
            live.send(inbox, to=f"n{number}@example.com")
        run_workers()
        assert len(esp.taken) == 32
        assert esp.most_at_once > 4

    def test_a_provider_never_has_more_than_it_may(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        esp.latency = 0.5
        make_provider(live, esp, concurrency=3)
        for number in range(12):
            live.send(inbox, to=f"n{number}@example.com")
        run_workers()
        assert (len(esp.taken), esp.most_at_once) == (12, 3)

    def test_a_slow_provider_holds_up_nobody_else(
        self, live: Caller, inbox: Inbox, charlie: Caller, esp: FakeEsp
    ) -> None:
        """Charlie's mail leaves while Alice's provider hangs with all of hers."""
        theirs = charlie.with_key(mode="live")
        with fake_esp(latency=3.0) as slow:
            make_provider(live, slow, concurrency=2)
            make_provider(theirs, esp)
            for number in range(6):
                live.send(inbox, to=f"n{number}@example.com")
            theirs.send(theirs.create_inbox(), to="quick@example.com")
            run_workers()
            first_answer = min(entry["at"] for entry in slow.ledger)
            assert esp.taken[0]["at"] < first_answer

    def test_inboxes_take_turns(self, live: Caller, inbox: Inbox, esp: FakeEsp, settings: Any) -> None:
        """Whoever has queued many does not go before who has queued one."""
        settings.SEND_THREADS = 4
        make_provider(live, esp, concurrency=1)
        for number in range(20):
            live.send(inbox, to=f"n{number}@example.com")
        other = live.create_inbox()
        live.send(other, to="other@example.com")
        run_workers()
        order = [entry["to"][-1] for entry in esp.taken]
        assert order.index("other@example.com") < 6


class TestPausedProviders:
    def test_the_inboxes_of_one_hold_up_no_others(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, charlie: Caller
    ) -> None:
        """However many they are: what a worker looks at at once may be all theirs."""
        theirs = charlie.with_key(mode="live")
        Provider.objects.filter(pk=make_provider(theirs, esp).pk).update(is_paused=True)
        for _ in range(5):
            theirs.send(theirs.create_inbox(), to="ben@example.com")
        make_provider(live, esp)
        mine = live.create_inbox()  # behind theirs on the ring
        live.send(mine, to="ann@example.com")
        with acting_as_system("worker"):
            send_due_mail()
        assert OutboundMail.objects.get(inbox=mine).state == State.SENT
        assert OutboundMail.objects.filter(state=State.QUEUED).count() == 5


class TestRetryAfter:
    def test_for_429_the_whole_provider_is_left_alone(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        make_provider(live, esp)
        live.send(inbox, to="ann@example.com", subject="[429=300]")
        run_workers()
        live.send(inbox, to="bob@example.com")
        run_workers()
        assert [entry["step"] for entry in esp.ledger] == ["429"]
        Provider.objects.update(waits_until=timezone.now() - timedelta(seconds=1))
        make_due()
        run_workers()
        assert len(esp.taken) == 2

    def test_the_last_try_fails(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        make_provider(live, esp)
        sent = live.send(inbox, to="ann@example.com", subject="[" + "429," * 12 + "429]")
        for _ in range(12):
            run_workers()
            make_due()
        message = now_of(live, inbox, sent)
        assert (message["status"], SendAttempt.objects.count()) == ("failed", 10)


class TestFallback:
    def test_another_one_carries_what_the_first_surely_did_not_take(
        self, live: Caller, inbox: Inbox, esp: FakeEsp
    ) -> None:
        stand_in = make_provider(live, esp, "sendgrid", is_default=False)
        make_provider(live, esp, fallback_id=stand_in.pk)
        sent = live.send(inbox, to="ann@example.com", subject="[429]")
        run_workers()
        assert [(entry["esp"], entry["taken"]) for entry in esp.ledger] == [("postmark", False), ("sendgrid", True)]
        assert now_of(live, inbox, sent)["status"] == "sent"

    def test_never_what_the_first_may_have_taken(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        stand_in = make_provider(live, esp, "sendgrid", is_default=False)
        make_provider(live, esp, fallback_id=stand_in.pk)
        live.send(inbox, to="ann@example.com", subject="[cut]")
        run_workers()
        assert (state(), [entry["esp"] for entry in esp.ledger]) == (State.UNKNOWN, ["postmark"])


class TestSideBySide:
    def test_two_rows_of_one_esp_use_their_own_credentials(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        with fake_esp() as other:
            make_provider(live, esp)
            second = make_provider(live, other, is_default=False)
            chosen = live.create_inbox(provider_id=second.pk)
            live.send(inbox, to="ann@example.com")
            live.send(chosen, to="bob@example.com")
            run_workers()
            assert [entry["to"][-1] for entry in esp.taken] == ["ann@example.com"]
            assert [entry["to"][-1] for entry in other.taken] == ["bob@example.com"]


class TestAnswersOfOthers:
    def test_what_no_database_takes_costs_no_mail_its_outcome(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, charlie: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A tenant chooses the address of his API, and so what it answers."""
        make_provider(live, esp)
        sent = live.send(inbox, to="ann@example.com", subject="[400]")
        theirs = charlie.with_key(mode="live")
        make_provider(theirs, esp)
        other = theirs.send(theirs.create_inbox(), to="ben@example.com")
        monkeypatch.setattr(
            ESPS["postmark"], "outcome_of", lambda error: Outcome(Result.PERMANENT, "\x00\ud800 no such user")
        )
        with acting_as_system("worker"):
            send_due_mail()
        states = dict(OutboundMail.objects.values_list("message_id", "state"))
        assert states == {sent["id"]: State.FAILED, other["id"]: State.SENT}
        assert now_of(live, inbox, sent)["recipients"][0]["reason"].endswith("no such user")

    def test_an_outcome_that_cannot_be_written_costs_no_other_mail_its_own(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_provider(live, esp)
        for subject in ("bad", "good", "good"):
            live.send(inbox, to="ann@example.com", subject=subject)
        whole = send._settle

        def trip(mail: OutboundMail, *others: Any) -> Any:
            if mail.message.subject == "bad":
                raise DataError("nobody thought of it")
            return whole(mail, *others)

        monkeypatch.setattr(send, "_settle", trip)
        with acting_as_system("worker"):
            send_due_mail()
        assert sorted(OutboundMail.objects.values_list("state", flat=True)) == ["sending", "sent", "sent"]

    def test_what_is_on_the_wire_keeps_its_outcome_when_the_next_claim_fails(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        settings.SEND_THREADS = 4
        esp.latency = 0.3
        make_provider(live, esp)
        live.send(inbox, to="ann@example.com")
        whole, claims = claim_next, []

        def claim(*arguments: Any) -> Any:
            claims.append(arguments)
            if len(claims) > 1:
                raise OperationalError("deadlock detected")
            return whole(*arguments)

        monkeypatch.setattr(send, "claim_next", claim)
        with acting_as_system("worker"), pytest.raises(OperationalError):
            send_due_mail()
        assert state() == State.SENT
