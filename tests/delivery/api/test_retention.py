"""GET /v1/inboxes/{inbox_id}/retention."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from audit.sealing import seal_all
from delivery import retention_sweep
from delivery.raw_mover import move_batch
from inboxes.holds import place, release
from inboxes.models import Inbox, RetentionClass
from inboxes.retention_classes import make_class
from tests.cast import Caller
from tests.mailing import deliver, mail
from tests.stores import Store
from threads.models import Message

CASE = {"matter": "Smith v. Shop", "reason": "A claim"}
NOTHING = {name: {"count": 0, "is_more": False} for name in ("content", "raw", "events", "audit")}


@pytest.fixture
def inbox(alice: Caller, store: Store) -> Inbox:
    return alice.create_inbox()


@pytest.fixture(autouse=True)
def servers_own(settings: Any) -> None:
    settings.RAW_RETENTION_DAYS = 0


def keep(inbox: Inbox, **days: int) -> RetentionClass:
    retention = make_class(inbox.account, {"name": "Short", **days})
    Inbox.objects.filter(pk=inbox.pk).update(retention_class=retention)
    return retention


def path(inbox: Inbox) -> str:
    return f"/v1/inboxes/{inbox.pk}/retention"


def shown(caller: Caller, inbox: Inbox) -> dict[str, Any]:
    answer = caller.get(path(inbox))
    assert answer.status_code == 200, answer.content
    return dict(answer.json()["data"])


def counts(caller: Caller, inbox: Inbox) -> dict[str, int]:
    return {name: over["count"] for name, over in shown(caller, inbox)["over"].items()}


class TestWhichCounts:
    def test_without_a_class_it_is_as_the_server_is_set(self, alice: Caller, inbox: Inbox, settings: Any) -> None:
        settings.RAW_RETENTION_DAYS = 90
        assert shown(alice, inbox) == {
            "inbox_id": inbox.pk,
            "retention_class_id": None,
            "source": "server",
            "content_days": None,
            "raw_days": 90,
            "events_days": None,
            "audit_days": None,
            "over": NOTHING,
            "next_sweep_at": None,
            "holds": [],
        }

    def test_its_own_goes_before_the_accounts(self, alice: Caller, inbox: Inbox) -> None:
        default = make_class(alice.account, {"name": "Default", "content_days": 365, "is_default": True})
        found = shown(alice, inbox)
        assert (found["source"], found["retention_class_id"], found["content_days"]) == ("account", default.pk, 365)
        own = keep(inbox, content_days=30, audit_days=60)
        found = shown(alice, inbox)
        assert (found["source"], found["retention_class_id"]) == ("inbox", own.pk)
        assert (found["content_days"], found["raw_days"], found["audit_days"]) == (30, None, 60)


class TestOver:
    def test_it_counts_what_the_next_sweep_removes(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30, raw_days=20, events_days=30, audit_days=30)
        other = alice.create_inbox()
        for one in (inbox, inbox, other):
            deliver(mail(), one)
        while move_batch(older_than=timedelta()).goes_on:
            pass
        seal_all()
        assert shown(alice, inbox)["over"] == NOTHING
        with time_machine.travel(timezone.now() + timedelta(days=25)):
            assert counts(alice, inbox) == {"content": 0, "raw": 2, "events": 0, "audit": 0}
        with time_machine.travel(timezone.now() + timedelta(days=31)):
            found = counts(alice, inbox)
            assert (found["content"], found["raw"]) == (2, 2)
            assert Message.objects.filter(inbox=inbox).count() == 2
            done = retention_sweep.sweep()
            assert (done["content"], done["events"]) == (found["content"], found["events"])
            assert done["audit"] >= found["audit"] > 0
            after = counts(alice, inbox)
            assert (after["content"], after["raw"], after["audit"]) == (0, 0, 0)

    def test_it_counts_no_further_than_it_has_to(
        self, alice: Caller, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keep(inbox, content_days=30)
        for _ in range(3):
            deliver(mail(), inbox)
        limited = retention_sweep.preview
        for most, told in ((2, (2, True)), (3, (3, False))):
            monkeypatch.setattr("delivery.api.retention.preview", lambda inbox, most=most: limited(inbox, most))
            with time_machine.travel(timezone.now() + timedelta(days=31)):
                over = shown(alice, inbox)["over"]["content"]
            assert (over["count"], over["is_more"]) == told

    def test_what_is_on_its_way_out_does_not_count(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=1)
        alice.send(inbox, send_at=(timezone.now() + timedelta(days=10)).isoformat())
        deliver(mail(), inbox)
        with time_machine.travel(timezone.now() + timedelta(days=2)):
            assert counts(alice, inbox)["content"] == 1

    def test_raw_mail_that_another_inbox_keeps_does_not_count(
        self, alice: Caller, charlie: Caller, inbox: Inbox
    ) -> None:
        theirs = charlie.create_inbox()
        keep(inbox, raw_days=20)
        deliver(mail(), inbox, theirs)
        deliver(mail(), inbox)
        move_batch(older_than=timedelta())
        with time_machine.travel(timezone.now() + timedelta(days=25)):
            assert counts(alice, inbox)["raw"] == 1
            keep(theirs, raw_days=10)
            assert counts(alice, inbox)["raw"] == 2

    def test_it_says_when_the_sweep_looks_next(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30)
        due = timezone.now() + timedelta(hours=3)
        Inbox.objects.filter(pk=inbox.pk).update(retention_due_at=due)
        told = shown(alice, inbox)["next_sweep_at"]
        assert told == f"{due:%Y-%m-%dT%H:%M:%S}.{due.microsecond // 1000:03}Z"


class TestHolds:
    @pytest.mark.parametrize("of_account", [False, True])
    def test_it_names_what_keeps_it(self, alice: Caller, inbox: Inbox, of_account: bool) -> None:
        keep(inbox, content_days=30)
        deliver(mail(), inbox)
        hold = place(alice.account, inbox=None if of_account else inbox, **CASE)
        with time_machine.travel(timezone.now() + timedelta(days=31)):
            found = shown(alice, inbox)
            named = {"id": hold.pk, "inbox_id": None if of_account else inbox.pk, "matter": "Smith v. Shop"}
            assert (found["holds"], found["next_sweep_at"]) == ([named], None)
            assert found["over"]["content"]["count"] == 1
            release(hold, reason="over")
            found = shown(alice, inbox)
            assert (found["holds"], found["next_sweep_at"] is None) == ([], False)


class TestWho:
    def test_a_team_mate_sees_it_and_a_stranger_does_not(
        self, alice: Caller, bob: Caller, charlie: Caller, inbox: Inbox
    ) -> None:
        assert bob.get(path(inbox)).status_code == 200
        assert charlie.get(path(inbox)).status_code == 404
        assert alice.with_key(mode="live").get(path(inbox)).status_code == 404

    def test_a_key_of_some_inboxes_sees_those(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30)
        place(alice.account, inbox=None, **CASE)
        limited = alice.with_key(inbox=inbox)
        assert shown(limited, inbox) == shown(alice, inbox)
        assert limited.get(path(alice.create_inbox())).status_code == 404

    def test_it_takes_the_right_to_read_retention_classes(self, alice: Caller, inbox: Inbox) -> None:
        assert alice.with_key(permissions=["inboxes:read", "holds:read"]).get(path(inbox)).status_code == 403
        assert alice.with_key(permissions=["retention:read"]).get(path(inbox)).status_code == 200

    def test_an_unknown_parameter_is_refused(self, alice: Caller, inbox: Inbox) -> None:
        assert alice.get(path(inbox), days=3).status_code == 400

    def test_a_deleted_inbox_has_one_too(self, alice: Caller, inbox: Inbox) -> None:
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert shown(alice, inbox)["source"] == "server"
