"""What a migration does with the messages that are there."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from django.core.management import call_command

from inboxes.models import DailyUsage, Inbox
from tests.cast import Caller
from tests.mailing import deliver, mail

# Migrations of long ago, which took the same steps on both profiles.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_profile, pytest.mark.timeout(180)]
COUNTED = ("inbox_id", "account_id", "mode", "day", "received", "sent", "recipients", "octets")
HELD = ("pk", "message_octets", "attachment_octets")


@pytest.fixture(autouse=True)
def newest_again() -> Iterator[None]:
    yield
    call_command("migrate", verbosity=0)


class TestUsage:
    def test_it_counts_what_is_there_as_if_it_came_now(self, alice: Caller) -> None:
        one, two = alice.create_inbox(), alice.create_inbox()
        alice.create_inbox()
        with time_machine.travel(datetime(2026, 3, 10, 23, 59, tzinfo=UTC), tick=False) as clock:
            deliver(mail(attachments={"a": b"x" * 100, "b": b"y" * 50}), one, two)
            alice.send(one, to=["a@example.com", "b@example.com"])
            clock.move_to(datetime(2026, 3, 11, 0, 1, tzinfo=UTC))
            deliver(mail(), one)
        usage = sorted(DailyUsage.objects.values_list(*COUNTED))
        held = sorted(Inbox.objects.values_list(*HELD))
        assert len(usage) == 3
        DailyUsage.objects.all().delete()
        Inbox.objects.update(message_octets=0, attachment_octets=0)
        call_command("migrate", "threads", "0002", verbosity=0)
        call_command("migrate", "threads", verbosity=0)
        assert sorted(DailyUsage.objects.values_list(*COUNTED)) == usage
        assert sorted(Inbox.objects.values_list(*HELD)) == held
