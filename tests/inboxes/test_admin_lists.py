"""The lists of addresses in the console: read, added to, taken from."""

from typing import Any

import pytest

from audit.models import AuditEntry
from inboxes.models import Account, AddressRule, Inbox
from tests.cast import Caller
from tests.console import HOSTILE, act, console, list_of, page_of, person, queries_for

ADD = "/admin/inboxes/addressrule/add/"


@pytest.fixture
def operator(acme: Account) -> Any:
    return console(person("olga", acme))


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="support")


def body(account: Account, **given: str) -> dict[str, str]:
    plain = {"account": account.pk, "mode": "test", "direction": "receive", "effect": "block"}
    return {**plain, "pattern": "evil.example", **given}


def rule(caller: Caller, pattern: str = "evil.example", **given: Any) -> AddressRule:
    answer = caller.post("/v1/lists/receive/block", {"pattern": pattern, **given})
    return AddressRule.objects.get(pk=answer.json()["data"]["id"])


class TestAdding:
    def test_it_adds_for_the_account(self, acme: Account, operator: Any) -> None:
        answer = operator.post(ADD, body(acme, pattern="Ann+x@Example.com", note="phishing"))
        entry = AddressRule.objects.get()
        assert answer.url == page_of(entry)
        assert (entry.pattern, entry.account_id, entry.inbox, entry.note) == (
            "ann@example.com",
            acme.pk,
            None,
            "phishing",
        )
        assert entry.created_by["name"] == "olga"
        assert AuditEntry.objects.get(act="list.entry_added").actor_name == "olga"

    @pytest.mark.parametrize("column", ["pk", "address"])
    def test_it_adds_for_an_inbox(self, acme: Account, operator: Any, inbox: Inbox, column: str) -> None:
        operator.post(ADD, body(acme, inbox=getattr(inbox, column)))
        assert AddressRule.objects.get().inbox == inbox

    def test_it_says_that_it_is_there_already(self, acme: Account, operator: Any) -> None:
        for _ in range(2):
            answer = operator.post(ADD, body(acme), follow=True)
        assert "is on the list already" in answer.content.decode()
        assert AddressRule.objects.count() == 1

    def test_it_is_filled_in_from_the_page_of_an_inbox(self, operator: Any, inbox: Inbox) -> None:
        assert f"{ADD}?inbox={inbox.pk}" in operator.get(page_of(inbox)).content.decode()
        assert inbox.address in operator.get(ADD, {"inbox": inbox.pk}).content.decode()

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({"pattern": "*.example.com"}, "stands alone"),
            ({"pattern": "a b@x.com"}, "cannot be used"),
            ({"inbox": "nobody@mailbot.localhost"}, "no such inbox"),
            ({"inbox": "support@mailbot.localhost", "mode": "live"}, "no such inbox"),
            ({"direction": "up"}, "not one of the available choices"),
        ],
    )
    def test_it_says_what_is_wrong(
        self, acme: Account, operator: Any, inbox: Inbox, given: dict[str, str], reason: str
    ) -> None:
        page = operator.post(ADD, body(acme, **given))
        assert (page.status_code, reason in page.content.decode()) == (400, True)
        assert not AddressRule.objects.exists()

    def test_it_is_closed_to_reviewers_and_to_other_accounts(
        self, acme: Account, charlie: Caller, operator: Any
    ) -> None:
        assert operator.post(ADD, body(charlie.account)).status_code == 400
        assert console(person("rita", acme, "reviewer")).post(ADD, body(acme)).status_code == 404
        assert not AddressRule.objects.exists()


class TestRemoving:
    def test_it_asks_first_then_removes(self, alice: Caller, operator: Any) -> None:
        entry, kept = rule(alice), rule(alice, "other.example")
        assert act(operator, "remove_entries", entry).status_code == 200
        assert AddressRule.objects.count() == 2
        assert act(operator, "remove_entries", entry, reason="").url == list_of(AddressRule)
        assert AddressRule.objects.get() == kept
        assert AuditEntry.objects.get(act="list.entry_removed").actor_name == "olga"

    def test_it_is_closed_to_reviewers_and_strangers(self, acme: Account, alice: Caller, charlie: Caller) -> None:
        entry = rule(alice)
        for user in (person("rita", acme, "reviewer"), person("charlie", charlie.account)):
            act(console(user), "remove_entries", entry, reason="")
            assert AddressRule.objects.exists()


class TestReading:
    def test_they_can_be_found(self, alice: Caller, operator: Any, inbox: Inbox) -> None:
        rule(alice, "evil.example", note="phishing")
        rule(alice, "other.example", inbox_id=inbox.pk)
        for query, seen in (
            ({"q": "phish"}, "evil"),
            ({"level": "account"}, "evil"),
            ({"level": "inbox"}, "other"),
            ({"inbox": inbox.pk}, "other"),
            ({"q": inbox.pk}, "other"),
        ):
            page = operator.get(list_of(AddressRule), query).content.decode()
            assert [name for name in ("evil", "other") if f"{name}.example" in page] == [seen], query
        for query in ({"direction": "send"}, {"effect": "allow"}, {"mode": "live"}):
            assert ".example" not in operator.get(list_of(AddressRule), query).content.decode()

    def test_an_inbox_shows_what_it_is_under(self, alice: Caller, operator: Any, inbox: Inbox) -> None:
        rule(alice, "account.example")
        rule(alice, "mine.example", inbox_id=inbox.pk)
        rule(alice, "hidden.example", inbox_id=alice.create_inbox().pk)
        page = operator.get(page_of(inbox)).content.decode()
        assert 0 < page.index("mine.example") < page.index("account.example")
        assert "hidden.example" not in page

    def test_strangers_find_nothing(self, alice: Caller, charlie: Caller) -> None:
        entry, browser = rule(alice), console(person("charlie", charlie.account))
        assert "evil.example" not in browser.get(list_of(entry)).content.decode()
        assert browser.get(page_of(entry)).status_code == 404

    def test_what_others_wrote_is_escaped(self, alice: Caller, operator: Any, inbox: Inbox) -> None:
        entry = rule(alice, inbox_id=inbox.pk, note=HOSTILE[:500])
        for page in (list_of(entry), page_of(entry), page_of(inbox)):
            assert "<script>alert" not in operator.get(page).content.decode()

    def test_the_list_costs_the_same_however_long_it_is(self, alice: Caller, operator: Any, inbox: Inbox) -> None:
        for number in range(3):
            rule(alice, f"{number}.example", inbox_id=inbox.pk)
        at_three = queries_for(operator, list_of(AddressRule))
        for number in range(3, 30):
            rule(alice, f"{number}.example", inbox_id=alice.create_inbox().pk)
        assert queries_for(operator, list_of(AddressRule)) == at_three <= 10
