"""POST /v1/inboxes/{id}/threads/{tid}/claim, /release and /handoff, and replies in claimed threads"""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from inboxes.models import Inbox
from inboxes.permissions import MESSAGES_SEND, THREADS_READ
from tests.cast import Caller
from tests.console import console, page_of, person
from tests.mailing import deliver, mail
from threads.models import Message, Thread

Answer = Any


class Desk:
    """One thread of an inbox, and what somebody asks of it."""

    def __init__(self, inbox: Inbox) -> None:
        deliver(mail(Subject="Question"), inbox)
        self.message = Message.objects.get(inbox=inbox)
        self.path = f"/v1/inboxes/{inbox.pk}/threads/{self.message.thread_id}"
        self.reply_path = f"/v1/inboxes/{inbox.pk}/messages/{self.message.pk}/reply"

    def ask(self, caller: Caller, what: str, **body: Any) -> Answer:
        return caller.post(f"{self.path}/{what}", body)

    def claim(self, caller: Caller, **body: Any) -> Any:
        answer = self.ask(caller, "claim", **body)
        assert answer.status_code == 200, answer.content
        return answer.json()["data"]

    def reply(self, caller: Caller, **body: Any) -> Answer:
        return caller.post(self.reply_path, {"body_text": "Certainly."} | body)

    def owner(self, caller: Caller) -> Any:
        return caller.get(self.path).json()["data"]["owner"]

    def events(self, caller: Caller) -> list[tuple[str, Any]]:
        found = caller.get(f"{self.path}/events").json()["data"]
        return [(event["type"], event["data"]) for event in found if event["type"].startswith("thread.")][:-1][::-1]


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="support")


@pytest.fixture
def desk(inbox: Inbox) -> Desk:
    return Desk(inbox)


class TestClaim:
    def test_it_shows_the_owner_to_everybody_who_reads_the_thread(self, alice: Caller, bob: Caller, desk: Desk):
        claimed = desk.claim(alice, agent="first", seconds=60)
        owner = desk.owner(bob)
        assert owner == claimed["owner"]
        assert (owner["kind"], owner["id"], owner["agent"]) == ("api_key", alice.key.pk, "first")
        lasts = datetime.fromisoformat(owner["lease_until"]) - datetime.fromisoformat(owner["claimed_at"])
        assert lasts == timedelta(seconds=60)
        assert "token" not in bob.get(desk.path).json()["data"]

    def test_it_is_refused_while_somebody_else_holds_it(self, alice: Caller, bob: Caller, desk: Desk):
        claimed = desk.claim(alice)
        answer = desk.ask(bob, "claim")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["retry_at"]) == (
            409,
            "conflict",
            claimed["owner"]["lease_until"],
        )
        assert alice.key.name in error["message"]
        assert 0 < int(answer["Retry-After"]) <= 300

    def test_agents_of_one_key_are_told_apart_by_their_names(self, alice: Caller, desk: Desk):
        desk.claim(alice, agent="first")
        assert desk.ask(alice, "claim", agent="second").status_code == 409
        assert desk.ask(alice, "claim").status_code == 409

    def test_it_makes_the_lease_of_its_owner_longer_and_keeps_the_token(self, alice: Caller, desk: Desk):
        first = desk.claim(alice, seconds=60)
        again = desk.claim(alice, seconds=600)
        assert again["token"] == first["token"]
        assert again["owner"]["claimed_at"] == first["owner"]["claimed_at"]
        assert again["owner"]["lease_until"] > first["owner"]["lease_until"]
        assert [kind for kind, _ in desk.events(alice)] == ["thread.claimed"]

    def test_it_ends_by_itself_and_the_next_token_is_higher(self, alice: Caller, bob: Caller, desk: Desk):
        first = desk.claim(alice)
        Thread.objects.update(lease_until=datetime.fromisoformat(first["owner"]["claimed_at"]) - timedelta(seconds=1))
        assert desk.owner(alice) is None
        assert desk.claim(bob)["token"] == first["token"] + 1

    def test_a_lease_of_a_clock_that_was_set_back_holds_nobody_up(self, alice: Caller, bob: Caller, desk: Desk):
        first = desk.claim(alice)
        Thread.objects.update(lease_until=datetime.fromisoformat(first["owner"]["claimed_at"]) + timedelta(days=30))
        assert desk.owner(alice) is None
        desk.claim(bob)

    @pytest.mark.django_db(transaction=True)
    def test_one_of_many_at_once_gets_it(self, alice: Caller, desk: Desk):
        callers = [alice.with_key() for _ in range(6)]

        def ask(caller: Caller) -> int:
            try:
                return int(desk.ask(caller, "claim").status_code)
            finally:
                connection.close()

        with ThreadPoolExecutor(len(callers)) as pool:
            assert sorted(pool.map(ask, callers)) == [200, *[409] * 5]

    @pytest.mark.parametrize("body", [{"seconds": 0}, {"seconds": 86_401}, {"agent": 7}, {"second": 5}])
    def test_it_says_what_is_wrong(self, alice: Caller, desk: Desk, body: Any):
        answer = desk.ask(alice, "claim", **body)
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, list(body))

    def test_it_needs_the_right_and_is_404_for_a_stranger(self, alice: Caller, charlie: Caller, desk: Desk):
        reader = alice.with_key(permissions=[THREADS_READ])
        for what in ("claim", "release", "handoff"):
            assert desk.ask(reader, what).status_code == 403
            assert desk.ask(charlie, what, **({"to_agent": "x"} if what == "handoff" else {})).status_code == 404


