"""/v1/suppressions: the addresses that get no more mail."""

import csv
import io
from typing import Any

import pytest

from audit.models import AuditEntry
from delivery.models import Suppression
from inboxes.models import Inbox
from tests.cast import Caller

PATH = "/v1/suppressions"


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox()


def add(caller: Caller, address: str = "ann@shop.example", **body: Any) -> dict[str, Any]:
    answer = caller.post(PATH, {"address": address, **body})
    assert answer.status_code == 201, answer.content
    return dict(answer.json()["data"])


def addresses(caller: Caller, **query: Any) -> list[str]:
    answer = caller.get(PATH, **query)
    assert answer.status_code == 200, answer.content
    return sorted(entry["address"] for entry in answer.json()["data"])


class TestAdding:
    def test_it_says_what_and_why_and_who(self, alice: Caller, inbox: Inbox) -> None:
        entry = add(alice, "Ann+News@Shop.Example", inbox_id=inbox.pk, reason="She called.")
        assert entry["address"] == "ann@shop.example"
        assert (entry["scope"], entry["cause"], entry["reason"], entry["expires_at"]) == (
            "inbox",
            "manual",
            "She called.",
            None,
        )
        assert entry["created_by"]["name"] == "Alice"
        trail = AuditEntry.objects.get(act="suppression.added")
        assert (trail.actor_name, trail.inbox_id, trail.object_repr) == ("Alice", inbox.pk, "ann@shop.example")

    def test_the_same_again_is_the_first_one(self, alice: Caller) -> None:
        first = add(alice)
        answer = alice.post(PATH, {"address": "ANN@shop.example"})
        assert (answer.status_code, answer.json()["data"]["id"]) == (200, first["id"])
        assert AuditEntry.objects.filter(act="suppression.added").count() == 1

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "address"),
            ({"address": "nobody"}, "address"),
            ({"address": "bounce@simulator.mailbot.localhost"}, "address"),
            ({"address": "ann@shop.example", "inbox_id": "INBOX", "domain": "a.example"}, "domain"),
            ({"address": "ann@shop.example", "domain": "a b"}, "domain"),
            ({"address": "ann@shop.example", "cause": "whim"}, "cause"),
            ({"address": "ann@shop.example", "expires_at": "soon"}, "expires_at"),
            ({"address": "ann@shop.example", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
            ({"address": "ann@shop.example", "adress": "x"}, "adress"),
        ],
    )
    def test_it_names_what_is_wrong(self, alice: Caller, inbox: Inbox, body: dict[str, Any], field: str) -> None:
        body = {name: inbox.pk if value == "INBOX" else value for name, value in body.items()}
        answer = alice.post(PATH, body)
        assert answer.status_code == 400
        assert field in answer.json()["error"]["fields"]
        assert field in alice.put(PATH, body).json()["error"]["fields"]
        assert not Suppression.objects.exists()

    def test_a_deleted_inbox_sends_nothing_anyway(self, alice: Caller, inbox: Inbox) -> None:
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert alice.post(PATH, {"address": "ann@shop.example", "inbox_id": inbox.pk}).status_code == 410


class TestSetting:
    def test_it_is_safe_to_repeat_and_changes_what_is_there(self, alice: Caller) -> None:
        body = {"address": "ann@shop.example", "cause": "complaint", "reason": "first"}
        first = alice.put(PATH, body)
        again = alice.put(PATH, body)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["data"] == again.json()["data"]
        changed = alice.put(PATH, {**body, "cause": "manual", "expires_at": "2099-01-01T00:00:00Z"}).json()["data"]
        assert (changed["id"], changed["cause"], changed["expires_at"]) == (
            first.json()["data"]["id"],
            "manual",
            "2099-01-01T00:00:00.000Z",
        )
        assert list(AuditEntry.objects.filter(act__startswith="suppression").values_list("act", flat=True)) == [
            "suppression.changed",
            "suppression.added",
        ]
        entry = AuditEntry.objects.get(act="suppression.changed")
        assert (entry.actor_name, entry.changes["cause"]) == ("Alice", ["complaint", "manual"])


