"""What is removed because its time is over, and above all what is not."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEntry
from delivery import tasks
from delivery.models import InboundMail, OutboundMail, ProviderEvent, RawObject
from delivery.outbound.send import send_due_mail
from delivery.raw_mover import move_batch
from delivery.retention import remove_finished_rows, remove_old_provider_events, remove_old_raw
from inboxes.models import Inbox, Provider
from inboxes.provisioning import purge_inbox
from mailbot.lib.ids import first_id
from tests.cast import Caller
from tests.console import failed_inbound
from tests.mailing import deliver, mail
from tests.mailing import store as take
from tests.stores import Store

DAY = timedelta(days=1)


@pytest.fixture
def inbox(alice: Caller, store: Store) -> Inbox:
    return alice.create_inbox()


@pytest.fixture(autouse=True)
def times(settings: Any) -> None:
    settings.INBOUND_RETENTION_DAYS, settings.RAW_RETENTION_DAYS = 30, 0


def move() -> None:
    while move_batch(older_than=timedelta()).goes_on:
        pass


def make_old(days: int) -> None:
    """As if all that is there had come in so long ago; ids hold the time, too."""
    at = timezone.now() - days * DAY
    for number, row in enumerate(InboundMail.objects.order_by("pk")):
        new = first_id("inmail", at)[:-2] + f"{number:02}"
        RawObject.objects.filter(pk=row.pk).update(mail_id=new, mail_at=at)
        for message in row_messages(row):
            message.source_id = new
            message.save(update_fields=["source_id"])
        InboundMail.objects.filter(pk=row.pk).update(id=new, received_at=at, processed_at=row.processed_at and at)
    for card in RawObject.objects.filter(mail_id__startswith="outmail_"):
        RawObject.objects.filter(pk=card.pk).update(mail_id=first_id("outmail", at), mail_at=at)
        OutboundMail.objects.filter(pk=card.pk).update(created_at=at)


def row_messages(row: InboundMail) -> Any:
    from threads.models import Message

    return Message.objects.filter(source_id=row.pk)


def raw(caller: Caller, inbox: Inbox) -> list[Any]:
    return [
        caller.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").status_code
        for message in caller.messages(inbox)
    ]


class TestRows:
    def test_it_removes_the_row_and_keeps_the_raw_mail(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        content = mail()
        deliver(content, inbox)
        move()
        make_old(days=31)
        assert remove_finished_rows() == 1
        assert not InboundMail.objects.exists()
        assert raw(alice, inbox) == [200]
        assert store.contents() == [content]
        purge_inbox(inbox)
        tasks.remove_raw()
        assert store.names() == []

    def test_it_leaves_what_is_younger(self, inbox: Inbox) -> None:
        deliver(mail(), inbox)
        move()
        make_old(days=29)
        assert remove_finished_rows() == 0

    def test_it_leaves_what_failed_or_waits_or_was_not_moved(self, inbox: Inbox) -> None:
        failed_inbound(inbox)
        deliver(mail(), inbox)
        take(mail(), inbox)
        make_old(days=365)
        assert remove_finished_rows() == 0
        assert InboundMail.objects.count() == 3

    def test_it_removes_the_bytes_that_nobody_can_ask_for(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        """What came again has no message of its own; the first one's bytes stay."""
        content = mail()
        for _ in range(2):
            deliver(content, inbox)
        move()
        make_old(days=31)
        assert len(store.names()) == 2
        assert remove_finished_rows() == 2
        tasks.remove_raw()
        assert len(store.names()) == 1
        assert raw(alice, inbox) == [200]

    def test_it_keeps_what_another_inbox_has_a_message_of(self, alice: Caller, charlie: Caller, store: Store) -> None:
        ours, theirs = alice.create_inbox(), charlie.create_inbox()
        content = mail()
        deliver(content, theirs)
        deliver(content, ours, theirs)  # again for one of them, new for the other
        move()
        make_old(days=31)
        assert remove_finished_rows() == 2
        tasks.remove_raw()
        assert (raw(alice, ours), raw(charlie, theirs)) == ([200], [200])

    def test_it_removes_what_was_rejected(self, inbox: Inbox) -> None:
        take(mail(), inbox)
        InboundMail.objects.update(state="rejected", processed_at=timezone.now(), raw=b"")
        make_old(days=31)
        assert remove_finished_rows() == 1

    def test_it_can_be_told_to_keep_all(self, inbox: Inbox, settings: Any) -> None:
        settings.INBOUND_RETENTION_DAYS = 0
        deliver(mail(), inbox)
        move()
        make_old(days=3650)
        assert remove_finished_rows() == 0

    def test_it_goes_in_pieces(self, inbox: Inbox) -> None:
        for _ in range(3):
            deliver(mail(), inbox)
        move()
        make_old(days=31)
        assert [remove_finished_rows(limit=2) for _ in range(3)] == [2, 1, 0]


