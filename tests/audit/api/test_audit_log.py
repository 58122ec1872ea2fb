"""GET /v1/audit-log"""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from audit.acts import names_of_acts
from audit.models import AppendOnlyError, AuditEntry
from audit.record import Act, record
from inboxes.keys import revoke_key
from inboxes.permissions import AGENT
from mailbot.lib.ids import id_at
from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail

PAGE = Path(__file__).parents[3] / "docs" / "api" / "audit-log.md"


class TestActions:
    @pytest.mark.one_profile
    def test_its_page_lists_each_once_and_no_other(self) -> None:
        table = PAGE.read_text("utf-8").split("| about | actions |\n|---|---|\n")[1].split("\n\n")[0]
        assert sorted(re.findall(r"`([a-z_]+\.[a-z_]+)`", table)) == names_of_acts()

    def test_it_takes_those_and_no_other(self, alice: Caller) -> None:
        assert alice.get("/v1/audit-log", action="inbox.paused").status_code == 200
        refused = alice.get("/v1/audit-log", action="inbox.painted")
        assert (refused.status_code, list(refused.json()["error"]["fields"])) == (400, ["action"])


class TestAuditLog:
    def test_it_tells_who_did_what_in_an_inbox(self, alice: Caller, bob: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="Help"), inbox)
        bob.post(
            f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/reply", {"body_text": "secret words"}
        )
        run_workers()
        alice.post(f"/v1/inboxes/{inbox.pk}/pause", {"reason": "lunch"})
        answer = alice.get("/v1/audit-log", inbox_id=inbox.pk)
        told = [
            (entry["action"], entry["actor"]["kind"], entry["actor"]["name"])
            for entry in reversed(answer.json()["data"])
        ]
        assert told == [
            ("inbox.created", "api_key", "Alice"),
            ("message.received", "anonymous", ""),
            ("message.listed", "api_key", "Alice"),
            ("message.queued", "api_key", "Bob"),
            ("message.sent", "system", "worker"),
            ("inbox.paused", "api_key", "Alice"),
        ]
        assert b"secret words" not in answer.content

    def test_an_id_is_of_the_time_of_its_entry(self, alice: Caller) -> None:
        """By what is registered, recorded and read: PostgreSQL keeps and finds them by it (audit.lookups)."""
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        alice.messages(inbox)
        entries = AuditEntry.objects.filter(account_id=alice.account.pk)
        for entry in entries:
            assert entry.public_id[:20] == id_at("audit", entry.timestamp)[:20], entry.act
        assert {entry.act for entry in entries} >= {"key.issued", "inbox.created", "message.received", "message.listed"}

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_its_pages_go_back_through_months_in_which_little_was_done(self, alice: Caller, limit: int) -> None:
        now = timezone.now()
        inbox = alice.create_inbox()
        for days in (1, 2, 20, 40, 41, 100, 190, 400):
            with time_machine.travel(now - timedelta(days=days)):
                record(Act.INBOX_PAUSED, inbox, account_id=alice.account.pk, inbox_id=inbox.pk, changes={"days": days})
        asked: dict[str, Any] = {"inbox_id": inbox.pk, "action": "inbox.paused", "limit": limit}
        found, page = [], alice.get("/v1/audit-log", **asked).json()
        while True:
            found += page["data"]
            assert page["meta"]["total"] == 8
            if page["meta"]["next_cursor"] is None:
                break
            page = alice.get("/v1/audit-log", **asked, cursor=page["meta"]["next_cursor"]).json()
        assert [entry["changes"]["days"] for entry in found] == [1, 2, 20, 40, 41, 100, 190, 400]
        by_number = [alice.get("/v1/audit-log", **asked, page=number).json()["data"] for number in range(1, 9)]
        assert [entry["id"] for entries in by_number for entry in entries] == [entry["id"] for entry in found]
        before = alice.get("/v1/audit-log", **asked, to=(now - timedelta(days=39)).isoformat()).json()["data"]
        assert [entry["changes"]["days"] for entry in before] == [40, 41, 100, 190, 400][:limit]

    @pytest.mark.parametrize("name", ["from", "to"])
    @pytest.mark.parametrize("when", ["0001-01-01T00:00:00Z", "1960-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
    def test_a_time_of_which_there_can_be_no_entry_is_a_time(self, alice: Caller, name: str, when: str) -> None:
        alice.create_inbox()
        found = alice.get("/v1/audit-log", **{name: when}).json()["data"]
        assert bool(found) == ((name == "from") == (when < "2000"))
        assert alice.get("/v1/audit-log/export", **{name: when}).status_code == 200

    def test_it_carries_the_id_of_the_request(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        answer = alice.client.post(
            f"/v1/inboxes/{inbox.pk}/pause",
            "{}",
            content_type="application/json",
            headers={"X-Request-Id": "trace-0123456789"},
        )
        assert answer.headers["X-Request-Id"] == "trace-0123456789"
        assert alice.get("/v1/audit-log", inbox_id=inbox.pk).json()["data"][0]["request_id"] == "trace-0123456789"

    def test_it_filters(self, alice: Caller, bob: Caller) -> None:
        inbox = alice.create_inbox()
        bob.post(f"/v1/inboxes/{inbox.pk}/pause")
        for query, expected in [
            ({"action": "inbox.paused"}, ["inbox.paused"]),
            ({"actor": bob.key.pk, "inbox_id": inbox.pk}, ["inbox.paused"]),
            ({"actor": "Bob"}, ["inbox.paused"]),
            ({"to": "2020-01-01T00:00:00Z"}, []),
        ]:
            assert [entry["action"] for entry in alice.get("/v1/audit-log", **query).json()["data"]] == expected

    def test_it_keeps_accounts_modes_and_inboxes_apart(self, alice: Caller, charlie: Caller) -> None:
        inbox = alice.create_inbox()
        assert charlie.get("/v1/audit-log", inbox_id=inbox.pk).json()["data"] == []
        assert alice.with_key(mode="live").get("/v1/audit-log", inbox_id=inbox.pk).json()["data"] == []
        limited = alice.with_key(inbox=alice.create_inbox())
        assert {entry["inbox_id"] for entry in limited.get("/v1/audit-log").json()["data"]} == {
            limited.key.sole_inbox_id
        }

    def test_test_and_live_keys_do_not_read_about_each_other(self, alice: Caller) -> None:
        live = alice.with_key(mode="live")
        for caller, stranger in ((alice, live), (live, alice)):
            other = stranger.with_key(mode=stranger.mode)
            stranger.patch(f"/v1/api-keys/{other.key.pk}", {"name": "Renamed"})
            stranger.delete(f"/v1/api-keys/{other.key.pk}")
            told = caller.get("/v1/audit-log").content.decode()
            assert other.key.pk not in told
            assert stranger.key.pk not in told
            assert caller.key.pk in told
            assert caller.get("/v1/audit-log", actor=stranger.key.pk).json()["data"] == []
            seen = {entry["action"] for entry in stranger.get("/v1/audit-log").json()["data"]}
            assert {"key.issued", "key.updated", "key.revoked"} <= seen

    def test_what_a_person_does_to_a_key_is_of_its_mode(self, alice: Caller) -> None:
        live = alice.with_key(mode="live")
        revoke_key(alice.with_key().key)
        assert "key.revoked" in str(alice.get("/v1/audit-log").json())
        assert "key.revoked" not in str(live.get("/v1/audit-log").json())

    def test_what_concerns_the_account_is_for_both_modes_but_for_no_limited_key(self, alice: Caller) -> None:
        alice.account.name = "Acme Ltd"
        alice.account.save()
        pair = {alice.create_inbox().pk, alice.create_inbox().pk}
        limited = alice.with_key(inbox_ids=sorted(pair))
        for caller, sees in ((alice, True), (alice.with_key(mode="live"), True), (limited, False)):
            assert ("account.updated" in str(caller.get("/v1/audit-log").json())) is sees
        assert {entry["inbox_id"] for entry in limited.get("/v1/audit-log").json()["data"]} == pair

    def test_it_takes_the_right_to_read_it(self, alice: Caller) -> None:
        assert alice.with_key(permissions=AGENT).get("/v1/audit-log").status_code == 403

    def test_it_records_keys_without_their_secrets(self, alice: Caller) -> None:
        other = alice.with_key()
        revoke_key(other.key)
        entries = alice.get("/v1/audit-log").json()["data"]
        assert [entry["action"] for entry in entries][:2] == ["key.revoked", "key.issued"]
        assert other.secret not in str(entries)

    def test_it_can_only_grow(self, alice: Caller) -> None:
        entry = AuditEntry.objects.all()[0]
        for attempt in (
            entry.save,
            entry.delete,
            AuditEntry.objects.all().delete,
            lambda: AuditEntry.objects.update(act="x"),
        ):
            with pytest.raises(AppendOnlyError):
                attempt()
