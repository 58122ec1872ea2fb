"""Suppressions as rows: one for each address and scope, the stronger cause, and the end."""

import threading
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from audit.models import AuditEntry
from delivery import tasks
from delivery.models import OutboundMail, Suppression
from delivery.outbound.bounce_kind import is_hard
from delivery.outbound.outcomes import Report
from delivery.suppression import Target, Wanted, suppress, suppress_many
from delivery.suppression_reports import suppress_reported
from inboxes.models import Account, Inbox
from mailbot.lib.scope import EVERYBODY, acting_within
from tests.cast import Caller
from tests.waiting import until_somebody_waits
from threads.events import EventType

STRONGER = ["import", "hard_bounce", "manual", "unsubscribe", "complaint"]


@pytest.fixture
def target(acme: Account) -> Target:
    return Target(acme.pk, "test")


def stored() -> Suppression:
    return Suppression.objects.get()


class TestCauses:
    @pytest.mark.parametrize("weaker", range(len(STRONGER) - 1))
    def test_the_stronger_one_stands(self, target: Target, weaker: int) -> None:
        weak, strong = STRONGER[weaker : weaker + 2]
        for cause in (weak, strong, weak):
            suppress(target, Wanted("ann@shop.example", cause, f"by {cause}"))
        assert (stored().cause, stored().reason) == (strong, f"by {strong}")
        (entry,) = AuditEntry.objects.filter(act="suppression.changed", changes__cause=[weak, strong])
        assert (entry.object_pk, entry.changes["reason"]) == (stored().pk, [f"by {weak}", f"by {strong}"])

    def test_a_bounce_once_more_is_the_last_word(self, target: Target) -> None:
        for number in (1, 2):
            suppress(target, Wanted("ann@shop.example", "hard_bounce", f"bounce {number}", "5.1.1"))
        assert stored().reason == "bounce 2"

    def test_it_never_ends_earlier_for_another_cause(self, target: Target) -> None:
        suppress(target, Wanted("ann@shop.example", "import"))
        suppress(target, Wanted("ann@shop.example", "hard_bounce"))
        assert (stored().cause, stored().expires_at) == ("hard_bounce", None)

    def test_it_ends_later_when_it_bounces_again(self, target: Target) -> None:
        suppress(target, Wanted("ann@shop.example", "hard_bounce"))
        first = stored().expires_at
        with time_machine.travel(timezone.now() + timedelta(days=10)):
            suppress(target, Wanted("ann@shop.example", "hard_bounce"))
        assert first is not None
        assert stored().expires_at > first  # type: ignore[operator]

    def test_one_that_is_over_begins_anew(self, target: Target) -> None:
        suppress(target, Wanted("ann@shop.example", "complaint", expires_at=timezone.now(), ends_by_cause=False))
        entry, is_new = suppress(target, Wanted("ann@shop.example", "hard_bounce"))
        assert (is_new, entry.cause, Suppression.objects.count()) == (True, "hard_bounce", 1)

    def test_a_setting_says_when_bounces_end(self, target: Target, settings: Any) -> None:
        settings.SUPPRESSION_DAYS_HARD_BOUNCE = 0
        suppress(target, Wanted("ann@shop.example", "hard_bounce"))
        assert stored().expires_at is None


class TestSweep:
    def test_it_removes_what_is_over_and_says_so(self, target: Target) -> None:
        over = timezone.now() - timedelta(seconds=1)
        suppress(target, Wanted("ann@shop.example", "manual", expires_at=over, ends_by_cause=False))
        suppress(target, Wanted("ben@shop.example", "hard_bounce"))
        tasks.sweep_suppressions()
        assert stored().address == "ben@shop.example"
        entry = AuditEntry.objects.get(act="suppression.removed")
        assert (entry.object_repr, entry.changes["reason"], entry.actor_name) == (
            "ann@shop.example",
            "expired",
            "retention",
        )


class TestErasure:
    def test_an_address_that_was_erased_is_suppressed_by_its_digest(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        assert alice.post("/v1/suppressions", {"address": "Ann+x@shop.example"}).status_code == 201
        Suppression.objects.update(address="", reason="")
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "ann@shop.example"})
        assert answer.json()["error"]["reason"] == "suppressed"


