"""/v1/inboxes/{id}/threads and /v1/events"""

import pytest

from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail, store


class TestThreads:
    def test_it_shows_the_conversation_oldest_first(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        sent = alice.send(inbox, subject="Invoice", body_text="Please pay.")
        deliver(
            mail(In_Reply_To=sent["message_id_header"], body="Paid.\n\nOn Monday you wrote:\n> Please pay.\n"), inbox
        )
        thread = alice.get(f"/v1/inboxes/{inbox.pk}/threads/{sent['thread_id']}").json()["data"]
        assert [message["direction"] for message in thread["messages"]] == ["outbound", "inbound"]
        assert thread["messages"][1]["extracted_text"].strip() == "Paid."
        assert thread["messages_cursor"] is None
        assert set(thread["participants"]) == {inbox.address, "customer@example.com"}

    def test_it_gives_a_long_one_in_pieces(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        root = alice.send(inbox)
        for number in range(203):
            store(mail(In_Reply_To=root["message_id_header"], Subject=str(number)), inbox)
        run_workers()
        path = f"/v1/inboxes/{inbox.pk}/threads/{root['thread_id']}"
        first = alice.get(path).json()["data"]
        rest = alice.get(path, cursor=first["messages_cursor"]).json()["data"]
        assert (len(first["messages"]), len(rest["messages"]), rest["messages_cursor"]) == (200, 4, None)
        assert rest["messages"][-1]["subject"] == "202"

    def test_it_filters(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="one", From="a@example.com"), inbox)
        deliver(mail(Subject="two", From="b@example.com"), inbox)
        path = f"/v1/inboxes/{inbox.pk}/threads"
        two, one = alice.get(path).json()["data"]
        alice.patch(f"{path}/{one['id']}", {"status": "closed", "labels": ["done"]})
        for query, expected in [
            ({"status": "closed"}, [one]),
            ({"label": "done"}, [one]),
            ({"participant": "B@Example.com"}, [two]),
            ({"subject": "TW"}, [two]),
            ({"before": two["last_message_at"]}, [one]),
        ]:
            found = alice.get(path, **query).json()["data"]
            assert [thread["id"] for thread in found] == [thread["id"] for thread in expected], query

    def test_it_is_404_for_a_stranger_and_under_another_inbox(self, alice: Caller, charlie: Caller) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        thread = alice.send(inbox)["thread_id"]
        for caller, box in ((charlie, inbox), (alice, other)):
            assert caller.get(f"/v1/inboxes/{box.pk}/threads/{thread}").status_code == 404
            assert caller.get(f"/v1/inboxes/{box.pk}/threads/{thread}/events").status_code == 404
            assert caller.patch(f"/v1/inboxes/{box.pk}/threads/{thread}", {"status": "closed"}).status_code == 404

    def test_it_costs_the_same_number_of_queries_for_any_number_of_messages(
        self, alice: Caller, django_assert_num_queries
    ) -> None:
        inbox = alice.create_inbox()
        root = alice.send(inbox)
        for _ in range(4):
            deliver(mail(In_Reply_To=root["message_id_header"], attachments={"a": b"a"}), inbox)
        path = f"/v1/inboxes/{inbox.pk}/threads/{root['thread_id']}"
        alice.get(path)
        with django_assert_num_queries(5):  # key, thread, messages, attachments
            alice.get(path)


class TestEvents:
    def test_it_tells_what_happened_in_a_thread(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        sent = alice.send(inbox)
        run_workers()
        path = f"/v1/inboxes/{inbox.pk}/threads/{sent['thread_id']}/events"
        events = alice.get(path).json()["data"]
        assert [event["type"] for event in reversed(events)] == [
            "thread.created",
            "message.queued",
            "message.sent",
            "message.delivered",
        ]
        assert events[0]["recipient"] == "customer@example.com"
        assert alice.events(message_id=sent["id"], type="message.sent") == ["message.sent"]

    def test_it_keeps_accounts_modes_and_inboxes_apart(self, alice: Caller, charlie: Caller) -> None:
        inbox = alice.create_inbox()
        alice.send(inbox)
        assert charlie.events() == []
        assert charlie.events(inbox_id=inbox.pk) == []
        assert alice.with_key(mode="live").events() == []
        assert alice.with_key(inbox=alice.create_inbox()).events() == ["inbox.created"]

    @pytest.mark.parametrize("query", [{"type": "message.eaten"}, {"after": "x"}, {"inbox": "x"}])
    def test_it_says_what_is_wrong_with_a_query(self, alice: Caller, query: dict[str, str]) -> None:
        assert alice.get("/v1/events", **query).status_code == 400