class TestRawMail:
    def test_it_is_kept_for_ever_unless_told_otherwise(self, alice: Caller, inbox: Inbox) -> None:
        deliver(mail(), inbox)
        move()
        make_old(days=3650)
        assert remove_old_raw() == 0
        assert raw(alice, inbox) == [200]

    def test_it_goes_when_its_time_is_over(self, alice: Caller, inbox: Inbox, store: Store, settings: Any) -> None:
        settings.RAW_RETENTION_DAYS = 90
        deliver(mail(), inbox)
        alice.send(inbox)
        send_due_mail()
        move()
        make_old(days=89)
        assert remove_old_raw() == 0
        make_old(days=91)
        tasks.sweep_storage()
        assert store.names() == []
        assert raw(alice, inbox) == [410, 410]

    def test_it_says_so_in_the_trail_of_each_account(
        self, alice: Caller, charlie: Caller, store: Store, settings: Any
    ) -> None:
        settings.RAW_RETENTION_DAYS = 90
        ours, theirs = alice.create_inbox(), charlie.create_inbox()
        shared, own = mail(Subject="shared"), mail(Subject="own")
        deliver(shared, ours, theirs)
        deliver(own, ours)
        move()
        make_old(days=91)
        tasks.sweep_storage()
        entries = {entry.account_id: entry for entry in AuditEntry.objects.filter(act="raw.removed")}
        assert {account: entry.changes["mails"] for account, entry in entries.items()} == {
            alice.account.pk: 2,
            charlie.account.pk: 1,
        }
        entry = entries[alice.account.pk]
        assert (entry.actor_kind, entry.actor_id) == ("system", "retention")
        assert entry.changes["octets"] == len(shared) + len(own)
        assert entry.changes["days"] == 90
        listed = alice.get("/v1/audit-log", action="raw.removed").json()["data"]
        assert len(listed) == 1

    def test_it_does_not_touch_what_is_not_in_the_store_yet(self, alice: Caller, inbox: Inbox, settings: Any) -> None:
        settings.RAW_RETENTION_DAYS = 1
        deliver(mail(), inbox)
        failed = failed_inbound(inbox)
        make_old(days=30)
        tasks.sweep_storage()
        assert raw(alice, inbox) == [200]
        assert bytes(InboundMail.objects.get(state="failed").raw) == bytes(failed.raw)


class TestProviderEvents:
    @pytest.fixture
    def provider(self, inbox: Inbox) -> Provider:
        return Provider.objects.create(account=inbox.account, name="Mine", esp="brevo")

    def told(self, provider: Provider, days: int, state: str = "processed", **columns: Any) -> ProviderEvent:
        at = timezone.now() - days * DAY
        key, kind = str(ProviderEvent.objects.count()), columns.pop("kind", ProviderEvent.Kind.TRACKING)
        is_over = state != ProviderEvent.State.PENDING
        times = {"received_at": at, "next_attempt_at": at, "processed_at": at if is_over else None}
        return ProviderEvent.objects.create(provider=provider, kind=kind, key=key, state=state, **times, **columns)

    def test_they_go_when_they_are_history(self, provider: Provider, settings: Any) -> None:
        for state in ("processed", "unmatched", "failed"):
            self.told(provider, 31, state, recipient="ann@example.com", payload={"subject": "Secret"})
        young, waits = self.told(provider, 29), self.told(provider, 40, "pending")
        settings.INBOUND_RETENTION_DAYS = 0
        assert remove_old_provider_events() == 0
        settings.INBOUND_RETENTION_DAYS = 30
        tasks.sweep_storage()
        assert set(ProviderEvent.objects.values_list("pk", flat=True)) == {young.pk, waits.pk}

    def test_a_purge_takes_along_what_was_told_of_mail_for_the_inbox(
        self, alice: Caller, provider: Provider, inbox: Inbox
    ) -> None:
        other = alice.create_inbox(username=f"not-{inbox.local_part}")
        kind, tagged = ProviderEvent.Kind.INBOUND, inbox.address.replace("@", "+tag@")
        for state in ("pending", "failed"):
            self.told(provider, 0, state, kind=kind, recipient=tagged, payload={"item": "the text"})
        kept = [
            self.told(provider, 0, "pending", kind=kind, recipient=f"{inbox.address}, {other.address}"),
            self.told(provider, 0, "failed", kind=kind, recipient=other.address),
        ]
        purge_inbox(inbox)
        assert set(ProviderEvent.objects.values_list("pk", flat=True)) == {row.pk for row in kept}