class TestHard:
    @pytest.mark.parametrize(
        ("reason", "data", "expected"),
        [
            ("550 5.1.1 no such user", {}, True),
            ("smtp; 550-5.1.1 The email account does not exist", {}, True),
            ("550 5.2.1 mailbox disabled", {}, True),
            ("", {}, True),
            ("No such user", {"bounce_type": "hard"}, True),
            ("550 5.1.1 no such user", {"bounce_type": "soft"}, False),
            ("552 5.2.2 mailbox full", {"bounce_type": "hard"}, False),
            ("550 5.7.1 message rejected as spam", {"bounce_type": "hard"}, False),
            ("554 5.7.26 DMARC policy", {}, False),
            ("452 4.2.2 over quota", {}, False),
            ("450 try again later", {}, False),
            ("550 blocked by our policy", {}, False),
            ("550 user unknown", {}, True),
            ("5.0.0 undefined", {}, True),
            ("Transient: General", {"bounce_type": "soft"}, False),
        ],
    )
    def test_it_is_about_the_address_and_for_good(self, reason: str, data: dict[str, str], expected: bool) -> None:
        report = Report(EventType.MESSAGE_BOUNCED, "ann@shop.example", reason, data=data)
        assert is_hard(report) is expected


@pytest.mark.django_db(transaction=True)
class TestWriters:
    def test_eight_at_once_leave_one_entry_each(self) -> None:
        account = Account.objects.create(name="Acme")
        inbox = Inbox.objects.create(
            account=account, mode="test", address="a@b.example", local_part="a", domain="b.example"
        )
        addresses = [f"person{number}@shop.example" for number in range(40)]
        added: list[int] = []
        problems: list[BaseException] = []
        gate = threading.Barrier(8)

        def write(number: int) -> None:
            mine = addresses[number:] + addresses[:number]  # each in another order
            wanted = [Wanted(address, "import") for address in (mine if number % 2 else mine[::-1])]
            try:
                gate.wait()
                with acting_within(EVERYBODY):
                    for target in (Target(account.pk, "test"), Target.of_inbox(inbox)):
                        added.append(len(suppress_many([(target, one) for one in wanted])))
                    _, is_new = suppress(Target.of_inbox(inbox), Wanted("late@shop.example", "complaint"))
                    added.append(int(is_new))
            except BaseException as problem:
                problems.append(problem)
            finally:
                connection.close()

        writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert not problems
        assert Suppression.objects.count() == 2 * 40 + 1
        assert sum(added) == 2 * 40 + 1  # each is new to one writer
        assert AuditEntry.objects.filter(act="suppression.added").count() == 1

    @pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time")
    def test_news_wait_for_an_import_and_not_in_a_circle(self) -> None:
        """Where a bounce stops the whole account, news of one inbox and an import write the same rows."""
        account = Account.objects.create(name="Acme", bounce_scope="account")
        names = {"mode": "test", "local_part": "a", "domain": "b.example"}
        inbox = Inbox.objects.create(account=account, address="a@b.example", **names)
        target = Target(account.pk, "test")
        pairs = combinations((f"person{number}@shop.example" for number in range(9)), 2)
        first, last = next(pair for pair in pairs if target.digest(pair[0]) > target.digest(pair[1]))
        mail = OutboundMail(account=account, inbox=inbox, mode="test", message_id="msg_1")
        problems: list[BaseException] = []

        def hear() -> None:
            try:
                with acting_within(EVERYBODY), transaction.atomic():
                    suppress_reported(
                        [(mail, Report(EventType.MESSAGE_BOUNCED, one, "5.1.1 unknown")) for one in (first, last)]
                    )
            except BaseException as problem:
                problems.append(problem)
            finally:
                connection.close()

        news = threading.Thread(target=hear)
        with transaction.atomic():
            suppress(target, Wanted(last, "import"))  # as an import, which goes by the digests
            news.start()
            until_somebody_waits()
            suppress(target, Wanted(first, "import"))
        news.join()
        assert not problems
        assert sorted(Suppression.objects.values_list("address", "cause")) == [
            (first, "hard_bounce"),
            (last, "hard_bounce"),
        ]
