"""/v1/lists/{direction}/{effect}, its entries, and /v1/lists/check"""

from typing import Any

import pytest

from audit.models import AuditEntry
from inboxes import lists
from inboxes.models import AddressRule, Inbox
from inboxes.permissions import LISTS_READ
from tests.cast import Caller

BLOCKED = "/v1/lists/receive/block"
ALLOWED = "/v1/lists/receive/allow"
CHECK = "/v1/lists/check"


def patterns(caller: Caller, path: str = BLOCKED, **query: str) -> list[str]:
    answer = caller.get(path, **query)
    assert answer.status_code == 200, answer.content
    return [entry["pattern"] for entry in answer.json()["data"]]


def add(caller: Caller, pattern: str, path: str = BLOCKED, **body: Any) -> dict[str, Any]:
    answer = caller.post(path, {"pattern": pattern, **body})
    assert answer.status_code == 201, answer.content
    return dict(answer.json()["data"])


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox()


@pytest.fixture
def limited(alice: Caller, inbox: Inbox) -> Caller:
    """A key of Alice's for one inbox."""
    return alice.with_key(inbox=inbox)


class TestAdd:
    def test_it_adds_to_the_list_of_the_account(self, alice: Caller) -> None:
        entry = add(alice, "Ann+news@Example.COM", note="phishing")
        assert entry | {"id": "", "created_at": ""} == {
            "id": "", "account_id": alice.account.pk, "inbox_id": None, "level": "account", "mode": "test",
            "direction": "receive", "effect": "block", "pattern": "ann@example.com", "note": "phishing",
            "created_by": {"kind": "api_key", "id": alice.key.pk, "name": "Alice"}, "created_at": "",
        }  # fmt: skip
        assert patterns(alice) == ["ann@example.com"]
        assert alice.get(f"{BLOCKED}/{entry['id']}").json()["data"] == entry

    def test_it_adds_to_the_list_of_an_inbox(self, alice: Caller, inbox: Inbox) -> None:
        entry = add(alice, "bücher.example", inbox_id=inbox.pk)
        assert (entry["inbox_id"], entry["level"], entry["pattern"]) == (inbox.pk, "inbox", "xn--bcher-kva.example")

    @pytest.mark.parametrize("direction", ["send", "receive", "reply"])
    @pytest.mark.parametrize("effect", ["allow", "block"])
    def test_it_has_six_lists_that_know_nothing_of_each_other(self, alice: Caller, direction: str, effect: str) -> None:
        path = f"/v1/lists/{direction}/{effect}"
        add(alice, "example.com", path)
        assert patterns(alice, path) == ["example.com"]
        assert AddressRule.objects.get().direction == direction
        every = [f"/v1/lists/{d}/{e}" for d in ("send", "receive", "reply") for e in ("allow", "block")]
        assert sum(len(patterns(alice, one)) for one in every) == 1

    def test_it_answers_with_the_entry_that_is_there(self, alice: Caller, inbox: Inbox) -> None:
        entry = add(alice, "example.com", note="first")
        answer = alice.post(BLOCKED, {"domain": "EXAMPLE.com.", "note": "second"})
        assert (answer.status_code, answer.json()["data"]) == (200, entry)
        add(alice, "example.com", inbox_id=inbox.pk)
        assert alice.post(BLOCKED, {"pattern": "example.com", "inbox_id": inbox.pk}).status_code == 200
        assert AddressRule.objects.count() == 2

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "pattern"),
            ({"pattern": "a.com", "domain": "a.com"}, "pattern"),
            ({"pattern": ""}, "pattern"),
            ({"pattern": "*.example.com"}, "pattern"),
            ({"pattern": "a\0b@x.com"}, "pattern"),
            ({"pattern": "x" * 1000}, "pattern"),
            ({"pattern": ["a.com"]}, "pattern"),
            ({"address": "example.com"}, "address"),
            ({"domain": "ann@example.com"}, "domain"),
            ({"domain": "*"}, "domain"),
            ({"pattern": "a.com", "note": "x" * 501}, "note"),
            ({"pattern": "a.com", "inbox": "x"}, "inbox"),
        ],
    )
    def test_it_says_what_is_wrong(self, alice: Caller, body: dict[str, Any], field: str) -> None:
        answer = alice.post(BLOCKED, body)
        assert answer.status_code == 400
        assert field in answer.json()["error"]["fields"]
        assert not AddressRule.objects.exists()

    def test_it_has_room_for_so_many(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lists, "MAX_ENTRIES", 1)
        add(alice, "a.com")
        assert alice.post(BLOCKED, {"pattern": "b.com"}).status_code == 409
        assert alice.post(BLOCKED, {"pattern": "a.com"}).status_code == 200
        add(alice, "b.com", ALLOWED)

    def test_it_is_in_the_trail(self, alice: Caller, inbox: Inbox) -> None:
        entry = add(alice, "example.com", inbox_id=inbox.pk)
        alice.delete(f"{BLOCKED}/{entry['id']}")
        written = AuditEntry.objects.filter(object_type="addressrule").order_by("id")
        assert [(row.act, row.account_id, row.inbox_id, row.actor_name) for row in written] == [
            ("list.entry_added", alice.account.pk, inbox.pk, "Alice"),
            ("list.entry_removed", alice.account.pk, inbox.pk, "Alice"),
        ]

    def test_it_takes_none_for_a_deleted_inbox(self, alice: Caller, inbox: Inbox) -> None:
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert alice.post(BLOCKED, {"pattern": "a.com", "inbox_id": inbox.pk}).status_code == 410
        assert alice.put(BLOCKED, {"entries": ["a.com"], "inbox_id": inbox.pk}).status_code == 410

    @pytest.mark.parametrize("path", ["/v1/lists/send/maybe", "/v1/lists/forward/block", "/v1/lists/send", "/v1/lists"])
    def test_it_knows_no_other_lists(self, alice: Caller, path: str) -> None:
        assert alice.get(path).status_code == 404
        assert alice.post(path, {"pattern": "a.com"}).status_code == 404