class TestRelease:
    def test_others_may_claim_it_at_once(self, alice: Caller, bob: Caller, desk: Desk):
        first = desk.claim(alice)
        assert desk.ask(alice, "release").json()["data"]["owner"] is None
        assert desk.claim(bob)["token"] == first["token"] + 1
        assert [kind for kind, _ in desk.events(bob)] == ["thread.claimed", "thread.released", "thread.claimed"]

    def test_who_has_the_token_may_do_it(self, alice: Caller, bob: Caller, desk: Desk):
        token = desk.claim(alice)["token"]
        assert desk.ask(bob, "release").status_code == 409
        assert desk.ask(bob, "release", token=token + 1).status_code == 409
        assert desk.ask(bob, "release", token=token).status_code == 200

    def test_of_a_free_thread_nothing_changes(self, alice: Caller, desk: Desk):
        assert desk.ask(alice, "release").status_code == 200
        assert desk.events(alice) == []


class TestHandOff:
    def test_the_new_owner_holds_it_with_a_new_token(self, alice: Caller, bob: Caller, desk: Desk):
        first = desk.claim(alice)
        answer = desk.ask(alice, "handoff", key_id=bob.key.pk, note="Wants a discount.")
        assert answer.status_code == 200
        assert answer.json()["data"]["owner"]["id"] == bob.key.pk
        assert desk.ask(alice, "claim").status_code == 409
        assert desk.claim(bob)["token"] == first["token"] + 1
        assert desk.events(bob)[-1] == (
            "thread.claimed",
            {
                "owner": bob.key.name,
                "token": first["token"] + 1,
                "note": "Wants a discount.",
                "handed_off_from": alice.key.name,
            },
        )

    def test_it_goes_to_another_agent_of_the_same_key(self, alice: Caller, desk: Desk):
        desk.claim(alice, agent="first")
        assert desk.ask(alice, "handoff", to_agent="second").status_code == 409  # of a third one
        assert desk.ask(alice, "handoff", agent="first", to_agent="second").status_code == 200
        assert desk.owner(alice)["agent"] == "second"

    def test_it_goes_to_no_key_that_could_not_work_there(self, alice: Caller, charlie: Caller, desk: Desk):
        desk.claim(alice)
        useless = [
            charlie.key.pk,
            "key_01m86n1c3hf1bvfkq0zdzgr2m4",
            alice.with_key(permissions=[THREADS_READ]).key.pk,
            alice.with_key(inbox=alice.create_inbox()).key.pk,
        ]
        answers = [desk.ask(alice, "handoff", key_id=key_id) for key_id in useless]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.json()["error"]["message"] for answer in answers}) == 1
        assert desk.owner(alice)["id"] == alice.key.pk

    def test_it_says_that_somebody_has_to_get_it(self, alice: Caller, desk: Desk):
        assert desk.ask(alice, "handoff").json()["error"]["fields"].keys() == {"key_id"}


