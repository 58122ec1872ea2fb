"""What a test key sends never leaves the server."""

from typing import Any

import pytest

from delivery.inbound.receive import Outcome, StorageError
from delivery.outbound import sandbox
from tests.cast import Caller, run_workers


@pytest.fixture(autouse=True)
def no_provider(settings: Any) -> None:
    settings.EMAIL_BACKEND = "tests.no.such.Backend"


class TestSandbox:
    def test_it_delivers_to_an_inbox_of_this_server_through_the_same_door(self, alice: Caller, charlie: Caller) -> None:
        sender, receiver = alice.create_inbox(), charlie.create_inbox()
        message = alice.send(sender, to=receiver.address, subject="Hello")
        run_workers()
        (received,) = charlie.messages(receiver)
        assert received["subject"] == "Hello"
        assert received["message_id_header"] == message["message_id_header"]
        assert received["thread_id"] != message["thread_id"]
        assert alice.events(message_id=message["id"])[-2:] == ["message.sent", "message.delivered"]

    def test_it_carries_a_conversation_between_two_inboxes(self, alice: Caller, charlie: Caller) -> None:
        one, two = alice.create_inbox(), charlie.create_inbox()
        first = alice.send(one, to=two.address, subject="Ping")
        run_workers()
        received = charlie.messages(two)[0]
        charlie.post(f"/v1/inboxes/{two.pk}/messages/{received['id']}/reply", {"body_text": "Pong"})
        run_workers()
        answer = alice.messages(one)[0]
        assert (answer["direction"], answer["thread_id"], answer["subject"]) == (
            "inbound",
            first["thread_id"],
            "Re: Ping",
        )

    @pytest.mark.parametrize(
        ("local_part", "status", "events"),
        [
            ("bounce", "bounced", ["message.sent", "message.bounced"]),
            ("softbounce", "deferred", ["message.sent", "message.deferred"]),
            ("complaint", "complained", ["message.sent", "message.delivered", "message.complained"]),
            ("anybody", "delivered", ["message.sent", "message.delivered"]),
        ],
    )
    def test_it_simulates_what_providers_report(
        self, alice: Caller, local_part: str, status: str, events: list[str]
    ) -> None:
        inbox = alice.create_inbox()
        message = alice.send(inbox, to=f"{local_part}@simulator.mailbot.localhost")
        run_workers()
        shown = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}").json()["data"]
        assert shown["status"] == status
        assert shown["recipients"][0]["status"] == status
        assert alice.events(message_id=message["id"])[1:] == events

    def test_it_bounces_what_goes_to_no_inbox_here(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        message = alice.send(inbox, to=["nobody@mailbot.localhost", "a@example.com"])
        run_workers()
        shown = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}").json()["data"]
        assert [recipient["status"] for recipient in shown["recipients"]] == ["bounced", "delivered"]

    def test_it_reaches_no_live_inbox(self, alice: Caller) -> None:
        live = alice.with_key(mode="live")
        receiver = live.create_inbox()
        alice.send(alice.create_inbox(), to=receiver.address)
        run_workers()
        assert live.messages(receiver) == []

    def test_it_bounces_what_an_inbox_no_longer_takes(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        message = alice.send(inbox, to=other.address)
        monkeypatch.setattr(sandbox, "store_inbound_mail", lambda mails: [Outcome.NO_LONGER_HERE])
        run_workers()
        assert alice.events(message_id=message["id"])[-1] == "message.bounced"

    def test_it_tries_again_when_the_mail_cannot_be_stored(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        message = alice.send(inbox, to=other.address)

        def full(mails: Any) -> Any:
            raise StorageError("no room")

        monkeypatch.setattr(sandbox, "store_inbound_mail", full)
        run_workers()
        assert alice.events(message_id=message["id"])[-1] == "message.deferred"
