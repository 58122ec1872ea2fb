"""POST /v1/simulate/…"""

from typing import Any

import pytest

from inboxes.models import Inbox
from inboxes.permissions import MESSAGES_READ
from tests.cast import Caller, run_workers


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="support")


@pytest.fixture
def sent(alice: Caller, inbox: Inbox) -> dict[str, Any]:
    message = alice.send(inbox, to=["ann@example.com", "ben@example.com"], subject="Invoice 7")
    run_workers()
    return message


def simulated(caller: Caller, what: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = caller.post(f"/v1/simulate/{what}", body)
    assert answer.status_code == status, answer.content
    run_workers()
    return dict(answer.json().get("data") or answer.json()["error"])


def states(caller: Caller, message: dict[str, Any]) -> dict[str, str]:
    shown = caller.get(f"/v1/inboxes/{message['inbox_id']}/messages/{message['id']}").json()["data"]
    return {recipient["address"]: recipient["status"] for recipient in shown["recipients"]}


class TestReceived:
    def test_a_mail_comes_in_as_from_outside(self, alice: Caller, inbox: Inbox) -> None:
        body = {"from": "Carol <carol@shop.example>", "subject": "Your code", "body_text": "It is 482913."}
        told = simulated(alice, "received", 202, inbox_id=inbox.pk, **body)
        (message,) = alice.messages(inbox)
        assert message["message_id_header"] == told["message_id_header"]
        assert (message["from_name"], message["from_address"]) == ("Carol", "carol@shop.example")
        assert message["codes"] == ["482913"]
        assert alice.events(inbox_id=inbox.pk)[-1] == "message.received"

    def test_everything_has_a_default(self, alice: Caller, inbox: Inbox) -> None:
        simulated(alice, "received", 202, inbox_id=inbox.pk)
        assert alice.messages(inbox)[0]["from_address"] == "customer@example.com"

    def test_an_answer_enters_the_thread_of_what_it_answers(
        self, alice: Caller, inbox: Inbox, sent: dict[str, Any]
    ) -> None:
        simulated(alice, "received", 202, inbox_id=inbox.pk, reply_to_message_id=sent["id"], body_text="Paid.")
        message = alice.messages(inbox, direction="inbound")[0]
        assert (message["thread_id"], message["in_reply_to"]) == (sent["thread_id"], sent["message_id_header"])
        assert (message["from_address"], message["subject"]) == ("ann@example.com", "Re: Invoice 7")

    def test_it_has_files_and_headers(self, alice: Caller, inbox: Inbox) -> None:
        file = {"filename": "a.txt", "content_type": "text/plain", "content": "VGhhbmsgeW91Lg=="}
        headers = {"Auto-Submitted": "auto-replied"}
        simulated(alice, "received", 202, inbox_id=inbox.pk, attachments=[file], headers=headers)
        message = alice.messages(inbox)[0]
        assert [attachment["filename"] for attachment in message["attachments"]] == ["a.txt"]
        assert {"name": "Auto-Submitted", "value": "auto-replied"} in message["headers"]

    def test_a_deleted_inbox_takes_none(self, alice: Caller, inbox: Inbox) -> None:
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert "deleted" in simulated(alice, "received", 409, inbox_id=inbox.pk)["message"]

    def test_a_file_by_url_is_refused(self, alice: Caller, inbox: Inbox) -> None:
        files = [{"filename": "a.txt", "url": "https://example.com/a.txt"}]
        assert "attachments" in simulated(alice, "received", 400, inbox_id=inbox.pk, attachments=files)["fields"]

    def test_a_subject_has_one_line(self, alice: Caller, inbox: Inbox) -> None:
        refused = simulated(alice, "received", 400, inbox_id=inbox.pk, subject="Hello\r\nBcc: eve@example.com")
        assert "subject" in refused["fields"]


class TestNews:
    def test_of_all_recipients(self, alice: Caller, sent: dict[str, Any]) -> None:
        told = simulated(alice, "bounced", message_id=sent["id"], reason="550 5.1.1 no such user")
        assert told["status"] == "bounced"
        assert {recipient["reason"] for recipient in told["recipients"]} == {"550 5.1.1 no such user"}
        assert states(alice, sent) == {"ann@example.com": "bounced", "ben@example.com": "bounced"}

    def test_of_one_however_he_is_spelt(self, alice: Caller, sent: dict[str, Any]) -> None:
        simulated(alice, "complained", message_id=sent["id"], recipients="Ben@Example.com")
        assert states(alice, sent) == {"ann@example.com": "delivered", "ben@example.com": "complained"}

    @pytest.mark.parametrize("event", ["opened", "clicked", "unsubscribed"])
    def test_what_changes_no_status_is_an_event(self, alice: Caller, sent: dict[str, Any], event: str) -> None:
        simulated(alice, event, message_id=sent["id"], recipients="ann@example.com")
        assert alice.events(message_id=sent["id"])[-1] == f"message.{event}"
        assert states(alice, sent)["ann@example.com"] == "delivered"

    def test_a_soft_bounce_is_deferred(self, alice: Caller, inbox: Inbox) -> None:
        message = alice.send(inbox, to="softbounce@simulator.mailbot.localhost")
        run_workers()
        assert simulated(alice, "bounced", message_id=message["id"], bounce="soft")["status"] == "deferred"

    def test_it_says_that_it_is_simulated(self, alice: Caller, sent: dict[str, Any]) -> None:
        simulated(alice, "opened", message_id=sent["id"])
        assert alice.get("/v1/events", message_id=sent["id"]).json()["data"][0]["data"]["simulated"] == "true"

    def test_nothing_is_told_of_what_did_not_leave(self, alice: Caller, inbox: Inbox) -> None:
        message = alice.send(inbox, subject="Not sent yet")
        refused = alice.post("/v1/simulate/delivered", {"message_id": message["id"]})
        assert refused.status_code == 409
        assert "queued" in refused.json()["error"]["message"]

    def test_nothing_is_told_of_what_came_in(self, alice: Caller, inbox: Inbox) -> None:
        simulated(alice, "received", 202, inbox_id=inbox.pk)
        assert "received" in simulated(alice, "opened", 409, message_id=alice.messages(inbox)[0]["id"])["message"]

    def test_who_is_no_recipient_is_named(self, alice: Caller, sent: dict[str, Any]) -> None:
        refused = simulated(alice, "bounced", 409, message_id=sent["id"], recipients=["eve@example.com"])
        assert "eve@example.com" in refused["message"]

    def test_an_event_that_nobody_knows_is_not_found(self, alice: Caller, sent: dict[str, Any]) -> None:
        simulated(alice, "exploded", 404, message_id=sent["id"])


class TestLate:
    def test_it_happened_when_the_mail_left_and_takes_nothing_back(self, alice: Caller, sent: dict[str, Any]) -> None:
        simulated(alice, "bounced", message_id=sent["id"])
        assert simulated(alice, "late", message_id=sent["id"], event="delivered")["status"] == "bounced"
        told = alice.get("/v1/events", message_id=sent["id"]).json()["data"][0]
        assert told["type"] == "message.delivered"
        assert told["occurred_at"] < told["recorded_at"]


class TestDoubled:
    def test_news_twice_are_two_events_and_one_status(self, alice: Caller, sent: dict[str, Any]) -> None:
        who = {"message_id": sent["id"], "recipients": "ann@example.com"}
        assert simulated(alice, "doubled", event="bounced", **who)["status"] == "bounced"
        assert alice.events(message_id=sent["id"])[-2:] == ["message.bounced", "message.bounced"]

    def test_a_mail_that_comes_twice_is_one_message(self, alice: Caller, inbox: Inbox) -> None:
        simulated(alice, "received", 202, inbox_id=inbox.pk, subject="Once")
        (message,) = alice.messages(inbox)
        simulated(alice, "doubled", message_id=message["id"])
        (message,) = alice.messages(inbox)
        assert message["repeat_count"] == 1

    def test_of_what_was_sent_it_asks_which_news(self, alice: Caller, sent: dict[str, Any]) -> None:
        assert "event" in simulated(alice, "doubled", 400, message_id=sent["id"])["fields"]


class TestWhoMay:
    def test_a_team_mate(self, bob: Caller, sent: dict[str, Any]) -> None:
        assert simulated(bob, "bounced", message_id=sent["id"])["status"] == "bounced"

    def test_it_is_404_for_a_stranger(self, charlie: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        simulated(charlie, "bounced", 404, message_id=sent["id"])
        simulated(charlie, "received", 404, inbox_id=inbox.pk)

    def test_a_live_key_simulates_nothing(self, alice: Caller) -> None:
        live = alice.with_key(mode="live")
        assert "live" in simulated(live, "received", 403, inbox_id=live.create_inbox().pk)["message"]

    def test_a_key_without_the_right(self, alice: Caller, sent: dict[str, Any]) -> None:
        simulated(alice.with_key(permissions=[MESSAGES_READ]), "bounced", 403, message_id=sent["id"])

    def test_the_answer_does_not_say_what_the_mail_says(self, alice: Caller, sent: dict[str, Any]) -> None:
        assert "subject" not in simulated(alice, "opened", message_id=sent["id"])