class TestReply:
    def test_nobody_else_replies_while_it_is_claimed(self, alice: Caller, bob: Caller, desk: Desk):
        token = desk.claim(alice)["token"]
        refused = desk.reply(bob)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
        assert Message.objects.filter(direction="outbound").count() == 0
        assert desk.reply(alice).status_code == 202
        assert desk.reply(bob, thread_token=token).status_code == 202

    def test_agents_of_one_key_say_who_they_are(self, alice: Caller, desk: Desk):
        desk.claim(alice, agent="first")
        assert desk.reply(alice, agent="second").status_code == 409
        assert desk.reply(alice, agent="first").status_code == 202

    def test_who_was_away_too_long_is_told_so_by_his_token(self, alice: Caller, bob: Caller, desk: Desk):
        old = desk.claim(alice)["token"]
        Thread.objects.update(lease_until=None)
        desk.claim(bob)
        assert desk.ask(bob, "release").status_code == 200
        assert desk.reply(alice, thread_token=old).status_code == 409
        assert desk.reply(alice).status_code == 202

    def test_a_lease_that_ran_out_but_was_given_to_nobody_is_good_enough(self, alice: Caller, desk: Desk):
        token = desk.claim(alice)["token"]
        Thread.objects.update(lease_until=None)
        assert desk.reply(alice, thread_token=token).status_code == 202

    def test_it_is_tried_again_with_the_same_key_when_it_is_free(self, alice: Caller, bob: Caller, desk: Desk):
        """A refusal is no answer that is kept."""
        desk.claim(alice)
        once: Any = {"headers": {"Idempotency-Key": "reply-1"}, "content_type": "application/json"}
        assert bob.client.post(desk.reply_path, {"body_text": "Yes"}, **once).status_code == 409
        desk.ask(alice, "release")
        assert bob.client.post(desk.reply_path, {"body_text": "Yes"}, **once).status_code == 202

    def test_a_key_that_only_sends_notices_nothing(self, alice: Caller, desk: Desk):
        assert desk.reply(alice.with_key(permissions=[MESSAGES_SEND])).status_code == 202


class TestTrail:
    def test_it_says_who_had_it(self, alice: Caller, bob: Caller, desk: Desk):
        desk.claim(alice)
        desk.ask(alice, "handoff", key_id=bob.key.pk)
        desk.ask(bob, "release")
        entries = alice.get("/v1/audit-log").json()["data"]
        told = [(entry["action"], entry["actor"]["id"]) for entry in entries if entry["action"].startswith("thread.")]
        assert told[::-1] == [
            ("thread.claimed", alice.key.pk),
            ("thread.handed_off", alice.key.pk),
            ("thread.released", bob.key.pk),
        ]


class TestConsole:
    def test_an_operator_sees_who_has_it_and_takes_it_away(self, alice: Caller, bob: Caller, desk: Desk):
        desk.claim(alice, agent="first")
        thread = Thread.objects.get(pk=desk.message.thread_id)
        browser = console(person("operator", alice.account, "operator"))
        assert f"first ({alice.key.name})" in browser.get(page_of(thread)).content.decode()
        form = {"action": "release", "_selected_action": [thread.pk], "confirmed": "1", "reason": "It hangs."}
        assert browser.post("/admin/threads/thread/", form).status_code == 302
        assert desk.owner(alice) is None
        assert desk.claim(bob)["owner"]["id"] == bob.key.pk
        assert "It hangs." in str(alice.get("/v1/audit-log", action="thread.released").json())
