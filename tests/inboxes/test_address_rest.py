"""The address of an inbox that ended goes to no other account for 90 days: mail for who had it must not reach a stranger."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, connections
from django.db.models import ProtectedError

from inboxes import naming, provisioning
from inboxes.domains import Place
from inboxes.expiry import sweep_expired
from inboxes.models import Account, Inbox
from inboxes.provisioning import AddressTaken, InboxRequest, create_inbox, delete_inbox, suggestions
from tests.cast import Caller
from tests.mailing import inbox_for

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


def end(caller: Caller, **body: Any) -> Inbox:
    inbox = caller.create_inbox(**body)
    caller.delete(f"/v1/inboxes/{inbox.pk}")
    return inbox


def taken(caller: Caller, **body: Any) -> bool:
    return bool(caller.post("/v1/inboxes", body).status_code == 409)


class TestRest:
    def test_it_lasts_90_days(self, clock: Any, alice: Caller, charlie: Caller) -> None:
        end(alice, username="support")
        clock.shift(timedelta(days=90) - SECOND)
        assert taken(charlie, username="support")
        assert inbox_for("support@mailbot.localhost") is None
        clock.shift(SECOND)
        assert not taken(charlie, username="support")

    def test_its_own_account_may_have_it_at_once_in_either_mode(self, alice: Caller, bob: Caller) -> None:
        end(alice, username="support")
        end(bob, username="support")
        assert not taken(alice.with_key(mode="live"), username="support")

    def test_it_rests_for_other_accounts_in_either_mode(self, alice: Caller, charlie: Caller) -> None:
        end(alice, username="support")
        assert taken(charlie.with_key(mode="live"), username="support")

    @pytest.mark.parametrize("purge", ["", "?purge=true"])
    def test_a_purged_one_rests_too(self, alice: Caller, charlie: Caller, purge: str) -> None:
        inbox = alice.create_inbox(username="support")
        alice.delete(f"/v1/inboxes/{inbox.pk}{purge}")
        assert taken(charlie, username="support")

    def test_an_expired_one_rests_from_its_end_on(self, clock: Any, alice: Caller, charlie: Caller) -> None:
        """Not from when the sweep came by, which may have been away for days."""
        alice.create_inbox(username="signup", expires_in=60)
        clock.shift(timedelta(days=2))
        assert taken(charlie, username="signup")
        sweep_expired()
        clock.shift(timedelta(days=88))
        assert taken(charlie, username="signup")
        clock.shift(timedelta(seconds=60))
        assert not taken(charlie, username="signup")

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("support", "SUPPORT"),
            ("jos\u00e9", "jose\u0301"),  # composed and decomposed
            ("JOS\u00c9", "jos\u00e9"),
        ],
    )
    def test_no_spelling_gets_around_it(self, alice: Caller, charlie: Caller, first: str, second: str) -> None:
        end(alice, username=first)
        assert taken(charlie, username=second)

    @pytest.mark.parametrize("domain", ["bücher.example", "BÜCHER.example.", "xn--bcher-kva.example"])
    def test_no_form_of_the_domain_does(self, alice: Caller, charlie: Caller, settings: Any, domain: str) -> None:
        settings.MAILBOT_DOMAIN = "xn--bcher-kva.example"
        end(alice, username="support")
        assert taken(charlie, username="support", domain=domain)

    def test_it_is_not_suggested(self, alice: Caller, charlie: Caller) -> None:
        alice.create_inbox(username="support")
        end(alice, username="support-2")
        error = charlie.post("/v1/inboxes", {"username": "support"}).json()["error"]
        assert "support-2@mailbot.localhost" not in error["suggestions"]
        assert "support-2@mailbot.localhost" in suggestions(alice.account, "support", Place("mailbot.localhost"))

    def test_it_is_not_given_by_chance(self, alice: Caller, charlie: Caller, monkeypatch: Any) -> None:
        end(alice, username="quiet-otter-4821")
        names = iter(["quiet-otter-4821", "calm-fox-0001"])
        monkeypatch.setattr(provisioning, "random_local_part", lambda: next(names))
        assert charlie.create_inbox().local_part == "calm-fox-0001"

    def test_an_account_that_has_had_inboxes_is_not_deleted(self, alice: Caller) -> None:
        """Its rows are what is known of the addresses."""
        end(alice, username="support")
        with pytest.raises(ProtectedError):
            alice.account.delete()


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """All at once; what each returned or raised."""

    def run(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except AddressTaken as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_one_of_many_gets_an_address(self, alice: Caller, charlie: Caller) -> None:
        accounts = [alice.account, charlie.account] * 4
        wanted = InboxRequest(local_part="support")
        results = in_threads(*(lambda account=account: create_inbox(account, "test", wanted) for account in accounts))
        assert sum(not isinstance(result, AddressTaken) for result in results) == 1
        assert Inbox.objects.count() == 1

    def test_one_inbox_comes_of_a_client_id(self, alice: Caller) -> None:
        wanted = InboxRequest(client_id="job-1")
        results = in_threads(*[lambda: create_inbox(alice.account, "test", wanted)] * 8)
        assert len({inbox.pk for inbox, _ in results}) == 1
        assert [created for _, created in results].count(True) == 1

    def test_a_random_name_that_two_are_given_goes_to_one(self, alice: Caller, monkeypatch: Any) -> None:
        names = iter(["quiet-otter-4821"] * 2 + [naming.random_local_part() for _ in range(50)])
        monkeypatch.setattr(provisioning, "random_local_part", lambda: next(names))
        results = in_threads(*[lambda: create_inbox(alice.account, "test", InboxRequest())] * 2)
        assert len({inbox.address for inbox, _ in results}) == 2

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite lets one look and write after the other")
    def test_one_who_looked_before_it_was_made_does_not_get_it_after_it_ended(
        self, alice: Caller, charlie: Caller, monkeypatch: Any
    ) -> None:
        """Charlie finds the address free; then it is Alice's, and hers no more, before Charlie's inbox is written."""
        look = provisioning._taken

        def look_too_early(account: Account, addresses: Any) -> set[str]:
            found = look(account, addresses)
            if account == charlie.account:
                in_threads(lambda: delete_inbox(create_inbox(alice.account, "test", InboxRequest("support"))[0]))
                monkeypatch.setattr(provisioning, "_taken", look)
            return found

        monkeypatch.setattr(provisioning, "_taken", look_too_early)
        assert taken(charlie, username="support")
        assert not Inbox.objects.filter(account=charlie.account).exists()
        assert create_inbox(alice.account, "test", InboxRequest("support"))[1]
