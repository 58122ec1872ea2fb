"""/v1/retention-classes, and the class of an inbox."""

from typing import Any

import pytest

from audit.models import AuditEntry
from inboxes.models import Inbox, RetentionClass
from inboxes.retention_classes import Periods, periods_among, periods_of
from tests.cast import Caller

CLASSES = "/v1/retention-classes"


def make(caller: Caller, name: str = "Support", **fields: Any) -> dict[str, Any]:
    answer = caller.post(CLASSES, {"name": name, **fields})
    assert answer.status_code == 201, answer.content
    return dict(answer.json()["data"])


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


class TestClasses:
    def test_it_shows_what_was_made(self, live: Caller) -> None:
        made = make(live, content_days=365, raw_days=90, is_default=True)
        assert (made["content_days"], made["raw_days"], made["events_days"], made["audit_days"]) == (
            365,
            90,
            None,
            None,
        )
        assert live.get(f"{CLASSES}/{made['id']}").json()["data"] == made
        assert live.get(CLASSES).json()["data"] == [made]
        entry = AuditEntry.objects.get(object_pk=made["id"])
        assert (entry.act, entry.actor_id) == ("retention.class_created", live.key.pk)

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"audit_days": 29}, "audit_days"),
            ({"content_days": 0}, "content_days"),
            ({"raw_days": "long"}, "raw_days"),
            ({"events_days": 36_501}, "events_days"),
            ({"years": 3}, "years"),
        ],
    )
    def test_it_says_what_cannot_be(self, live: Caller, fields: dict[str, Any], wrong: str) -> None:
        answer = live.post(CLASSES, {"name": "Support", **fields})
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, [wrong])

    def test_a_name_is_taken_once_in_an_account(self, live: Caller, charlie: Caller) -> None:
        make(live)
        answer = live.post(CLASSES, {"name": "Support"})
        assert answer.json()["error"]["fields"] == {"name": ["A class of this account is called “Support” already."]}
        make(charlie)

    def test_put_replaces_and_patch_changes(self, live: Caller) -> None:
        made = make(live, content_days=365, raw_days=90)
        path = f"{CLASSES}/{made['id']}"
        changed = live.patch(path, {"raw_days": None, "events_days": 10}).json()["data"]
        assert (changed["content_days"], changed["raw_days"], changed["events_days"]) == (365, None, 10)
        replaced = live.put(path, {"name": "Short", "raw_days": 5}).json()["data"]
        assert (replaced["name"], replaced["content_days"], replaced["raw_days"]) == ("Short", None, 5)
        acts = AuditEntry.objects.filter(object_pk=made["id"]).order_by("pk").values_list("act", flat=True)
        assert list(acts) == ["retention.class_created", "retention.class_changed", "retention.class_changed"]

    def test_there_is_one_default(self, live: Caller) -> None:
        first = make(live, "First", is_default=True)
        make(live, "Second", is_default=True)
        assert list(RetentionClass.objects.filter(is_default=True).values_list("name", flat=True)) == ["Second"]
        live.patch(f"{CLASSES}/{first['id']}", {"is_default": True})
        assert list(RetentionClass.objects.filter(is_default=True).values_list("name", flat=True)) == ["First"]

    def test_a_test_key_changes_none_that_live_mail_depends_on(self, alice: Caller, live: Caller) -> None:
        assert alice.post(CLASSES, {"name": "Default", "is_default": True}).status_code == 403
        own, default, used = make(alice, "Own"), make(live, "Default", is_default=True), make(live, "Used")
        live.create_inbox(retention_class_id=used["id"])
        assert alice.patch(f"{CLASSES}/{own['id']}", {"content_days": 1}).status_code == 200
        assert alice.patch(f"{CLASSES}/{own['id']}", {"is_default": True}).status_code == 403
        for kept in (default, used):
            assert alice.patch(f"{CLASSES}/{kept['id']}", {"content_days": 1}).status_code == 403
            assert alice.delete(f"{CLASSES}/{kept['id']}").status_code == 403
            assert alice.get(f"{CLASSES}/{kept['id']}").status_code == 200

    def test_a_key_of_some_inboxes_sees_none(self, alice: Caller) -> None:
        made = make(alice)
        limited = alice.with_key(inbox=alice.create_inbox())
        assert limited.get(CLASSES).json()["data"] == []
        assert limited.get(f"{CLASSES}/{made['id']}").status_code == 404
        assert limited.post(CLASSES, {"name": "Mine"}).status_code == 403

    def test_a_stranger_reaches_none(self, alice: Caller, charlie: Caller) -> None:
        made = make(alice)
        for answer in (
            charlie.get(f"{CLASSES}/{made['id']}"),
            charlie.patch(f"{CLASSES}/{made['id']}", {"content_days": 1}),
            charlie.delete(f"{CLASSES}/{made['id']}"),
        ):
            assert answer.status_code == 404

    def test_one_that_inboxes_name_is_not_deleted(self, alice: Caller) -> None:
        made = make(alice)
        inbox = alice.create_inbox(retention_class_id=made["id"])
        alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
        answer = alice.delete(f"{CLASSES}/{made['id']}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
        assert alice.patch(f"/v1/inboxes/{inbox.pk}", {"retention_class_id": None}).status_code == 200
        assert alice.delete(f"{CLASSES}/{made['id']}").json()["data"] == made
        assert not RetentionClass.objects.exists()


class TestOfInboxes:
    def test_it_is_chosen_when_made_and_later(self, alice: Caller) -> None:
        long, short = make(alice, "Long"), make(alice, "Short")
        inbox = alice.create_inbox(retention_class_id=long["id"])
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["retention_class_id"] == long["id"]
        changed = alice.patch(f"/v1/inboxes/{inbox.pk}", {"retention_class_id": short["id"]}).json()["data"]
        assert changed["retention_class_id"] == short["id"]
        entry = AuditEntry.objects.filter(act="inbox.updated", inbox_id=inbox.pk).latest("pk")
        assert "retention_class" in entry.changes

    def test_it_needs_the_right(self, alice: Caller) -> None:
        made, inbox = make(alice), alice.create_inbox()
        agent = alice.with_key(permissions=["inboxes:create", "inboxes:read", "inboxes:write"])
        answer = agent.patch(f"/v1/inboxes/{inbox.pk}", {"retention_class_id": made["id"]})
        assert answer.status_code == 403
        assert "retention:manage" in answer.json()["error"]["message"]
        assert agent.post("/v1/inboxes", {"retention_class_id": made["id"]}).status_code == 403
        assert agent.patch(f"/v1/inboxes/{inbox.pk}", {"display_name": "Mine"}).status_code == 200
        assert Inbox.objects.get(pk=inbox.pk).retention_class is None

    def test_another_accounts_class_is_not_found(self, alice: Caller, charlie: Caller) -> None:
        theirs, inbox = make(charlie), alice.create_inbox()
        answer = alice.patch(f"/v1/inboxes/{inbox.pk}", {"retention_class_id": theirs["id"]})
        assert answer.status_code == 404
        assert alice.post("/v1/inboxes", {"retention_class_id": theirs["id"]}).status_code == 404

    def test_of_a_deleted_inbox_it_can_be_changed_and_nothing_else(self, alice: Caller) -> None:
        made, inbox = make(alice), alice.create_inbox()
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        path = f"/v1/inboxes/{inbox.pk}"
        assert alice.patch(path, {"retention_class_id": made["id"], "display_name": "x"}).status_code == 410
        assert alice.patch(path, {"retention_class_id": made["id"]}).status_code == 200

    def test_its_periods_are_its_classs_or_the_defaults_or_the_servers(
        self, alice: Caller, live: Caller, charlie: Caller, settings: Any
    ) -> None:
        settings.RAW_RETENTION_DAYS = 90
        own, none, theirs = alice.create_inbox(), alice.create_inbox(), charlie.create_inbox()
        assert periods_of(none) == Periods(None, 90, None, None)
        make(live, "Default", content_days=10, is_default=True)
        made = make(live, "Own", raw_days=5, audit_days=30)
        alice.patch(f"/v1/inboxes/{own.pk}", {"retention_class_id": made["id"]})
        own.refresh_from_db()
        assert periods_of(own) == Periods(None, 5, None, 30)
        assert periods_of(none) == Periods(10, None, None, None)
        assert periods_of(theirs) == Periods(None, 90, None, None)
        together = periods_among([own, none, theirs])
        assert together == {inbox.pk: periods_of(inbox) for inbox in (own, none, theirs)}
