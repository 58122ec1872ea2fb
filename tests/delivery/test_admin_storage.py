"""The storage page of the console: what takes how much room, and what is wrong with the object store."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from delivery.models import InboundMail, RawObject, StorageFigures
from delivery.outbound.send import send_due_mail
from delivery.raw_mover import move_batch
from delivery.storage_figures import count_storage
from inboxes.models import Account, Membership
from inboxes.provisioning import purge_inbox
from tests.cast import Caller
from tests.console import HOSTILE, console, failed_inbound, person
from tests.mailing import deliver, mail
from tests.stores import Store

PAGE = "/admin/delivery/storagefigures/"
NOW = timedelta()


def page_for(client: Any) -> str:
    answer = client.get(PAGE)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


@pytest.fixture
def operator(acme: Account) -> Any:
    return console(person("olga", acme))


@pytest.fixture
def some_mail(alice: Caller, charlie: Caller, store: Store) -> None:
    """Two mails with the same file and one that went out, of which two are moved; and one mail of a stranger."""
    inbox = alice.create_inbox()
    for _ in range(2):
        deliver(mail(attachments={"a.bin": b"x" * 2048}), inbox)
    move_batch(older_than=NOW)
    alice.send(inbox)
    send_due_mail()
    deliver(mail(), charlie.create_inbox())


class TestFigures:
    def test_they_are_counted_by_account_and_in_all(self, alice: Caller, charlie: Caller, some_mail: None) -> None:
        assert count_storage()
        ours, theirs, server = (StorageFigures.objects.get(pk=pk) for pk in (alice.account.pk, charlie.account.pk, ""))
        assert (ours.messages, theirs.messages, server.messages) == (3, 1, 4)
        assert (ours.raw_in_rows, theirs.raw_in_rows, server.raw_in_rows) == (1, 1, 2)
        assert (ours.raw_in_store, theirs.raw_in_store, server.raw_in_store) == (2, 0, 2)
        assert (ours.attachments, ours.attachments_octets, ours.files, ours.files_octets) == (2, 4096, 1, 2048)
        assert ours.raw_in_store_octets == sum(RawObject.objects.values_list("size", flat=True))
        assert theirs.raw_in_rows_octets == InboundMail.objects.get(raw_in_row=True).size
        assert server.raw_in_rows_octets == ours.raw_in_rows_octets + theirs.raw_in_rows_octets
        assert ours.raw_in_rows_octets > 0
        assert server.database_octets > 10_000
        assert server.oldest_in_rows is not None

    def test_they_count_unfinished_and_failed_mail_as_in_the_database(self, alice: Caller, store: Store) -> None:
        failed_inbound(alice.create_inbox())
        count_storage()
        assert StorageFigures.objects.get(pk=alice.account.pk).raw_in_rows == 1
        assert StorageFigures.objects.get(pk="").oldest_in_rows is None

    def test_they_forget_what_was_purged(self, alice: Caller, store: Store) -> None:
        inbox = alice.create_inbox()
        deliver(mail(attachments={"a.bin": b"12"}), inbox)
        move_batch(older_than=NOW)
        purge_inbox(inbox)
        count_storage()
        ours = StorageFigures.objects.get(pk=alice.account.pk)
        assert (ours.messages, ours.raw_in_store, ours.attachments) == (0, 0, 0)

    def test_they_are_counted_more_rarely_the_longer_it_takes(self, db: None) -> None:
        assert count_storage()
        assert not count_storage()
        ago = timezone.now() - timedelta(minutes=6)
        StorageFigures.objects.update(counted_at=ago, seconds=60)
        assert not count_storage()
        StorageFigures.objects.update(seconds=1)
        assert count_storage()
        StorageFigures.objects.update(counted_at=timezone.now() + timedelta(hours=1))  # the clock was put back
        assert count_storage()


class TestPage:
    def test_it_says_when_nothing_was_counted(self, admin_client: Any) -> None:
        assert "Nothing has been counted yet." in page_for(admin_client)

    def test_it_shows_the_server_to_a_superuser(self, admin_client: Any, some_mail: None) -> None:
        count_storage()
        page = page_for(admin_client)
        assert '<strong>4</strong> <span class="label">Messages' in page
        assert "1 file for 2 attachments" in page
        assert "50 % of 4.0 KiB" in page
        assert "Database, all in all" in page
        assert "folder /" in page
        assert page.count('<th scope="row">') == 2

    def test_it_shows_an_operator_the_own_accounts_only(self, operator: Any, charlie: Caller, some_mail: None) -> None:
        count_storage()
        page = page_for(operator)
        assert '<strong>3</strong> <span class="label">Messages' in page
        assert charlie.account.name not in page
        assert "Database, all in all" not in page
        assert "Move now" not in page
        assert "folder /" not in page

    def test_a_reviewer_sees_it_too(self, acme: Account, some_mail: None) -> None:
        count_storage()
        assert "By account" in page_for(console(person("rita", acme, Membership.Role.REVIEWER)))

    def test_a_stranger_sees_nothing(self, client: Any, some_mail: None) -> None:
        assert client.get(PAGE).status_code == 302
        nobody = person("nora", Account.objects.create(name="Empty"))
        Membership.objects.all().delete()
        assert console(nobody).get(PAGE).status_code == 403

    def test_it_escapes_foreign_names(self, admin_client: Any, store: Store) -> None:
        caller = Caller(Account.objects.create(name=HOSTILE[:200]), "Mallory")
        deliver(mail(), caller.create_inbox())
        count_storage()
        assert "<script>alert" not in page_for(admin_client)

    def test_it_takes_as_many_queries_for_many_accounts_as_for_one(self, admin_client: Any, some_mail: None) -> None:
        def queries() -> int:
            count_storage(now=True)
            with CaptureQueriesContext(connection) as context:
                page_for(admin_client)
            assert not [q for q in context.captured_queries if "threads_message" in q["sql"]]
            return len(context.captured_queries)

        before = queries()
        for number in range(10):
            deliver(mail(), Caller(Account.objects.create(name=f"Number {number}"), "x").create_inbox())
        assert queries() == before

    def test_the_navigation_leads_to_it(self, operator: Any) -> None:
        assert f'<a href="{PAGE}">Storage</a>' in operator.get("/admin/").content.decode()


class TestTrouble:
    @pytest.fixture
    def trouble(self, alice: Caller, store: Store) -> None:
        deliver(mail(), alice.create_inbox())
        store.faults.is_down = True
        move_batch(older_than=NOW)
        count_storage()

    def test_it_shows_what_the_store_said(self, admin_client: Any, trouble: None) -> None:
        page = page_for(admin_client)
        assert "The object store did not take 1 raw mail." in page
        assert "Connection refused" in page
        assert "Raw mail that the object store did not take" in admin_client.get("/admin/").content.decode()

    def test_the_button_makes_the_mover_try_again(
        self, admin_client: Any, trouble: None, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rung: list[str] = []
        monkeypatch.setattr("delivery.console_storage.ring", rung.append)
        store.faults.is_down = False
        assert move_batch(older_than=NOW).moved == 0
        answer = admin_client.post(PAGE, follow=True)
        assert "The worker was asked" in answer.content.decode()
        assert rung == ["delivery.tasks.move_raw"]
        assert move_batch(older_than=NOW).moved == 1
        assert "did not take" not in page_for(admin_client)

    def test_the_button_is_for_superusers(self, operator: Any, trouble: None, store: Store) -> None:
        assert operator.post(PAGE).status_code == 403
        store.faults.is_down = False
        assert move_batch(older_than=NOW).moved == 0

    def test_it_says_that_the_mover_is_behind(self, admin_client: Any, some_mail: None, settings: Any) -> None:
        InboundMail.objects.update(processed_at=timezone.now() - timedelta(hours=2))
        count_storage()
        assert "waits longer than it should" in page_for(admin_client)

    def test_it_says_that_the_figures_are_old(self, admin_client: Any, some_mail: None) -> None:
        count_storage()
        StorageFigures.objects.update(counted_at=timezone.now() - timedelta(hours=1))
        assert "These figures are old." in page_for(admin_client)