class TestList:
    def test_it_is_newest_first_and_paged(self, alice: Caller) -> None:
        for number in range(3):
            add(alice, f"{number}.example")
        first = alice.get(BLOCKED, limit=2).json()
        assert [entry["pattern"] for entry in first["data"]] == ["2.example", "1.example"]
        assert first["meta"]["total"] == 3
        assert patterns(alice, cursor=first["meta"]["next_cursor"]) == ["0.example"]

    def test_it_narrows(self, alice: Caller, inbox: Inbox) -> None:
        add(alice, "a.com")
        add(alice, "a.com", inbox_id=inbox.pk)
        add(alice, "b.com", inbox_id=inbox.pk)
        assert patterns(alice, inbox_id=inbox.pk) == ["b.com", "a.com"]
        assert patterns(alice, level="account") == ["a.com"]
        assert patterns(alice, level="inbox") == ["b.com", "a.com"]
        assert patterns(alice, pattern="B.com") == ["b.com"]
        assert alice.get(BLOCKED, inbox="x").status_code == 400

    def test_it_takes_three_queries_however_long_it_is(self, alice: Caller, django_assert_num_queries: Any) -> None:
        alice.put(BLOCKED, {"entries": [f"{number}.example" for number in range(60)]})
        with django_assert_num_queries(3):  # key, total, rows
            assert len(patterns(alice)) == 50


