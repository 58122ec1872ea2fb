"""Lists of whom an inbox may write to: POST …/messages, …/reply and …/forward, and what is queued already."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from delivery.models import OutboundMail
from inboxes.models import Inbox
from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail
from threads.models import Message


def put_on_list(caller: Caller, which: str, *patterns: str, inbox: Inbox | None = None) -> None:
    """`which` is a direction and an effect: `send/block`."""
    for pattern in patterns:
        body = {"pattern": pattern, "inbox_id": inbox.pk if inbox else None}
        assert caller.post(f"/v1/lists/{which}", body).status_code == 201


def received(inbox: Inbox, **headers: Any) -> Message:
    deliver(mail(**headers), inbox)
    return Message.objects.latest("sequence")


def call(caller: Caller, inbox: Inbox, path: str = "", **body: Any) -> Any:
    return caller.post(f"/v1/inboxes/{inbox.pk}/messages{path}", {"body_text": "Hello", **body})


def reply(caller: Caller, message: Message, **body: Any) -> Any:
    return call(caller, message.inbox, f"/{message.pk}/reply", **body)


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox()


class TestSend:
    def test_it_sends_nothing_and_names_who_is_blocked_and_by_what(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "send/block", "evil.example")
        answer = call(alice, inbox, to=["ann@good.example", "Eve <EVE+x@evil.example>"])
        assert answer.status_code == 422
        error = answer.json()["error"]
        (rule,) = alice.get("/v1/lists/send/block").json()["data"]
        assert (error["code"], error["reason"]) == ("blocked", "send_list")
        assert error["recipients"] == [{
            "list": "send", "blocked": True, "reason": "block_rule", "address": "EVE+x@evil.example", "level": "account",
            "rule": {"id": rule["id"], "effect": "block", "pattern": "evil.example"},
            "explanation": "eve@evil.example matches “evil.example”, which the account’s list blocks.",
        }]  # fmt: skip
        assert not Message.objects.exists()
        assert not OutboundMail.objects.exists()
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["sends_today"] == 0

    @pytest.mark.parametrize("field", ["to", "cc", "bcc"])
    def test_it_looks_at_every_kind_of_recipient(self, alice: Caller, inbox: Inbox, field: str) -> None:
        put_on_list(alice, "send/allow", "good.example")
        assert call(alice, inbox, **{"to": "ann@good.example", field: "eve@evil.example"}).status_code == 422
        assert call(alice, inbox, **{"to": "ann@good.example", field: "ben@good.example"}).status_code == 202

    def test_the_inbox_beats_the_account(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "send/block", "evil.example")
        put_on_list(alice, "send/allow", "eve@evil.example", inbox=inbox)
        assert call(alice, inbox, to="eve@evil.example").status_code == 202
        assert call(alice, inbox, to="ann@good.example").status_code == 422
        assert call(alice, alice.create_inbox(), to="eve@evil.example").status_code == 422

    def test_lists_of_others_and_for_other_directions_mean_nothing(
        self, alice: Caller, charlie: Caller, inbox: Inbox
    ) -> None:
        put_on_list(charlie, "send/block", "*")
        put_on_list(alice.with_key(mode="live"), "send/block", "*")
        put_on_list(alice, "receive/block", "*")
        put_on_list(alice, "reply/block", "*")
        assert call(alice, inbox, to="ann@good.example").status_code == 202


class TestReply:
    def test_the_list_for_replies_blocks(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "reply/block", "customer@example.com")
        answer = reply(alice, received(inbox))
        assert (answer.status_code, answer.json()["error"]["reason"]) == (422, "reply_list")
        assert call(alice, inbox, to="customer@example.com").status_code == 202

    def test_that_for_sending_decides_where_it_says_nothing(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "send/block", "customer@example.com")
        put_on_list(alice, "reply/block", "somebody@example.com")
        answer = reply(alice, received(inbox))
        assert (answer.status_code, answer.json()["error"]["reason"]) == (422, "send_list")

    def test_whoever_may_answer_anybody_still_writes_to_no_stranger(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "send/allow", "acme.example")
        put_on_list(alice, "reply/allow", "*")
        message = received(inbox, Cc="ben@other.example")
        assert call(alice, inbox, to="customer@example.com").status_code == 422
        assert reply(alice, message, reply_all=True).status_code == 202
        assert reply(alice, message, cc="boss@acme.example").status_code == 202
        for field in ("cc", "bcc"):
            answer = reply(alice, message, **{field: "stranger@elsewhere.example"})
            assert (answer.status_code, answer.json()["error"]["reason"]) == (422, "send_list")

    def test_a_forward_to_others_is_a_send(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "send/block", "evil.example")
        put_on_list(alice, "reply/allow", "*")
        message = received(inbox)
        assert call(alice, inbox, f"/{message.pk}/forward", to="eve@evil.example").status_code == 422
        assert call(alice, inbox, f"/{message.pk}/forward", to="ann@good.example").status_code == 202


class TestHandingOver:
    """What was queued before the list was changed."""

    def test_a_mail_to_somebody_who_is_blocked_by_now_is_not_sent(self, alice: Caller, inbox: Inbox) -> None:
        message = alice.send(inbox, to=["ann@good.example", "eve@evil.example"])
        put_on_list(alice, "send/block", "evil.example")
        run_workers()
        mail_of = OutboundMail.objects.get()
        assert (mail_of.state, mail_of.error) == ("blocked", "send_list: eve@evil.example")
        assert alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}").json()["data"]["status"] == "blocked"
        assert "message.blocked" in alice.events(message_id=message["id"])

    def test_a_scheduled_one_neither(self, alice: Caller, inbox: Inbox) -> None:
        alice.send(inbox, to="eve@evil.example", send_at=(timezone.now() + timedelta(hours=1)).isoformat())
        put_on_list(alice, "send/allow", "good.example")
        OutboundMail.objects.update(next_attempt_at=timezone.now())
        run_workers()
        assert OutboundMail.objects.get().state == "blocked"

    def test_an_answer_is_judged_as_when_it_was_queued(self, alice: Caller, inbox: Inbox) -> None:
        put_on_list(alice, "send/allow", "acme.example")
        put_on_list(alice, "reply/allow", "*")
        assert reply(alice, received(inbox)).status_code == 202
        run_workers()
        assert OutboundMail.objects.get().state == "sent"
