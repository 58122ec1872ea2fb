"""One inbox's storm of bounces is its own affair. The same with 1,000 inboxes and 5,000 mails: `python -m benchmarks.storm`."""

from collections import Counter

import pytest

from audit.actors import acting_as_system
from delivery.models import OutboundMail, Recipient, SendAttempt
from delivery.outbound.queue import Draft, queue_mail
from delivery.outbound.send import send_due_mail
from delivery.tasks import look_after_breakers
from inboxes.models import Inbox, SendingDomain
from inboxes.sending_record import figures_of
from tests.cast import Caller
from threads.mime import Address
from threads.models import Event

pytestmark = pytest.mark.one_profile
OTHERS, STORM = 25, 300


def queue(inbox: Inbox, to: str) -> None:
    queue_mail(inbox, Draft(to=(Address("", to),), body_text="Hello"))


@pytest.fixture
def storm(alice: Caller) -> tuple[Inbox, list[Inbox]]:
    """The loud inbox has its mail queued first, of which three in ten bounce; then each of the others one."""
    loud, *others = [alice.create_inbox() for _ in range(1 + OTHERS)]
    for number in range(STORM):
        bounces = number % 10 < 3
        queue(loud, "bounce@simulator.mailbot.localhost" if bounces else f"{number}@example.com")
    for inbox in others:
        queue(inbox, "ann@example.com")
    with acting_as_system("worker"):
        while send_due_mail():
            pass
    look_after_breakers()
    return loud, others


class TestStorm:
    def test_it_changes_nothing_for_the_others(self, storm: tuple[Inbox, list[Inbox]], alice: Caller) -> None:
        loud, others = storm
        loud.refresh_from_db()
        assert loud.status == "tripped"

        # It left no more than it takes to see what it does; the rest is blocked, and none of it waits.
        states = Counter(OutboundMail.objects.filter(inbox=loud).values_list("state", flat=True))
        figures = figures_of([loud.pk])[loud.pk]["24h"]
        assert states["sent"] == figures.sent
        assert 50 <= figures.sent < 60
        assert states["blocked"] == STORM - figures.sent

        # The others: all arrived, none in any other state, each record with its own mail only, each of them able to send.
        theirs = Recipient.objects.exclude(mail__inbox=loud)
        assert Counter(theirs.values_list("status", flat=True)) == {"delivered": OTHERS}
        assert {of["24h"] for of in figures_of([inbox.pk for inbox in others]).values()} == {(1, 1, 0, 0, 0)}
        assert set(Inbox.objects.exclude(pk=loud.pk).values_list("status", flat=True)) == {"active"}
        assert (
            not Event.objects.exclude(inbox_id=loud.pk).filter(type__in=["inbox.tripped", "message.blocked"]).exists()
        )
        assert not SendingDomain.objects.exists()
        assert alice.send(others[0])["status"] == "queued"

        # And none waited for the storm: whoever has one mail is among the first of each round of the ring.
        order = list(SendAttempt.objects.order_by("started_at", "pk").values_list("mail__inbox_id", flat=True))
        last_of_others = max(place for place, inbox_id in enumerate(order) if inbox_id != loud.pk)
        assert last_of_others < 4 * OTHERS