class TestListing:
    def test_it_filters(self, alice: Caller, inbox: Inbox) -> None:
        add(alice, "inbox@shop.example", inbox_id=inbox.pk)
        add(alice, "domain@shop.example", domain=inbox.domain, cause="complaint")
        add(alice, "account@shop.example")
        add(alice.with_key(mode="live"), "live@shop.example")
        assert addresses(alice) == ["account@shop.example", "domain@shop.example", "inbox@shop.example"]
        assert addresses(alice, inbox_id=inbox.pk) == ["inbox@shop.example"]
        assert addresses(alice, domain=inbox.domain.upper()) == ["domain@shop.example"]
        assert addresses(alice, cause="complaint") == ["domain@shop.example"]
        assert addresses(alice, address="Inbox+x@SHOP.example") == ["inbox@shop.example"]
        assert [addresses(alice, scope=scope)[0] for scope in ("inbox", "domain", "account")] == [
            "inbox@shop.example",
            "domain@shop.example",
            "account@shop.example",
        ]
        assert addresses(alice, to="2020-01-01T00:00:00Z") == []
        assert len(addresses(alice, **{"from": "2020-01-01T00:00:00Z"})) == 3

    def test_it_pages_by_cursor(self, alice: Caller) -> None:
        for number in range(3):
            add(alice, f"a{number}@shop.example")
        first = alice.get(PATH, limit=2).json()
        second = alice.get(PATH, limit=2, cursor=first["meta"]["next_cursor"]).json()
        assert [entry["address"] for entry in first["data"] + second["data"]] == [
            f"a{number}@shop.example" for number in (2, 1, 0)
        ]


class TestLifting:
    def test_it_says_who_and_why(self, alice: Caller) -> None:
        entry = add(alice)
        answer = alice.delete(f"{PATH}/{entry['id']}?reason=She+asked")
        assert answer.json()["data"] == entry
        assert addresses(alice) == []
        trail = AuditEntry.objects.get(act="suppression.removed")
        assert (trail.changes["reason"], trail.changes["cause"]) == ("She asked", "manual")
        assert alice.delete(f"{PATH}/{entry['id']}").status_code == 404

    def test_it_goes_by_address_and_scope(self, alice: Caller, inbox: Inbox) -> None:
        add(alice)
        add(alice, inbox_id=inbox.pk)
        assert alice.delete(f"{PATH}?address=Ann@shop.example&inbox_id={inbox.pk}").json()["data"]["scope"] == "inbox"
        assert alice.delete(f"{PATH}?address=ann@shop.example&inbox_id={inbox.pk}").status_code == 404
        assert alice.delete(f"{PATH}?address=ann@shop.example").json()["data"]["scope"] == "account"


