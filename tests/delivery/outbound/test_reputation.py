"""What becomes of each recipient is counted once, however late, often or disordered it is heard, and by however many at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from delivery.models import OutboundMail
from delivery.outbound.claiming import claim_one
from delivery.outbound.outcomes import Outcome, Report, Result
from delivery.outbound.send import settle
from delivery.outbound.sending import Handed
from delivery.outbound.sent import write_together
from delivery.outbound.tracking import apply_reports
from inboxes.models import Inbox
from tests.cast import Caller, run_workers
from threads.events import EventType

WRITERS = 8
SENT, DELIVERED, DEFERRED = EventType.MESSAGE_SENT, EventType.MESSAGE_DELIVERED, EventType.MESSAGE_DEFERRED
BOUNCED, COMPLAINED = EventType.MESSAGE_BOUNCED, EventType.MESSAGE_COMPLAINED


@pytest.fixture
def live(alice: Caller) -> Caller:
    """Mail of hers leaves by the backend of the tests."""
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox()


def counted(caller: Caller, inbox: Inbox) -> dict[str, int]:
    """What is not 0 in the last hour."""
    reputation = caller.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["reputation"]
    return {name: number for name, number in reputation["windows"]["1h"].items() if number and "rate" not in name}


def hear(mail: OutboundMail, *events: EventType, to: str = "ann@example.com", **data: str) -> None:
    for event in events:
        apply_reports(mail, [Report(event, to, data=data)])


def sent_mail(caller: Caller, inbox: Inbox, **body: Any) -> OutboundMail:
    message = caller.send(inbox, **{"to": "ann@example.com", **body})
    run_workers()
    return OutboundMail.objects.get(message_id=message["id"])


class TestSandbox:
    def test_its_answers_are_counted(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for name in ("bounce", "softbounce", "complaint"):
            alice.send(inbox, to=f"{name}@simulator.mailbot.localhost")
        alice.send(inbox, to=["ann@example.com", "ben@example.com"])
        run_workers()
        expected = {"sent": 5, "delivered": 3, "deferred": 1, "bounced": 1, "complained": 1}
        assert counted(alice, inbox) == expected

    def test_it_shows_rates_and_a_score(self, alice: Caller, settings: Any) -> None:
        settings.BREAKER_SENDS = 5
        inbox = alice.create_inbox()
        answer = alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["reputation"]
        assert (answer["state"], answer["score"], answer["windows"]["7d"]["bounce_rate"]) == ("ok", None, None)
        alice.send(inbox, to=[f"{number}@example.com" for number in range(40)])
        alice.send(inbox, to="bounce@simulator.mailbot.localhost")
        run_workers()
        listed = alice.get("/v1/inboxes").json()["data"][0]["reputation"]
        assert listed == alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["reputation"]
        assert (listed["score"], listed["windows"]["24h"]["bounce_rate"]) == (51, 0.02439)


class TestOnce:
    def test_a_mail_that_was_sent_counts_when_it_was_handed_over(self, live: Caller, inbox: Inbox) -> None:
        live.send(inbox)
        assert counted(live, inbox) == {}
        run_workers()
        assert counted(live, inbox) == {"sent": 1}

    @pytest.mark.parametrize(
        ("news", "expected"),
        [
            ([SENT, SENT, DELIVERED, DELIVERED, SENT], {"sent": 1, "delivered": 1}),
            ([DEFERRED, SENT, DEFERRED, SENT, DELIVERED], {"sent": 1, "deferred": 1, "delivered": 1}),
            ([BOUNCED, DELIVERED, BOUNCED, SENT], {"sent": 1, "bounced": 1}),
            ([DELIVERED, BOUNCED], {"sent": 1, "delivered": 1, "bounced": 1}),
            ([COMPLAINED, DELIVERED, COMPLAINED], {"sent": 1, "delivered": 1, "complained": 1}),
        ],
        ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else "",
    )
    def test_news_count_once(
        self, live: Caller, inbox: Inbox, news: Sequence[EventType], expected: dict[str, int]
    ) -> None:
        hear(sent_mail(live, inbox), *news)
        assert counted(live, inbox) == expected

    def test_a_mail_that_we_put_off_is_sent_once_and_deferred_by_nobody(self, live: Caller, inbox: Inbox) -> None:
        mail = claim_one(OutboundMail.objects.get(message_id=live.send(inbox)["id"]).pk)
        assert mail is not None
        settle(mail, Outcome(Result.TEMPORARY, "busy"), "", timezone.now())
        assert counted(live, inbox) == {}
        OutboundMail.objects.update(next_attempt_at=timezone.now())
        run_workers()
        assert counted(live, inbox) == {"sent": 1}

    def test_news_that_are_quicker_than_our_own_note_prove_that_it_was_sent(self, live: Caller, inbox: Inbox) -> None:
        live.send(inbox, to="ann@example.com")
        hear(OutboundMail.objects.get(), DELIVERED)
        assert counted(live, inbox) == {"sent": 1, "delivered": 1}
        run_workers()
        assert counted(live, inbox) == {"sent": 1, "delivered": 1}

    def test_a_soft_bounce_does_not_count_as_one(self, live: Caller, inbox: Inbox) -> None:
        hear(sent_mail(live, inbox), BOUNCED, bounce_type="soft")
        assert counted(live, inbox) == {"sent": 1}

    def test_news_of_nobody_who_was_written_to_count_nothing(self, live: Caller, inbox: Inbox) -> None:
        hear(sent_mail(live, inbox), BOUNCED, to="stranger@example.com")
        assert counted(live, inbox) == {"sent": 1}


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_eight_writers_count_exactly(self, live: Caller, settings: Any) -> None:
        """Of two inboxes: news of one mail doubled by another writer, and batches that were taken."""
        settings.BREAKER_BOUNCES = settings.BREAKER_COMPLAINTS = None
        inboxes = [live.create_inbox() for _ in range(2)]
        mails = [claim_one(self.queued(live, inboxes[number % 2])) for number in range(16)]
        claimed = [mail for mail in mails if mail is not None]
        assert len(claimed) == 16

        def write(number: int) -> None:
            try:
                mine = claimed[number * 2 : number * 2 + 2]
                assert (
                    len(write_together([Handed(mail, Outcome.sent(), "", timezone.now(), None) for mail in mine])) == 2
                )
                for mail in claimed[number::4]:  # as another writer does
                    hear(mail, DELIVERED, DELIVERED, *([BOUNCED] if mail.inbox_id == inboxes[0].pk else []))
            finally:
                connections.close_all()

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, range(WRITERS)))
        assert counted(live, inboxes[0]) == {"sent": 8, "delivered": 8, "bounced": 8}
        assert counted(live, inboxes[1]) == {"sent": 8, "delivered": 8}

    def queued(self, caller: Caller, inbox: Inbox) -> str:
        return OutboundMail.objects.get(message_id=caller.send(inbox, to="ann@example.com")["id"]).pk
