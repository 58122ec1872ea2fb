"""Which thread a mail comes into: only by ids, only inside the inbox, only for those who take part."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail, store
from threads.models import Message, Thread

ROOT = "<root@example.com>"


def threads_of(caller: Caller, inbox: object) -> list[str]:
    """The thread of each message, oldest message first."""
    return [message["thread_id"] for message in reversed(caller.messages(inbox))]  # type: ignore[arg-type]


def flags_of_newest(caller: Caller, inbox: object) -> list[str]:
    return list(caller.messages(inbox)[0]["trust"]["flags"])  # type: ignore[arg-type]


class TestReplies:
    @pytest.mark.parametrize("header", ["In_Reply_To", "References"])
    def test_it_follows_the_id_of_the_parent(self, alice: Caller, header: str) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Message_ID=ROOT), inbox)
        deliver(mail(**{header: ROOT}, Subject="Something else"), inbox)
        first, second = threads_of(alice, inbox)
        assert first == second
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["thread_count"] == 1

    def test_it_finds_an_answer_to_what_was_sent_from_here(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        sent = alice.send(inbox, subject="Invoice 42", body_text="Please pay.")
        deliver(mail(In_Reply_To=sent["message_id_header"], Subject="Re: Invoice 42"), inbox)
        assert alice.messages(inbox)[0]["thread_id"] == sent["thread_id"]

    def test_it_finds_a_grandparent_when_the_parent_is_missing(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Message_ID=ROOT), inbox)
        deliver(mail(In_Reply_To="<lost@example.com>", References=f"{ROOT} <lost@example.com>"), inbox)
        assert len(set(threads_of(alice, inbox))) == 1

    def test_it_finds_a_parent_that_came_in_the_same_batch(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(Message_ID=ROOT), inbox)
        store(mail(Message_ID="<second@example.com>", In_Reply_To=ROOT), inbox)
        store(mail(In_Reply_To="<second@example.com>"), inbox)
        run_workers()
        assert len(set(threads_of(alice, inbox))) == 1
        assert Thread.objects.get(inbox=inbox).message_count == 3

    def test_it_does_not_join_by_subject(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="Invoice"), inbox)
        deliver(mail(Subject="Re: Invoice"), inbox)
        assert len(set(threads_of(alice, inbox))) == 2

    def test_it_does_not_loop_when_ids_do(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Message_ID="<a@x.com>", In_Reply_To="<b@x.com>", References="<a@x.com> <b@x.com>"), inbox)
        deliver(mail(Message_ID="<b@x.com>", In_Reply_To="<a@x.com>", References="<b@x.com> <a@x.com>"), inbox)
        assert len(set(threads_of(alice, inbox))) == 1

    def test_it_answers_itself_nothing(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Message_ID=ROOT, In_Reply_To=ROOT), inbox)
        assert alice.get(f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/explain").json()["data"][
            "thread"
        ]["rule"] == ("no_ancestors")

    def test_it_follows_a_chain_of_a_thousand_references(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Message_ID=ROOT), inbox)
        chain = [ROOT, *(f"<{number}@example.com>" for number in range(1000))]
        deliver(mail(References=" ".join(chain)), inbox)
        assert len(set(threads_of(alice, inbox))) == 1

    def test_it_takes_a_mail_without_any_id(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Message_ID=None), inbox)
        deliver(mail(Message_ID=None, Subject="another"), inbox)
        assert len(set(threads_of(alice, inbox))) == 2


class TestIsolation:
    def test_it_knows_no_ids_of_another_inbox(self, alice: Caller, charlie: Caller) -> None:
        inbox, other, foreign = alice.create_inbox(), alice.create_inbox(), charlie.create_inbox()
        deliver(mail(Message_ID=ROOT), inbox)
        for elsewhere, caller in ((other, alice), (foreign, charlie)):
            deliver(mail(In_Reply_To=ROOT), elsewhere)
            assert caller.messages(elsewhere)[0]["thread_id"] != threads_of(alice, inbox)[0]
        assert len(alice.messages(inbox)) == 1

    def test_it_puts_a_forger_into_a_thread_of_his_own(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        sent = alice.send(inbox, to="customer@example.com")
        deliver(mail(From="mallory@evil.example", In_Reply_To=sent["message_id_header"]), inbox)
        forged = alice.messages(inbox)[0]
        assert forged["thread_id"] != sent["thread_id"]
        assert "thread_suspect" in forged["trust"]["flags"]
        told = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{forged['id']}/explain").json()["data"]["thread"]
        assert (told["rule"], told["suspect_thread"]) == ("sender_takes_no_part", sent["thread_id"])

    def test_it_does_not_believe_a_mail_from_outside_in_its_own_name(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        sent = alice.send(inbox)
        deliver(mail(From=inbox.address, In_Reply_To=sent["message_id_header"]), inbox)
        assert alice.messages(inbox)[0]["thread_id"] != sent["thread_id"]
        assert flags_of_newest(alice, inbox) == ["thread_suspect"]

    def test_it_lets_everybody_in_who_was_addressed(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        sent = alice.send(inbox, to="customer@example.com", cc=["Boss <boss@example.com>"])
        deliver(mail(From="BOSS+x@Example.com", In_Reply_To=sent["message_id_header"]), inbox)
        assert alice.messages(inbox)[0]["thread_id"] == sent["thread_id"]
        assert flags_of_newest(alice, inbox) == ["sender_unverified"]

    def test_it_prefers_what_was_sent_over_a_copy_of_its_id(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        sent = alice.send(inbox, to="customer@example.com")
        deliver(mail(From="mallory@evil.example", Message_ID=sent["message_id_header"]), inbox)
        deliver(mail(In_Reply_To=sent["message_id_header"]), inbox)
        assert alice.messages(inbox)[0]["thread_id"] == sent["thread_id"]


class TestRepeats:
    def test_it_makes_one_message_of_the_same_bytes(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        raw = mail()
        for _ in range(3):
            deliver(raw, inbox)
        (message,) = alice.messages(inbox)
        assert message["repeat_count"] == 2
        assert "message.repeated" in [
            entry["action"] for entry in alice.get("/v1/audit-log", inbox_id=inbox.pk).json()["data"]
        ]

    def test_it_makes_one_message_of_the_same_bytes_in_one_batch(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        raw = mail()
        store(raw, inbox)
        store(raw, inbox)
        run_workers()
        assert [message["repeat_count"] for message in alice.messages(inbox)] == [1]

    def test_it_makes_two_messages_of_one_id_with_other_content(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Message_ID=ROOT, body="an attacker was first"), inbox)
        deliver(mail(Message_ID=ROOT, body="the real one"), inbox)
        assert len(alice.messages(inbox)) == 2

    def test_it_makes_a_message_for_each_inbox_that_is_addressed(self, alice: Caller, charlie: Caller) -> None:
        inbox, other = alice.create_inbox(), charlie.create_inbox()
        deliver(mail(To=f"{inbox.address}, {other.address}"), inbox, other)
        assert len(alice.messages(inbox)) == len(charlie.messages(other)) == 1
        assert alice.messages(inbox)[0]["thread_id"] != charlie.messages(other)[0]["thread_id"]

    def test_it_makes_one_message_for_two_spellings_of_one_inbox_and_keeps_the_tag(self, alice: Caller) -> None:
        inbox = alice.create_inbox(username="support")
        deliver(mail(), "support+eu@mailbot.localhost", "Support@mailbot.localhost")
        (message,) = alice.messages(inbox)
        assert message["recipient_tag"] == "eu"


class TestBookkeeping:
    def test_it_counts_and_sorts(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Message_ID=ROOT, Subject="First"), inbox)
        deliver(mail(Subject="Second"), inbox)
        deliver(mail(In_Reply_To=ROOT, body="News"), inbox)
        threads = alice.get(f"/v1/inboxes/{inbox.pk}/threads").json()["data"]
        assert [(thread["subject"], thread["message_count"], thread["preview"]) for thread in threads] == [
            ("First", 2, "News"),
            ("Second", 1, "Hello"),
        ]
        shown = alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]
        assert (shown["message_count"], shown["thread_count"]) == (3, 2)

    def test_it_needs_no_more_queries_for_a_larger_batch(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Message_ID=ROOT), inbox)
        run_workers()  # what a process asks once
        needed = []
        for size in (30, 90):  # beyond the few that need no COPY: half of them begin a thread
            for number in range(size):
                store(mail(In_Reply_To=ROOT if number % 2 else None), inbox)
            with CaptureQueriesContext(connection) as queries:
                run_workers()
            needed.append(len(queries))
        assert needed[0] == needed[1]
        assert Message.objects.filter(inbox=inbox).count() == 121
