"""/v1/holds, and what a legal hold stands against."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from audit.models import AuditEntry
from inboxes.expiry import sweep_expired
from inboxes.holds import held_among, holds_on, place
from inboxes.models import Inbox, LegalHold
from mailbot.lib.scope import acting_for_everybody
from tests.cast import Caller
from tests.mailing import deliver, mail
from threads.models import Message

CASE = {"matter": "Smith v. Shop", "reason": "Counsel's letter"}


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="alice")


def hold(caller: Caller, inbox: Inbox | None, **more: Any) -> dict[str, Any]:
    answer = caller.post("/v1/holds", {"inbox_id": inbox.pk if inbox else None, **CASE, **more})
    assert answer.status_code == 201, answer.content
    return dict(answer.json()["data"])


def acts(inbox: Inbox, prefix: str = "hold.") -> list[str]:
    rows = AuditEntry.objects.filter(inbox_id=inbox.pk, act__startswith=prefix)
    return list(rows.order_by("pk").values_list("act", flat=True))


class TestPlacing:
    def test_it_shows_what_was_placed_and_by_whom(self, alice: Caller, inbox: Inbox) -> None:
        placed = hold(alice, inbox)
        assert (placed["inbox_id"], placed["matter"], placed["placed_by"]) == (inbox.pk, CASE["matter"], alice.name)
        assert (placed["active"], placed["released_at"]) == (True, None)
        assert alice.get(f"/v1/holds/{placed['id']}").json()["data"] == placed
        entry = AuditEntry.objects.get(act="hold.placed")
        assert (entry.inbox_id, entry.object_pk, entry.actor_id) == (inbox.pk, placed["id"], alice.key.pk)
        assert entry.changes == {**CASE, "covers": inbox.pk}

    @pytest.mark.parametrize("missing", ["matter", "reason"])
    def test_it_wants_a_matter_and_a_reason(self, alice: Caller, inbox: Inbox, missing: str) -> None:
        answer = alice.post("/v1/holds", {"inbox_id": inbox.pk, **CASE, missing: " "})
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, [missing])
        assert not LegalHold.objects.exists()

    def test_a_deleted_inbox_can_be_held(self, alice: Caller, inbox: Inbox) -> None:
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        hold(alice, inbox)
        assert alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true").status_code == 409

    def test_it_needs_the_right(self, alice: Caller, inbox: Inbox) -> None:
        agent = alice.with_key(permissions=["inboxes:read", "inboxes:delete", "holds:read"])
        assert agent.post("/v1/holds", {"inbox_id": inbox.pk, **CASE}).status_code == 403
        assert agent.get("/v1/holds").status_code == 200
        assert alice.with_key(permissions=["inboxes:read"]).get("/v1/holds").status_code == 403

    def test_a_stranger_reaches_none(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        placed = hold(alice, inbox)
        assert charlie.post("/v1/holds", {"inbox_id": inbox.pk, **CASE}).status_code == 404
        assert charlie.get(f"/v1/holds/{placed['id']}").status_code == 404
        assert charlie.post(f"/v1/holds/{placed['id']}/release", {"reason": "mine"}).status_code == 404
        assert charlie.get("/v1/holds").json()["data"] == []

    @pytest.mark.parametrize("mode", ["test", "live"])
    def test_a_key_of_some_inboxes_holds_these_and_not_the_account(
        self, alice: Caller, inbox: Inbox, mode: str
    ) -> None:
        caller = alice.with_key(mode=mode)
        mine, other = caller.create_inbox(), caller.create_inbox()
        limited = caller.with_key(inbox=mine)
        hold(limited, mine)
        assert limited.post("/v1/holds", {"inbox_id": other.pk, **CASE}).status_code == 404
        assert limited.post("/v1/holds", CASE).status_code == 403
        assert LegalHold.objects.count() == 1

    def test_a_test_key_does_not_hold_the_account_nor_release_it(self, alice: Caller, inbox: Inbox) -> None:
        assert alice.post("/v1/holds", CASE).status_code == 403
        placed = hold(alice.with_key(mode="live"), None)
        assert alice.get(f"/v1/holds/{placed['id']}").status_code == 200
        assert alice.post(f"/v1/holds/{placed['id']}/release", {"reason": "mine"}).status_code == 403

    def test_it_lists_what_binds_an_inbox(self, alice: Caller, inbox: Inbox) -> None:
        other = alice.create_inbox()
        own, of_account = hold(alice, inbox), hold(alice.with_key(mode="live"), None)
        hold(alice, other)
        assert [one["id"] for one in alice.get("/v1/holds", inbox_id=inbox.pk).json()["data"]] == [
            of_account["id"],
            own["id"],
        ]
        alice.post(f"/v1/holds/{own['id']}/release", {"reason": "over"})
        active = alice.get("/v1/holds", inbox_id=inbox.pk, active="true").json()["data"]
        assert [one["id"] for one in active] == [of_account["id"]]
        assert [one["id"] for one in alice.get("/v1/holds", active="false").json()["data"]] == [own["id"]]


class TestReleasing:
    def test_it_wants_a_reason_and_says_it(self, alice: Caller, inbox: Inbox) -> None:
        placed = hold(alice, inbox)
        assert alice.post(f"/v1/holds/{placed['id']}/release").status_code == 400
        ended = alice.post(f"/v1/holds/{placed['id']}/release", {"reason": "Settled"}).json()["data"]
        assert (ended["active"], ended["release_reason"], ended["released_by"]) == (False, "Settled", alice.name)
        assert acts(inbox) == ["hold.placed", "hold.released"]

    def test_the_first_release_counts(self, alice: Caller, inbox: Inbox) -> None:
        placed = hold(alice, inbox)
        first = alice.post(f"/v1/holds/{placed['id']}/release", {"reason": "Settled"}).json()["data"]
        again = alice.post(f"/v1/holds/{placed['id']}/release", {"reason": "Another"})
        assert (again.status_code, again.json()["data"]) == (200, first)
        assert acts(inbox).count("hold.released") == 1

    def test_another_hold_still_binds(self, alice: Caller, inbox: Inbox) -> None:
        first, _second = hold(alice, inbox), hold(alice, inbox, matter="Another case")
        alice.post(f"/v1/holds/{first['id']}/release", {"reason": "Settled"})
        answer = alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert answer.status_code == 409
        assert "Another case" in answer.json()["error"]["message"]


class TestDeletion:
    @pytest.mark.parametrize(("query", "what"), [("", "delete the inbox"), ("?purge=true", "purge the inbox")])
    def test_it_is_refused_and_the_refusal_stays(self, alice: Caller, inbox: Inbox, query: str, what: str) -> None:
        deliver(mail(Subject="Evidence"), inbox)
        placed = hold(alice, inbox)
        answer = alice.delete(f"/v1/inboxes/{inbox.pk}{query}")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "conflict")
        assert CASE["matter"] in error["message"]
        assert placed["placed_at"][:10] in error["message"]
        assert f"/v1/holds/{placed['id']}/release" in error["fix"]
        assert [one["id"] for one in error["holds"]] == [placed["id"]]
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["status"] == "active"
        assert [message["subject"] for message in alice.messages(inbox)] == ["Evidence"]
        entry = AuditEntry.objects.get(act="hold.enforced")
        assert (entry.inbox_id, entry.actor_id) == (inbox.pk, alice.key.pk)
        assert entry.changes == {"refused": what, "holds": [[placed["id"], CASE["matter"]]]}

    @pytest.mark.parametrize("query", ["", "?purge=true"])
    def test_it_goes_again_once_released(self, alice: Caller, inbox: Inbox, query: str) -> None:
        placed = hold(alice, inbox)
        assert alice.delete(f"/v1/inboxes/{inbox.pk}{query}").status_code == 409
        alice.post(f"/v1/holds/{placed['id']}/release", {"reason": "Settled"})
        assert alice.delete(f"/v1/inboxes/{inbox.pk}{query}").status_code == 200

    def test_a_hold_of_the_account_covers_all_its_inboxes_later_ones_too(
        self, alice: Caller, charlie: Caller, inbox: Inbox
    ) -> None:
        hold(alice.with_key(mode="live"), None)
        later, strangers = alice.create_inbox(), charlie.create_inbox()
        for held in (inbox, later):
            assert alice.delete(f"/v1/inboxes/{held.pk}?purge=true").status_code == 409
        assert charlie.delete(f"/v1/inboxes/{strangers.pk}?purge=true").status_code == 200

    def test_a_limited_key_that_sees_no_holds_is_bound_by_them(self, alice: Caller, inbox: Inbox) -> None:
        hold(alice.with_key(mode="live"), None)
        agent = alice.with_key(inbox=inbox, permissions=["inboxes:read", "inboxes:delete"])
        assert agent.delete(f"/v1/inboxes/{inbox.pk}").status_code == 409
        assert acts(inbox) == ["hold.enforced"]

    def test_another_inbox_is_not_bound(self, alice: Caller, inbox: Inbox) -> None:
        hold(alice, inbox)
        assert alice.delete(f"/v1/inboxes/{alice.create_inbox().pk}?purge=true").status_code == 200

    def test_ending_it_again_is_no_deletion(self, alice: Caller, inbox: Inbox) -> None:
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        hold(alice, inbox)
        assert alice.delete(f"/v1/inboxes/{inbox.pk}").status_code == 200
        assert acts(inbox) == ["hold.placed"]


class TestShown:
    def test_an_inbox_says_that_it_is_held(self, alice: Caller, inbox: Inbox) -> None:
        def shown() -> list[bool]:
            return [
                alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["on_hold"],
                alice.get("/v1/inboxes").json()["data"][0]["on_hold"],
                alice.patch(f"/v1/inboxes/{inbox.pk}", {"display_name": "x"}).json()["data"]["on_hold"],
            ]

        assert shown() == [False] * 3
        placed = hold(alice, inbox)
        assert shown() == [True] * 3
        alice.post(f"/v1/holds/{placed['id']}/release", {"reason": "Settled"})
        assert shown() == [False] * 3
        assert alice.post("/v1/inboxes").json()["data"]["on_hold"] is False
        hold(alice.with_key(mode="live"), None)
        assert alice.post("/v1/inboxes").json()["data"]["on_hold"] is True
        agent = alice.with_key(inbox=inbox, permissions=["inboxes:read"])
        assert agent.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["on_hold"] is True


class TestExpiry:
    def test_it_ends_the_inbox_and_purges_it_once_released(self, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60, purge_on_expiry=True)
        deliver(mail(Subject="Evidence"), inbox)
        placed = hold(alice, inbox)
        with time_machine.travel(timezone.now() + timedelta(minutes=2)):
            assert sweep_expired() == (1, 0)
            assert sweep_expired() == (0, 0)
            shown = alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]
            assert (shown["status"], shown["message_count"]) == ("deleted", 1)
            assert "hold.enforced" not in acts(inbox)
            alice.post(f"/v1/holds/{placed['id']}/release", {"reason": "Settled"})
            assert sweep_expired() == (0, 1)
        assert not Message.objects.filter(inbox=inbox).exists()

    def test_those_behind_it_are_purged(self, alice: Caller) -> None:
        held = [alice.create_inbox(expires_in=60, purge_on_expiry=True) for _ in range(3)]
        free = alice.create_inbox(expires_in=61, purge_on_expiry=True)
        for inbox in held:
            hold(alice, inbox)
        with time_machine.travel(timezone.now() + timedelta(minutes=2)):
            assert sweep_expired(seconds=0) == (4, 1)
        assert Inbox.objects.get(purged_at__isnull=False) == free


class TestAsking:
    def test_it_names_those_in_force(self, alice: Caller, inbox: Inbox) -> None:
        with acting_for_everybody("test"):
            other = alice.create_inbox()
            own = place(alice.account, inbox=inbox, **CASE)
            assert held_among(alice.account.pk, [inbox.pk, other.pk]) == {inbox.pk: [own]}
            of_all = place(alice.account, inbox=None, **CASE)
            assert list(holds_on(inbox)) == [own, of_all]
            assert held_among(alice.account.pk, [inbox.pk, other.pk]) == {inbox.pk: [of_all, own], other.pk: [of_all]}
