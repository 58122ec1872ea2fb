"""Mail from those whom a list blocks: kept and labelled, and no part of any conversation."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.actors import acting_as_system
from audit.models import AuditEntry
from delivery.models import InboundMail
from inboxes.models import Inbox
from tests.cast import Caller, run_workers
from tests.console import act, console, page_of, person
from tests.mailing import deliver, mail, store
from tests.web import Web, running_web, waiting
from threads.conversation import accept_rejected
from threads.models import Message

EVE = "Eve <eve@evil.example>"
ROOT = "<root@example.com>"


def put_on_list(caller: Caller, effect: str, *patterns: str, inbox: Inbox | None = None) -> None:
    for pattern in patterns:
        body = {"pattern": pattern, "inbox_id": inbox.pk if inbox else None}
        assert caller.post(f"/v1/lists/receive/{effect}", body).status_code == 201


def receive(inbox: Inbox, sender: str = EVE, envelope: str = "customer@example.com", **headers: Any) -> Message:
    deliver(mail(From=sender, **headers), inbox, envelope_sender=envelope)
    return Message.objects.latest("sequence")


def thread(caller: Caller, inbox: Inbox, thread_id: str) -> dict[str, Any]:
    return dict(caller.get(f"/v1/inboxes/{inbox.pk}/threads/{thread_id}").json()["data"])


def shown_threads(caller: Caller, inbox: Inbox) -> list[dict[str, Any]]:
    return list(caller.get(f"/v1/inboxes/{inbox.pk}/threads").json()["data"])


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox()


class TestKept:
    def test_it_is_filed_as_rejected_with_all_that_it_has(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "block", "evil.example")
        raw = mail(From=EVE, Subject="Buy", attachments={"a.bin": b"12"})
        deliver(raw, inbox)
        (message,) = alice.messages(inbox, status="rejected")
        assert (message["labels"], message["subject"], len(message["attachments"])) == (["blocked"], "Buy", 1)
        path = f"/v1/inboxes/{inbox.pk}/messages/{message['id']}"
        assert alice.get(path).json()["data"]["status"] == "rejected"
        assert alice.get(f"{path}/raw").content == raw
        assert alice.messages(inbox, label="blocked") == [message]
        assert InboundMail.objects.get().state == "processed"

    def test_it_is_not_in_lists_unless_asked_for(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "block", "evil.example")
        receive(inbox)
        receive(inbox, "ann@good.example")
        assert [message["from_address"] for message in alice.messages(inbox)] == ["ann@good.example"]
        assert alice.messages(inbox, status="received") == alice.messages(inbox)

    def test_it_says_which_rule_decided(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "block", "evil.example")
        message = receive(inbox)
        told = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message.pk}/explain").json()["data"]
        (rule,) = alice.get("/v1/lists/receive/block").json()["data"]
        assert told["list"]["rule"] == {"id": rule["id"], "effect": "block", "pattern": "evil.example"}
        assert (told["list"]["reason"], told["list"]["level"]) == ("block_rule", "account")

    def test_it_is_told_by_an_event_and_in_the_trail(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "block", "evil.example")
        message = receive(inbox, Subject="Buy")
        (event,) = alice.get("/v1/events", message_id=message.pk).json()["data"]
        assert (event["type"], event["data"]["list"]["rule"]["pattern"]) == ("message.rejected", "evil.example")
        assert alice.events(inbox_id=inbox.pk) == ["inbox.created", "message.rejected"]
        assert AuditEntry.objects.get(act="message.rejected").object_pk == message.pk

    def test_it_says_too_why_mail_was_allowed(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "allow", "evil.example")
        message = receive(inbox)
        assert (message.status, message.explanation["list"]["reason"]) == ("received", "allow_rule")


class TestWhoIsTheSender:
    @pytest.mark.parametrize(
        ("effect", "pattern", "sender", "envelope", "status"),
        [
            ("block", "eve@evil.example", "Eve <EVE+x@Evil.Example>", "", "rejected"),
            ("block", "evil.example", "eve@mail.evil.example", "", "rejected"),
            ("block", "evil.example", "ann@good.example", "bounce@evil.example", "rejected"),
            ("block", "evil.example", "ann@notevil.example", "x@notevil.example", "received"),
            ("block", "evil.example", '"odd one"@evil.example', "", "rejected"),
            ("block", "bücher.example", "eve@xn--bcher-kva.example", "", "rejected"),
            ("allow", "good.example", "ann@good.example", "bounce@mailer.example", "received"),
            ("allow", "good.example", "eve@evil.example", "ann@good.example", "rejected"),
            ("allow", "good.example", "Mailer <mailer-daemon@mx.example>", "", "rejected"),
            ("block", "*", "ann@good.example", "", "rejected"),
        ],
    )
    def test_it_is_the_one_in_from_and_for_a_block_the_envelope_sender_too(
        self, alice: Caller, inbox: Inbox, effect: str, pattern: str, sender: str, envelope: str, status: str
    ) -> None:
        put_on_list(alice, effect, pattern)
        assert receive(inbox, sender, envelope).status == status

    def test_mail_from_nobody_is_on_no_allow_list(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "allow", "good.example")
        deliver(b"Subject: Hello\r\n\r\nHi\r\n", inbox, envelope_sender="")
        assert Message.objects.get().status == "rejected"


class TestWhoseLists:
    def test_each_inbox_is_under_its_own(self, alice: Caller, inbox: Inbox) -> None:
        other = alice.create_inbox()
        put_on_list(alice, "block", "evil.example")
        put_on_list(alice, "allow", "eve@evil.example", inbox=inbox)
        deliver(mail(From=EVE), inbox, other)
        assert dict(Message.objects.values_list("inbox_id", "status")) == {inbox.pk: "received", other.pk: "rejected"}

    def test_those_of_strangers_and_of_the_other_mode_mean_nothing(
        self, alice: Caller, charlie: Caller, inbox: Inbox
    ) -> None:
        put_on_list(charlie, "block", "*")
        put_on_list(alice.with_key(mode="live"), "block", "*")
        assert alice.post("/v1/lists/send/block", {"pattern": "*"}).status_code == 201
        assert receive(inbox).status == "received"

    def test_a_live_inbox_is_under_the_lists_for_live(self, alice: Caller) -> None:
        live = alice.with_key(mode="live")
        put_on_list(live, "block", "evil.example")
        assert receive(live.create_inbox()).status == "rejected"


class TestConversations:
    def test_it_moves_no_thread_that_it_answers(self, alice: Caller, inbox: Inbox) -> None:
        first = receive(inbox, Message_ID=ROOT)
        alice.patch(f"/v1/inboxes/{inbox.pk}/threads/{first.thread_id}", {"status": "closed"})
        before = thread(alice, inbox, first.thread_id)
        put_on_list(alice, "block", "evil.example")
        assert receive(inbox, In_Reply_To=ROOT).status == "rejected"
        assert thread(alice, inbox, first.thread_id) == before
        assert before["status"] == "closed"

    def test_it_makes_no_thread_that_can_be_seen(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "block", "evil.example")
        receive(inbox)
        assert shown_threads(alice, inbox) == []
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["thread_count"] == 0
        assert "thread.created" not in alice.events(inbox_id=inbox.pk)

    @pytest.mark.parametrize("in_one_batch", [True, False])
    def test_nobody_gets_into_a_conversation_by_answering_it(
        self, alice: Caller, inbox: Inbox, in_one_batch: bool
    ) -> None:
        put_on_list(alice, "block", "evil.example")
        store(mail(From=EVE, Message_ID="<evil@evil.example>"), inbox)
        if not in_one_batch:
            run_workers()
        store(mail(In_Reply_To="<evil@evil.example>"), inbox)
        run_workers()
        (seen,) = alice.messages(inbox)
        assert seen["trust"]["flags"] == []
        assert [one["id"] for one in shown_threads(alice, inbox)] == [seen["thread_id"]]
        assert Message.objects.get(status="rejected").thread_id != seen["thread_id"]

    def test_a_copy_counts_on_it_but_is_news_once_the_rule_is_gone(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "block", "evil.example")
        raw = mail(From=EVE)
        deliver(raw, inbox)
        deliver(raw, inbox)
        assert Message.objects.get().repeat_count == 1
        alice.delete("/v1/lists/receive/block?pattern=evil.example")
        store(raw, inbox)
        store(raw, inbox)
        run_workers()
        (seen,) = alice.messages(inbox)
        assert (seen["status"], seen["repeat_count"]) == ("received", 1)


class TestCost:
    """Statements of a whole batch, beside those of a batch without any list."""

    def queries(self, inboxes: list[Inbox], senders: Callable[[int], str]) -> int:
        for number in range(20):
            store(mail(From=senders(number)), inboxes[number % len(inboxes)])
        with CaptureQueriesContext(connection) as context:
            run_workers()
        return len(context.captured_queries)

    def test_it_asks_nothing_more_where_there_is_no_list_and_once_a_batch_where_there_is_one(
        self, alice: Caller
    ) -> None:
        inboxes = [alice.create_inbox() for _ in range(5)]

        def senders(number: int) -> str:
            return f"user{number}@{number}.example"

        self.queries(inboxes, senders)  # the first batch makes the lanes
        without = self.queries(inboxes, senders)
        put_on_list(alice, "block", *(f"evil{number}.example" for number in range(30)))
        for inbox in inboxes:
            put_on_list(alice, "block", "1.example", "user2@2.example", inbox=inbox)
        assert self.queries(inboxes, senders) == without + 1
        assert Message.objects.filter(status="rejected").count() == 2


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    with running_web() as web:
        yield web


class TestWaits:
    def test_it_answers_none(self, web: Web, alice: Caller) -> None:
        inbox = alice.create_inbox()
        put_on_list(alice, "block", "evil.example")
        receive(inbox, Subject="before")
        with waiting(web, alice, inbox.pk) as wait:
            receive(inbox, Subject="meanwhile")
            receive(inbox, "ann@good.example", Subject="good")
        assert wait.answer.json()["data"]["subject"] == "good"

    def test_it_answers_one_when_it_is_accepted(self, web: Web, alice: Caller) -> None:
        """Also that of somebody who has read what came after it."""
        inbox = alice.create_inbox()
        put_on_list(alice, "block", "evil.example")
        message = receive(inbox, Subject="wanted after all")
        last = receive(inbox, "ann@good.example")
        with waiting(web, alice, inbox.pk, after=last.pk) as wait, acting_as_system("operator"):
            assert accept_rejected(message, "a customer")
        assert wait.answer.json()["data"]["id"] == message.pk


class TestAccepting:
    """By an operator, on the message's page in the console."""

    @pytest.fixture
    def operator(self, alice: Caller) -> Any:
        return console(person("olga", alice.account))

    def test_it_enters_its_conversation_as_if_it_came_now(self, alice: Caller, inbox: Inbox, operator: Any) -> None:
        first = receive(inbox, Message_ID=ROOT, Cc="ben@good.example")
        put_on_list(alice, "block", "evil.example")
        rejected = receive(inbox, In_Reply_To=ROOT, Cc="new@good.example")
        last = receive(inbox, "ann@good.example")
        assert act(operator, "accept", rejected, reason="a customer").url == page_of(rejected)
        seen = alice.messages(inbox)
        assert [message["id"] for message in seen] == [rejected.pk, last.pk, first.pk]
        assert (seen[0]["status"], seen[0]["labels"]) == ("received", [])
        assert [message["id"] for message in alice.messages(inbox, after=last.pk)] == [rejected.pk]
        conversation = thread(alice, inbox, first.thread_id)
        assert [message["id"] for message in conversation["messages"]] == [first.pk, rejected.pk]
        assert conversation["message_count"] == 2
        assert conversation["last_message_at"] == seen[0]["created_at"]
        assert "new@good.example" in conversation["participants"]

    def test_a_conversation_of_its_own_can_be_seen_from_then_on(
        self, alice: Caller, inbox: Inbox, operator: Any
    ) -> None:
        put_on_list(alice, "block", "evil.example")
        rejected = receive(inbox, Message_ID=ROOT)
        act(operator, "accept", rejected, reason="a customer")
        assert [one["id"] for one in shown_threads(alice, inbox)] == [rejected.thread_id]
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["thread_count"] == 1
        assert alice.events(inbox_id=inbox.pk)[1:] == ["message.rejected", "thread.created", "message.received"]
        alice.delete("/v1/lists/receive/block?pattern=evil.example")
        assert receive(inbox, In_Reply_To=ROOT).thread_id == rejected.thread_id

    def test_it_is_told_who_did_it_and_why(self, alice: Caller, inbox: Inbox, operator: Any) -> None:
        put_on_list(alice, "block", "evil.example")
        rejected = receive(inbox)
        assert "Accept…" in operator.get(page_of(rejected)).content.decode()
        act(operator, "accept", rejected, reason="a customer")
        act(operator, "accept", rejected, reason="once more")
        entry = AuditEntry.objects.get(act="message.accepted")
        assert (entry.actor_name, entry.changes["reason"]) == ("olga", "a customer")
        page = operator.get(page_of(rejected)).content.decode()
        assert "a customer" in page
        assert "which the account’s list blocks" in page
        assert "Accept…" not in page

    def test_it_is_not_for_reviewers_and_strangers(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "block", "evil.example")
        rejected = receive(inbox)
        for user in (person("rita", alice.account, "reviewer"), person("charlie", charlie.account)):
            act(console(user), "accept", rejected, reason="mine")
            assert Message.objects.get(pk=rejected.pk).status == "rejected"