class TestReplace:
    def test_it_makes_the_list_exactly_this(self, alice: Caller, inbox: Inbox) -> None:
        kept, _gone = add(alice, "kept.example", note="why"), add(alice, "gone.example")
        add(alice, "other.example", inbox_id=inbox.pk)
        entries = ["new.example", "Kept.Example", {"address": "Ann@x.com", "note": "her"}, "new.example"]
        answer = alice.put(BLOCKED, {"entries": entries})
        assert answer.json()["data"] == {
            "direction": "receive", "effect": "block", "inbox_id": None, "entries": 3, "added": 2, "removed": 1,
        }  # fmt: skip
        assert set(patterns(alice, level="account")) == {"new.example", "kept.example", "ann@x.com"}
        assert alice.get(f"{BLOCKED}/{kept['id']}").json()["data"] == kept
        assert AddressRule.objects.get(pattern="ann@x.com").note == "her"
        assert patterns(alice, inbox_id=inbox.pk) == ["other.example"]

    def test_it_replaces_that_of_an_inbox(self, alice: Caller, inbox: Inbox) -> None:
        add(alice, "account.example")
        alice.put(BLOCKED, {"entries": ["a.com"], "inbox_id": inbox.pk})
        alice.put(BLOCKED, {"entries": ["b.com"], "inbox_id": inbox.pk})
        assert patterns(alice) == ["b.com", "account.example"]

    def test_it_sets_the_notes_that_are_given(self, alice: Caller) -> None:
        add(alice, "a.com", note="old")
        add(alice, "b.com", note="old")
        alice.put(BLOCKED, {"entries": ["a.com", {"domain": "b.com", "note": "new"}]})
        assert dict(AddressRule.objects.values_list("pattern", "note")) == {"a.com": "old", "b.com": "new"}
        (written,) = AuditEntry.objects.filter(act="list.replaced")
        assert (written.actor_name, written.changes["added"], written.changes["removed"]) == ("Alice", [], [])
        assert written.changes["notes"] == [{"pattern": "b.com", "old": "old", "new": "new"}]

    def test_it_empties(self, alice: Caller) -> None:
        add(alice, "a.com")
        assert alice.put(BLOCKED, {"entries": []}).json()["data"]["removed"] == 1
        assert patterns(alice) == []

    def test_it_takes_ten_thousand(self, alice: Caller) -> None:
        many = [f"user{number}@example.com" for number in range(10_000)]
        assert alice.put(BLOCKED, {"entries": many}).json()["data"]["entries"] == 10_000
        assert alice.put(BLOCKED, {"entries": many[:1]}).json()["data"]["removed"] == 9_999
        answer = alice.put(BLOCKED, {"entries": [*many, "one.example"]})
        assert (answer.status_code, "entries" in answer.json()["error"]["fields"]) == (400, True)

    def test_it_is_one_entry_in_the_trail(self, alice: Caller) -> None:
        alice.put(BLOCKED, {"entries": ["a.com"]})
        alice.put(BLOCKED, {"entries": ["b.com"]})
        alice.put(BLOCKED, {"entries": ["b.com"]})  # changes nothing
        written = AuditEntry.objects.filter(act__startswith="list.").order_by("id")
        assert [row.act for row in written] == ["list.replaced", "list.replaced"]
        assert written[1].changes == {
            "mode": "test", "direction": "receive", "effect": "block", "added": ["b.com"], "removed": ["a.com"],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("entries", "field"),
        [
            (None, "entries"),
            ("a.com", "entries"),
            (["a.com", "b b"], "entries.1"),
            ([1], "entries.0"),
            ([{"domain": "a@b.com"}], "entries.0.domain"),
            ([{"domain": "a.com", "nota": ""}], "entries.0.nota"),
        ],
    )
    def test_it_names_the_entry_that_is_wrong_and_changes_nothing(
        self, alice: Caller, entries: Any, field: str
    ) -> None:
        add(alice, "kept.example")
        answer = alice.put(BLOCKED, {"entries": entries})
        assert answer.status_code == 400
        assert field in answer.json()["error"]["fields"]
        assert patterns(alice) == ["kept.example"]


class TestRemove:
    def test_it_removes_by_id(self, alice: Caller) -> None:
        entry = add(alice, "a.com")
        assert alice.delete(f"{ALLOWED}/{entry['id']}").status_code == 404
        assert alice.delete(f"{BLOCKED}/{entry['id']}").json()["data"] == entry
        assert alice.delete(f"{BLOCKED}/{entry['id']}").status_code == 404
        assert patterns(alice) == []

    def test_it_removes_by_pattern_at_one_level(self, alice: Caller, inbox: Inbox) -> None:
        add(alice, "a.com")
        add(alice, "a.com", inbox_id=inbox.pk)
        assert alice.delete(f"{BLOCKED}?pattern=A.com").status_code == 200
        assert [rule.inbox_id for rule in AddressRule.objects.all()] == [inbox.pk]
        assert alice.delete(f"{BLOCKED}?pattern=a.com").status_code == 404
        assert alice.delete(f"{BLOCKED}?pattern=a.com&inbox_id={inbox.pk}").status_code == 200

    def test_it_never_removes_all_for_want_of_a_pattern(self, alice: Caller) -> None:
        add(alice, "a.com")
        assert alice.delete(BLOCKED).status_code == 400
        assert patterns(alice) == ["a.com"]


