"""What ends loops: answers to machines are forced or refused, and nothing lifts the number of mails an hour. docs/loop-guard.md."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connections
from django.utils import timezone

from delivery.models import LoopCount
from delivery.outbound.loop_guard import forget_old
from delivery.outbound.queue import Blocked, Draft, queue_mail
from inboxes.models import Inbox
from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail
from threads.mime import Address
from threads.models import Message, Thread

MORNING = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
WRITERS = 8


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(MORNING, tick=False) as clock:
        yield clock


def answer(caller: Caller, inbox: Inbox, message_id: str, what: str = "reply", **body: Any) -> Any:
    return caller.post(f"/v1/inboxes/{inbox.pk}/messages/{message_id}/{what}", {"body_text": "Thank you", **body})


def received(caller: Caller, inbox: Inbox) -> str:
    """The id of the newest that came in."""
    return str(caller.messages(inbox, direction="inbound")[0]["id"])


class TestAnswers:
    @pytest.fixture
    def inbox(self, alice: Caller) -> Inbox:
        inbox = alice.create_inbox()
        deliver(mail(Auto_Submitted="auto-replied", Reply_To="robot@example.com"), inbox)
        return inbox

    def test_a_machine_is_not_answered(self, alice: Caller, inbox: Inbox) -> None:
        refused = answer(alice, inbox, received(alice, inbox))
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["reason"]) == (422, "blocked", "loop_guard")
        assert '"force": true' in error["fix"]
        assert [sign["sign"] for sign in error["signs"]] == ["auto_submitted"]
        assert alice.messages(inbox, direction="outbound") == []

    def test_it_is_where_the_caller_forces_it(self, alice: Caller, inbox: Inbox) -> None:
        assert answer(alice, inbox, received(alice, inbox), force=True).status_code == 202

    @pytest.mark.parametrize("to", ["robot@example.com", "customer@example.com"])
    def test_a_forward_does_not_go_back_to_it(self, alice: Caller, inbox: Inbox, to: str) -> None:
        message_id = received(alice, inbox)
        assert answer(alice, inbox, message_id, "forward", to=["a@example.com", to]).status_code == 422
        assert answer(alice, inbox, message_id, "forward", to=to, force=True).status_code == 202

    def test_a_forward_to_somebody_else_is_no_answer(self, alice: Caller, inbox: Inbox) -> None:
        assert answer(alice, inbox, received(alice, inbox), "forward", to="a@example.com").status_code == 202

    def test_a_loop_is_not_answered(self, alice: Caller) -> None:
        inbox = alice.create_inbox(username="billing")
        deliver(b"X-Loop: billing@mailbot.localhost\r\n" + mail(), inbox)
        assert answer(alice, inbox, received(alice, inbox)).status_code == 422

    def test_a_new_mail_to_the_same_address_is_none_of_its_business(self, alice: Caller, inbox: Inbox) -> None:
        assert alice.send(inbox, to="robot@example.com")["status"] == "queued"

    def test_a_new_mail_knows_nothing_to_force(self, alice: Caller, inbox: Inbox) -> None:
        refused = alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "a@example.com", "force": True})
        assert (refused.status_code, list(refused.json()["error"]["fields"])) == (400, ["force"])


class TestHeader:
    def test_an_answer_says_that_no_human_wrote_it(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        sent = answer(alice, inbox, received(alice, inbox), headers={"X-Mine": "kept"}).json()["data"]
        raw = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}/raw").content
        assert b"\r\nAuto-Submitted: auto-replied\r\n" in raw
        assert b"\r\nX-Mine: kept\r\n" in raw

    @pytest.mark.parametrize("name", ["Auto-Submitted", "auto-submitted"])
    def test_an_agent_cannot_say_otherwise(self, alice: Caller, name: str) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        refused = answer(alice, inbox, received(alice, inbox), headers={name: "no"})
        assert (refused.status_code, list(refused.json()["error"]["fields"])) == (400, ["headers"])

    def test_a_new_mail_says_nothing_or_what_its_agent_says(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for headers, expected in (({}, []), ({"Auto-Submitted": "auto-generated"}, ["auto-generated"])):
            sent = alice.send(inbox, headers=headers)
            assert [h["value"] for h in sent["headers"] if h["name"] == "Auto-Submitted"] == expected


class TestCounts:
    def fill(self, caller: Caller, inbox: Inbox, message_id: str, number: int) -> None:
        for _ in range(number):
            assert answer(caller, inbox, message_id).status_code == 202

    def test_a_thread_has_a_number_of_mails_an_hour(self, clock: Any, alice: Caller, settings: Any) -> None:
        settings.LOOP_THREAD_LIMIT = 2
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        first = received(alice, inbox)
        self.fill(alice, inbox, first, 1)
        clock.shift(timedelta(minutes=10))
        self.fill(alice, inbox, first, 1)
        refused = answer(alice, inbox, first, force=True)
        error = refused.json()["error"]
        assert (error["code"], error["reason"], error["thread_id"]) == (
            "blocked",
            "loop_guard",
            alice.messages(inbox)[0]["thread_id"],
        )
        assert (error["retry_at"], refused["Retry-After"]) == ("2026-03-10T10:00:00.000Z", "3000")
        assert "2 mails into this thread" in error["message"]
        assert alice.send(inbox)["status"] == "queued"  # a thread of its own

    def test_the_hour_rolls(self, clock: Any, alice: Caller, settings: Any) -> None:
        settings.LOOP_THREAD_LIMIT = 2
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        first = received(alice, inbox)
        self.fill(alice, inbox, first, 1)
        clock.shift(timedelta(minutes=30))
        self.fill(alice, inbox, first, 1)
        clock.shift(timedelta(minutes=30, seconds=-1))
        assert answer(alice, inbox, first).status_code == 422
        clock.shift(timedelta(seconds=1))
        self.fill(alice, inbox, first, 1)
        assert answer(alice, inbox, first).status_code == 422

    def test_an_address_has_one_too_in_whatever_thread(self, clock: Any, alice: Caller, settings: Any) -> None:
        settings.LOOP_PAIR_LIMIT = 2
        inbox, other = alice.create_inbox(), alice.create_inbox()
        alice.send(inbox, to="Ann@example.com")
        alice.send(inbox, to=["b@example.com"], cc=["ann+tag@example.com"])
        path = f"/v1/inboxes/{inbox.pk}/messages"
        error = alice.post(path, {"to": ["c@example.com", "ANN@example.com"]}).json()["error"]
        assert (error["reason"], error["recipients"]) == ("loop_guard", [{"address": "ANN@example.com"}])
        assert "2 mails to ANN@example.com" in error["message"]
        assert alice.send(inbox, to="c@example.com")["status"] == "queued"
        assert alice.send(other, to="ann@example.com")["status"] == "queued"

    def test_a_refused_mail_counts_for_nothing(self, clock: Any, alice: Caller, settings: Any) -> None:
        settings.LOOP_PAIR_LIMIT = 1
        inbox = alice.create_inbox()
        alice.send(inbox, to="a@example.com")
        path = f"/v1/inboxes/{inbox.pk}/messages"
        assert alice.post(path, {"to": ["a@example.com", "b@example.com"]}).status_code == 422
        assert alice.send(inbox, to="b@example.com")["status"] == "queued"
        assert [thread.message_count for thread in Thread.objects.all()] == [1, 1]

    def test_a_time_ahead_counts_for_nothing(self, clock: Any, alice: Caller, settings: Any) -> None:
        """It was written before a clock was set back, and must not hold up an inbox for days."""
        settings.LOOP_PAIR_LIMIT = 1
        inbox = alice.create_inbox()
        alice.send(inbox, to="a@example.com")
        clock.shift(timedelta(days=-2))
        assert alice.send(inbox, to="a@example.com")["status"] == "queued"

    def test_none_is_no_limit(self, alice: Caller, settings: Any) -> None:
        settings.LOOP_PAIR_LIMIT = settings.LOOP_THREAD_LIMIT = 0
        inbox = alice.create_inbox()
        for _ in range(3):
            alice.send(inbox, to="a@example.com")
        assert not LoopCount.objects.exists()

    def test_a_counter_holds_no_more_than_its_limit(self, clock: Any, alice: Caller, settings: Any) -> None:
        settings.LOOP_PAIR_LIMIT = 3
        inbox = alice.create_inbox()
        for _ in range(6):
            alice.send(inbox, to="a@example.com")
            clock.shift(timedelta(minutes=25))
        assert max(len(times) for times in LoopCount.objects.values_list("times", flat=True)) == 3

    def test_counters_go_when_their_hour_is_over(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox()
        alice.send(inbox, to="a@example.com")
        clock.shift(timedelta(minutes=30))
        alice.send(inbox, to="b@example.com")
        clock.shift(timedelta(minutes=31))
        assert forget_old(timezone.now()) == 2
        assert LoopCount.objects.count() == 2


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_they_are_exact_with_eight_writers(self, alice: Caller, settings: Any) -> None:
        settings.LOOP_PAIR_LIMIT = settings.LOOP_THREAD_LIMIT = 5
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        parent = Message.objects.get()

        def write(number: int) -> int:
            try:
                return sum(self.answered(inbox, parent if number % 2 else None) for _ in range(2))
            finally:
                connections.close_all()

        with ThreadPoolExecutor(WRITERS) as pool:
            assert sum(pool.map(write, range(WRITERS))) == 5
        assert Message.objects.filter(direction="outbound").count() == 5

    def answered(self, inbox: Inbox, parent: Message | None) -> bool:
        try:
            queue_mail(inbox, Draft(to=(Address("", "customer@example.com"),)), parent)
        except Blocked:
            return False
        return True


class Agent:
    """Answers whatever comes in, for ever if it may."""

    def __init__(self, caller: Caller, inbox: Inbox, *, force: bool) -> None:
        self.caller, self.inbox, self.force = caller, inbox, force
        self.read = 0

    def answer_all(self) -> int:
        """Each message that came in since the last time; how many answers were taken."""
        news = self.caller.messages(self.inbox, direction="inbound")[::-1][self.read :]
        self.read += len(news)
        answers = [answer(self.caller, self.inbox, message["id"], force=self.force) for message in news]
        return sum(response.status_code == 202 for response in answers)


def until_rest(*turns: Callable[[], int]) -> int:
    """How many mails there were until nobody has anything to say any more."""
    mails = 0
    while said := sum(turn() for turn in turns):
        mails += said
        run_workers()
        assert mails < 200, "this does not end"
    return mails


class TestRest:
    """Two agents that always answer. docs/loop-guard.md has these numbers."""

    @pytest.mark.parametrize(
        ("one_forces", "other_forces", "expected"),
        [(False, False, 2), (True, False, 3), (False, True, 2), (True, True, 40)],
        ids=["nobody forces", "the first forces", "the second forces", "both force"],
    )
    def test_two_inboxes_of_this_server_come_to_rest(
        self, alice: Caller, charlie: Caller, one_forces: bool, other_forces: bool, expected: int
    ) -> None:
        one, other = alice.create_inbox(), charlie.create_inbox()
        alice.send(one, to=other.address, subject="Hello")
        run_workers()
        first, second = Agent(alice, one, force=one_forces), Agent(charlie, other, force=other_forces)
        mails = 1 + until_rest(second.answer_all, first.answer_all)
        print(f"Two agents, force={one_forces} and force={other_forces}: at rest after {mails} mails.")
        assert mails == expected

    @pytest.mark.parametrize(("force", "expected"), [(False, 10), (True, 20)])
    def test_so_does_one_with_a_machine_that_gives_no_sign(self, alice: Caller, force: bool, expected: int) -> None:
        """It answers whatever we send, with no header that says so. What it names in References tells."""
        inbox = alice.create_inbox()
        agent, answered = Agent(alice, inbox, force=force), 0

        def machine() -> int:
            nonlocal answered
            sent = alice.messages(inbox, direction="outbound")[::-1]
            for message in sent[answered:]:
                names = [*message["references"], message["message_id_header"]]
                deliver(mail(Subject="Re", In_Reply_To=names[-1], References=" ".join(names)), inbox)
            answered = len(sent)
            return 0

        alice.send(inbox, to="customer@example.com")
        run_workers()
        mails = 1 + until_rest(lambda: machine() + agent.answer_all())
        print(f"An agent and a machine without signs, force={force}: at rest after {mails} mails of ours.")
        assert mails == expected