class TestRights:
    def test_a_stranger_sees_and_lifts_nothing(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        entry = add(alice, inbox_id=inbox.pk)
        assert addresses(charlie) == []
        assert charlie.get(f"{PATH}/{entry['id']}").status_code == 404
        assert charlie.delete(f"{PATH}/{entry['id']}").status_code == 404
        assert charlie.post(PATH, {"address": "a@b.example", "inbox_id": inbox.pk}).status_code == 404
        assert charlie.get(PATH, inbox_id=inbox.pk).status_code == 404

    def test_a_key_of_one_inbox_sees_what_it_is_under_and_changes_its_own(self, alice: Caller, inbox: Inbox) -> None:
        limited = alice.with_key(inbox=inbox)
        other = alice.create_inbox()
        wide = add(alice, "wide@shop.example")
        add(alice, "domain@shop.example", domain=inbox.domain)
        add(alice, "elsewhere@shop.example", domain="elsewhere.example")
        add(alice, "other@shop.example", inbox_id=other.pk)
        own = add(limited, "own@shop.example", inbox_id=inbox.pk)
        assert addresses(limited) == ["domain@shop.example", "own@shop.example", "wide@shop.example"]
        assert limited.post(PATH, {"address": "a@shop.example"}).status_code == 403
        assert limited.post(PATH, {"address": "a@shop.example", "domain": inbox.domain}).status_code == 403
        assert limited.post(f"{PATH}/import", {"content": "a@shop.example"}).status_code == 403
        assert limited.delete(f"{PATH}/{wide['id']}").status_code == 403
        assert limited.delete(f"{PATH}/{own['id']}").status_code == 200
        assert limited.post(PATH, {"address": "a@shop.example", "inbox_id": other.pk}).status_code == 404

    def test_reading_and_writing_are_rights_of_their_own(self, alice: Caller) -> None:
        reader = alice.with_key(permissions=["suppressions:read"])
        writer = alice.with_key(permissions=["suppressions:write"])
        assert (reader.get(PATH).status_code, reader.post(PATH, {"address": "a@b.example"}).status_code) == (200, 403)
        assert (writer.get(PATH).status_code, writer.put(PATH, {"address": "a@b.example"}).status_code) == (403, 201)


class TestChecking:
    def test_it_says_which_entry_stops_it(self, alice: Caller, inbox: Inbox) -> None:
        add(alice)
        own = add(alice, inbox_id=inbox.pk)
        told = alice.get(f"{PATH}/check", address="Ann+x@shop.example", inbox_id=inbox.pk).json()["data"]
        assert (told["suppressed"], told["suppression"]["id"]) == (True, own["id"])
        told = alice.get(f"{PATH}/check", address="ben@shop.example", inbox_id=inbox.pk).json()["data"]
        assert (told["suppressed"], told["suppression"]) == (False, None)


class TestImporting:
    def run(self, caller: Caller, **body: Any) -> dict[str, Any]:
        answer = caller.post(f"{PATH}/import", body)
        assert answer.status_code == 200, answer.content
        return dict(answer.json()["data"])

    def test_it_takes_csv_and_names_what_is_wrong(self, alice: Caller) -> None:
        add(alice, "known@shop.example")
        content = (
            "Email;Cause;Reason;Expires_At\r\n"
            "Ann@Shop.example;spam complaint;moved away;\r\n"
            "nobody;;;\r\n"
            "known@shop.example;;;\r\n"
            '"ben@shop.example";;"a;b";2099-01-01T00:00:00Z\r\n'
            "ann@shop.example;;;\r\n"
            "eve@shop.example;whim;;\r\n"
        )
        told = self.run(alice, content=content)
        assert (told["total"], told["added"], told["known"], told["invalid"]) == (6, 2, 2, 2)
        assert [(line["line"], line["value"]) for line in told["refused"]] == [(3, "nobody"), (7, "eve@shop.example")]
        found = {row.address: (row.cause, row.reason) for row in Suppression.objects.all()}
        assert found["ann@shop.example"] == ("complaint", "moved away")
        assert found["ben@shop.example"] == ("import", "a;b")
        trail = AuditEntry.objects.get(act="suppression.imported")
        assert trail.changes["added"] == 2

    @pytest.mark.parametrize(
        "content",
        [
            "\ufeff# left by the old system\nann@shop.example\n\nben@shop.example\n",
            '["ann@shop.example", {"email": "ben@shop.example"}]',
            '{"address": "ann@shop.example"}\n{"address": "ben@shop.example"}\n',
            "address\nann@shop.example\nben@shop.example",
        ],
    )
    def test_it_takes_other_files(self, alice: Caller, inbox: Inbox, content: str) -> None:
        assert self.run(alice, content=content, inbox_id=inbox.pk)["added"] == 2
        assert addresses(alice, inbox_id=inbox.pk) == ["ann@shop.example", "ben@shop.example"]

    def test_it_takes_entries_and_can_be_repeated(self, alice: Caller) -> None:
        entries = ["ann@shop.example", {"address": "ben@shop.example", "cause": "unsubscribe"}]
        assert self.run(alice, entries=entries)["added"] == 2
        assert self.run(alice, entries=entries) == {"total": 2, "added": 0, "known": 2, "invalid": 0, "refused": []}

    def test_a_stronger_cause_for_one_that_is_there_is_in_the_trail(self, alice: Caller) -> None:
        self.run(alice, entries=["ann@shop.example", "ben@shop.example"])
        self.run(alice, entries=[{"address": "ann@shop.example", "cause": "complaint"}, "ben@shop.example"])
        (entry,) = alice.get("/v1/audit-log", action="suppression.changed").json()["data"]
        assert entry["changes"]["cause"] == ["import", "complaint"]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"content": "a@b.example", "entries": []},
            {"content": '["ann@shop.example"', "format": "json"},
            {"entries": "ann@shop.example"},
            {"entries": ["a@b.example"] * 10_001},
            {"content": "a@b.example\n" * 10_001},
            {"content": "a@b.example", "expires_at": "2020-01-01T00:00:00Z"},
        ],
    )
    def test_it_refuses_what_it_cannot_read(self, alice: Caller, body: dict[str, Any]) -> None:
        assert alice.post(f"{PATH}/import", body).status_code == 400
        assert not Suppression.objects.exists()

    def test_it_names_lines_whose_time_is_over(self, alice: Caller) -> None:
        told = self.run(alice, entries=[{"address": "ann@shop.example", "expires_at": "2020-01-01T00:00:00Z"}])
        assert (told["added"], told["invalid"]) == (0, 1)
        assert "past" in told["refused"][0]["error"]

    def test_what_stands_in_it_is_told_whatever_it_is(self, alice: Caller) -> None:
        """Also to who asks again with the same Idempotency-Key: answers are kept."""
        body = {"entries": ["a\0b@shop.example", "=1+1", {"address": ["x"], "scope": {}, "reason": "\0"}, 7, None]}
        first = alice.post(f"{PATH}/import", body, headers={"Idempotency-Key": "one"})
        again = alice.post(f"{PATH}/import", body, headers={"Idempotency-Key": "one"})
        assert (first.status_code, first.json()["data"]["invalid"]) == (200, 5)
        assert again.json() == first.json()

    def test_a_line_of_an_export_keeps_its_scope(self, alice: Caller, inbox: Inbox) -> None:
        add(alice, "inbox@shop.example", inbox_id=inbox.pk, cause="complaint")
        add(alice, "domain@shop.example", domain=inbox.domain)
        add(alice, "account@shop.example")
        add(alice, "inbox@shop.example")  # the same address for the account, too
        exported = alice.get(f"{PATH}/export").content.decode()
        before = self.scopes()
        Suppression.objects.all().delete()
        told = self.run(alice, content=exported)
        assert (told["total"], told["added"], told["invalid"]) == (4, 4, 0)
        assert self.scopes() == before
        trail = AuditEntry.objects.filter(act="suppression.imported")
        assert {(entry.inbox_id, entry.changes["scope"], entry.changes["added"]) for entry in trail} == {
            ("", "account", 4),
            ("", "domain", 1),
            (inbox.pk, "inbox", 1),
        }

    def test_an_import_that_says_its_scope_goes_by_that(self, alice: Caller, inbox: Inbox) -> None:
        add(alice, "ann@shop.example")
        exported = alice.get(f"{PATH}/export").content.decode()
        Suppression.objects.all().delete()
        self.run(alice, content=exported, inbox_id=inbox.pk)
        assert self.scopes() == {("ann@shop.example", inbox.pk, "", "manual")}

    def test_no_line_reaches_an_inbox_that_is_not_the_keys(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        lines = [
            {"address": "a@shop.example", "scope": "inbox", "inbox_id": pk}
            for pk in (charlie.create_inbox().pk, alice.with_key(mode="live").create_inbox().pk, "inbox_\0", "", "%s")
        ]
        lines += [{"address": "a@shop.example", "scope": "domain", "domain": "a b"}]
        lines += [{"address": "a@shop.example", "scope": "everybody"}]
        told = self.run(alice, entries=lines)
        assert (told["added"], told["invalid"]) == (0, len(lines))
        limited = alice.with_key(inbox=inbox)
        answer = limited.post(f"{PATH}/import", {"entries": [{**lines[0], "inbox_id": inbox.pk}]})
        assert answer.status_code == 403
        assert not Suppression.objects.exists()

    def scopes(self) -> set[tuple[str, str, str, str]]:
        return {(row.address, row.inbox_id or "", row.domain, row.cause) for row in Suppression.objects.all()}

    def test_it_takes_ten_thousand(self, alice: Caller) -> None:
        content = "".join(f"person{number}@shop.example\n" for number in range(10_000))
        assert self.run(alice, content=content)["added"] == 10_000
        assert Suppression.objects.count() == 10_000


class TestExporting:
    def test_it_gives_csv_that_can_be_imported_and_calculates_nothing(self, alice: Caller, charlie: Caller) -> None:
        add(alice, "=cmd@shop.example", reason="=1+1", cause="complaint")
        add(charlie, "theirs@shop.example")
        answer = alice.get(f"{PATH}/export", cause="complaint")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        (row,) = csv.DictReader(io.StringIO(answer.content.decode()))
        assert (row["address"], row["reason"]) == ("'=cmd@shop.example", "'=1+1")
        Suppression.objects.all().delete()
        alice.post(f"{PATH}/import", {"content": answer.content.decode()})
        assert [(e.address, e.reason, e.cause) for e in Suppression.objects.all()] == [
            ("=cmd@shop.example", "=1+1", "complaint")
        ]