class TestCheck:
    def check(self, caller: Caller, address: str, direction: str = "receive", **query: str) -> Any:
        answer = caller.get(CHECK, address=address, direction=direction, **query)
        assert answer.status_code == 200, answer.content
        return answer.json()["data"]

    def test_it_names_the_entry_that_decides(self, alice: Caller, inbox: Inbox) -> None:
        rule = add(alice, "evil.example")
        found = self.check(alice, "Eve+x@mail.evil.example", inbox_id=inbox.pk)
        assert found == {
            "direction": "receive", "list": "receive", "inbox_id": inbox.pk, "blocked": True, "reason": "block_rule",
            "address": "eve@mail.evil.example", "level": "account",
            "rule": {"id": rule["id"], "effect": "block", "pattern": "evil.example"},
            "explanation": "eve@mail.evil.example matches “evil.example”, which the account’s list blocks.",
        }  # fmt: skip

    def test_it_asks_the_account_alone_without_an_inbox(self, alice: Caller, inbox: Inbox) -> None:
        add(alice, "ann@x.com", ALLOWED, inbox_id=inbox.pk)
        assert self.check(alice, "ben@x.com")["reason"] == "no_rule"
        assert self.check(alice, "ben@x.com", inbox_id=inbox.pk)["reason"] == "not_on_allow_list"

    def test_it_asks_about_answers_as_answering_does(self, alice: Caller) -> None:
        add(alice, "x.com", "/v1/lists/send/block")
        found = self.check(alice, "ann@x.com", "reply")
        assert (found["list"], found["blocked"]) == ("send", True)
        add(alice, "*", "/v1/lists/reply/allow")
        found = self.check(alice, "ann@x.com", "reply")
        assert (found["list"], found["blocked"], found["rule"]["pattern"]) == ("reply", False, "*")

    @pytest.mark.parametrize("query", [{}, {"address": "a@x.com"}, {"address": "x.com", "direction": "send"},
                                       {"address": "a@x.com", "direction": "up"}])  # fmt: skip
    def test_it_says_what_is_wrong(self, alice: Caller, query: dict[str, str]) -> None:
        assert alice.get(CHECK, **query).status_code == 400


class TestWhoMay:
    def calls(self, caller: Caller, inbox: Inbox, rule_id: str) -> list[int]:
        """The status of each call that names something of Alice's."""
        answers = [
            caller.get(BLOCKED, inbox_id=inbox.pk),
            caller.post(BLOCKED, {"pattern": "a.com", "inbox_id": inbox.pk}),
            caller.put(BLOCKED, {"entries": [], "inbox_id": inbox.pk}),
            caller.delete(f"{BLOCKED}?pattern=evil.example&inbox_id={inbox.pk}"),
            caller.get(f"{BLOCKED}/{rule_id}"),
            caller.delete(f"{BLOCKED}/{rule_id}"),
            caller.get(CHECK, address="a@x.com", direction="send", inbox_id=inbox.pk),
        ]
        return [answer.status_code for answer in answers]

    def test_strangers_find_nothing(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        rule = add(alice, "evil.example", inbox_id=inbox.pk)
        for stranger in (charlie, alice.with_key(mode="live"), alice.with_key(inbox=alice.create_inbox())):
            assert self.calls(stranger, inbox, rule["id"]) == [404] * 7
            assert patterns(stranger) == []
        assert patterns(alice) == ["evil.example"]

    def test_the_lists_of_accounts_and_modes_are_apart(self, alice: Caller, charlie: Caller) -> None:
        add(alice, "evil.example")
        for stranger in (charlie, alice.with_key(mode="live")):
            assert patterns(stranger) == []
            assert stranger.delete(f"{BLOCKED}?pattern=evil.example").status_code == 404
            stranger.put(BLOCKED, {"entries": []})
            answer = stranger.get(CHECK, address="a@evil.example", direction="receive")
            assert answer.json()["data"]["reason"] == "no_rule"
        assert patterns(alice) == ["evil.example"]

    def test_a_limited_key_reads_what_binds_its_inboxes(self, alice: Caller, limited: Caller, inbox: Inbox) -> None:
        rule = add(alice, "account.example")
        add(alice, "hidden.example", inbox_id=alice.create_inbox().pk)
        add(limited, "mine.example", inbox_id=inbox.pk)
        assert patterns(limited) == ["mine.example", "account.example"]
        assert limited.get(f"{BLOCKED}/{rule['id']}").status_code == 200

    def test_a_limited_key_changes_nothing_of_the_account(self, alice: Caller, limited: Caller) -> None:
        rule = add(alice, "account.example")
        for answer in (
            limited.post(BLOCKED, {"pattern": "a.com"}),
            limited.put(BLOCKED, {"entries": []}),
            limited.delete(f"{BLOCKED}/{rule['id']}"),
            limited.delete(f"{BLOCKED}?pattern=account.example"),
        ):
            assert answer.status_code == 403
        assert patterns(alice) == ["account.example"]

    def test_rights_are_needed(self, alice: Caller, inbox: Inbox) -> None:
        rule = add(alice, "evil.example", inbox_id=inbox.pk)
        assert self.calls(alice.with_key(permissions=[]), inbox, rule["id"]) == [403] * 7
        reader = self.calls(alice.with_key(permissions=[LISTS_READ]), inbox, rule["id"])
        assert reader == [200, 403, 403, 403, 200, 403, 200]
