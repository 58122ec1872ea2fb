"""The console on how sending goes: what does badly, what is stopped, and the domains that are warmed up."""

from datetime import date
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditEntry
from inboxes.models import Inbox, Provider, SendingDomain
from inboxes.sending_record import Tally, add_to_record
from tests.cast import Caller
from tests.console import act, console, page_of, person

PAGE = "/admin/inboxes/sendingrecord/"


def page(browser: Any, address: str = PAGE) -> str:
    answer = browser.get(address)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def told(inbox: Inbox, provider: str = "", **numbers: int) -> None:
    add_to_record([Tally(inbox.account_id, inbox.pk, provider, timezone.now(), **numbers)])


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def operator(alice: Caller) -> Any:
    return console(person("olga", alice.account))


class TestHealth:
    def test_all_is_well_at_first(self, operator: Any) -> None:
        assert page(operator).count("Nothing bounced, nobody complained") == 3

    def test_it_lists_what_does_badly_the_worst_first(self, live: Caller, operator: Any) -> None:
        good, near, bad = (live.create_inbox(username=name) for name in ("good", "near", "bad"))
        told(good, sent=100)
        told(near, sent=100, bounced=3)
        told(bad, sent=100, bounced=6)
        Inbox.objects.filter(pk=bad.pk).update(status="tripped", status_reason="6 of 100 bounced")
        text = page(operator)
        assert good.address not in text
        assert text.index(bad.address) < text.index("6 of 100 bounced") < text.index(near.address)
        assert "3 (3.00 %)" in text
        assert "mailbot.localhost" in text  # the domain, to whose page there is none yet

    def test_it_shows_providers_to_those_who_may_see_them(self, live: Caller, operator: Any) -> None:
        provider = Provider.objects.create(account=live.account, name="Our Postmark", esp="postmark", sealed="")
        told(live.create_inbox(), provider.pk, sent=9, bounced=1)
        assert "Our Postmark" in page(operator)
        assert "Our Postmark" not in page(console(person("rita", live.account, "reviewer")))

    def test_it_shows_nothing_of_other_accounts(self, live: Caller, charlie: Caller) -> None:
        inbox = live.create_inbox(username="secret")
        told(inbox, sent=100, bounced=6)
        assert "secret@" not in page(console(person("charlie", charlie.account)))

    def test_its_queries_do_not_grow(self, live: Caller, operator: Any) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as context:
                page(operator)
            return len(context)

        told(live.create_inbox(), sent=10, bounced=1)
        before = queries()
        for _ in range(20):
            told(live.create_inbox(), sent=10, bounced=1)
        assert queries() == before


class TestInbox:
    def test_its_page_shows_its_record_and_breaker(self, live: Caller, operator: Any) -> None:
        inbox = live.create_inbox()
        assert "nothing was sent in a week" in page(operator, page_of(inbox))
        told(inbox, sent=100, delivered=90, bounced=6)
        Inbox.objects.filter(pk=inbox.pk).update(status="tripped", trials_at=timezone.now())
        text = page(operator, page_of(inbox))
        assert "24h: 100 sent, 90 delivered, 6 bounced (6.00 %), 0 complained" in text
        assert "trial sends from" in text

    def test_to_resume_it_a_reason_is_needed(self, live: Caller, operator: Any) -> None:
        inbox = live.create_inbox()
        Inbox.objects.filter(pk=inbox.pk).update(status="tripped", trials_at=timezone.now())
        assert "A breaker stopped them" in act(operator, "resume_inboxes", inbox, reason="").content.decode()
        act(operator, "resume_inboxes", inbox, reason="The list was cleaned.")
        inbox.refresh_from_db()
        assert (inbox.status, inbox.trials_at) == ("active", None)
        assert AuditEntry.objects.get(act="inbox.resumed").changes["reason"] == "The list was cleaned."


class TestDomains:
    def test_it_shows_how_far_a_warm_up_is_and_ends_it(self, today: date, live: Caller, operator: Any) -> None:
        domain = SendingDomain.objects.create(account=live.account, domain="acme.example", warms_up_from=today)
        domain.days.create(account=live.account, day=today, taken=7)
        assert f"since {today}: 50 recipients today" in page(operator, page_of(domain))
        assert f"{today}: 7 of 50" in page(operator, page_of(domain))
        act(operator, "end_warm_ups", domain, reason="It is old.")
        domain.refresh_from_db()
        assert domain.warms_up_from is None
        assert AuditEntry.objects.get(act="domain.warm_up_ended").changes["reason"] == "It is old."

    def test_it_begins_one_anew(self, today: date, live: Caller, operator: Any) -> None:
        long_ago = date(2020, 1, 1)
        domain = SendingDomain.objects.create(account=live.account, domain="acme.example", warms_up_from=long_ago)
        assert "since 2020-01-01: done" in page(operator, page_of(domain))
        act(operator, "begin_warm_ups", domain, reason="Another provider.")
        domain.refresh_from_db()
        assert domain.warms_up_from == today

    def test_it_resumes_a_domain_with_a_clean_record(self, live: Caller, operator: Any) -> None:
        inbox = live.create_inbox()
        Inbox.objects.filter(pk=inbox.pk).update(domain="acme.example")
        domain = SendingDomain.objects.create(
            account=live.account, domain="acme.example", status="tripped", status_reason="9 of 100", trips=3
        )
        assert "Domains stopped by a breaker" in page(operator, "/admin/")
        act(operator, "resume_domains", domain, reason="Mended.")
        domain.refresh_from_db()
        inbox.refresh_from_db()
        assert (domain.status, domain.status_reason, domain.trips) == ("active", "", 0)
        assert inbox.record_from == domain.record_from
