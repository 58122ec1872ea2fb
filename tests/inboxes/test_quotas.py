"""Storage quotas: whose account is full takes no mail for now, loses none, and can still answer in words."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEntry
from delivery.models import InboundMail
from inboxes.models import Account, Inbox
from inboxes.quotas import octets_of, sweep_quotas
from inboxes.tasks import sweep_quotas as sweep_task
from tests.cast import Caller, run_workers
from tests.console import console, page_of, person
from tests.mailing import deliver, inbox_for, mail

FILE = {"filename": "a.bin", "content": "eHh4"}


def set_quota(account: Account, octets: int | None) -> None:
    Account.objects.filter(pk=account.pk).update(storage_quota=octets)


def is_full(account: Account) -> bool:
    return Account.objects.get(pk=account.pk).is_full


@pytest.fixture
def full(alice: Caller) -> Inbox:
    """An inbox of Alice's account, which has no room left."""
    inbox = alice.create_inbox()
    deliver(mail(), inbox)
    set_quota(alice.account, 1)
    assert sweep_quotas() == 1
    return inbox


class TestSweep:
    def test_it_marks_who_has_used_all_and_who_has_room_again(self, alice: Caller, charlie: Caller) -> None:
        deliver(mail(attachments={"a": b"x" * 500}), alice.create_inbox())
        used = octets_of([alice.account.pk])[alice.account.pk]
        set_quota(alice.account, used + 1)
        set_quota(charlie.account, 1)
        assert sweep_quotas() == 0
        set_quota(alice.account, used)
        assert (sweep_quotas(), sweep_quotas()) == (1, 0)
        assert (is_full(alice.account), is_full(charlie.account)) == (True, False)
        set_quota(alice.account, None)
        assert sweep_quotas() == 1
        assert not is_full(alice.account)

    def test_it_says_so_in_the_trail(self, alice: Caller, full: Inbox) -> None:
        set_quota(alice.account, None)
        sweep_task()
        acts = AuditEntry.objects.filter(account_id=alice.account.pk, act__startswith="account.").order_by("id")
        assert [(entry.act, entry.changes["storage_quota"]) for entry in acts if "octets" in entry.changes] == [
            ("account.full", 1),
            ("account.has_room", None),
        ]

    def test_the_server_has_one_for_accounts_without(self, alice: Caller, settings: Any) -> None:
        deliver(mail(), alice.create_inbox())
        settings.ACCOUNT_STORAGE_QUOTA = 1
        assert sweep_quotas() == 1
        set_quota(alice.account, 10**9)
        assert sweep_quotas() == 1

    def test_it_takes_one_look_for_many_accounts(self, alice: Caller, charlie: Caller) -> None:
        for caller in (alice, charlie):
            set_quota(caller.account, 10**9)
        with CaptureQueriesContext(connection) as context:
            sweep_quotas()
        assert len(context.captured_queries) == 3  # the accounts, what they hold, and no more accounts


class TestFull:
    def test_its_mail_waits_with_its_sender(self, full: Inbox) -> None:
        inbox = inbox_for(full.address)
        assert inbox is not None
        assert inbox.is_full

    def test_it_can_answer_in_words(self, alice: Caller, full: Inbox) -> None:
        message = alice.messages(full)[0]
        path = f"/v1/inboxes/{full.pk}/messages/{message['id']}/reply"
        assert alice.post(path, {"body_text": "Sorry, later."}).status_code == 202

    @pytest.mark.parametrize("body", [{"attachments": [FILE]}, {"body_text": "x" * 1_100_000}])
    def test_it_sends_nothing_that_takes_room(
        self, alice: Caller, full: Inbox, body: dict[str, Any], store: Any
    ) -> None:
        answer = alice.post(f"/v1/inboxes/{full.pk}/messages", {"to": "a@example.com", **body})
        assert (answer.status_code, answer.json()["error"]["reason"]) == (422, "storage_quota")
        assert not [file for file in store.folder.rglob("*") if file.is_file()]

    def test_room_is_there_as_soon_as_something_is_purged(self, alice: Caller, full: Inbox) -> None:
        other = alice.create_inbox()
        alice.delete(f"/v1/inboxes/{full.pk}")
        assert is_full(alice.account)
        alice.delete(f"/v1/inboxes/{full.pk}?purge=true")
        assert not is_full(alice.account)
        alice.send(other, attachments=[FILE])

    def test_it_stays_full_when_a_key_that_sees_no_other_inbox_purges_one(self, alice: Caller, full: Inbox) -> None:
        other = alice.create_inbox()
        deliver(mail(), other)
        assert alice.with_key(inbox=other).delete(f"/v1/inboxes/{other.pk}?purge=true").status_code == 200
        assert is_full(alice.account)
        assert not AuditEntry.objects.filter(act="account.has_room").exists()
        assert alice.with_key(inbox=full).delete(f"/v1/inboxes/{full.pk}?purge=true").status_code == 200
        assert not is_full(alice.account)

    def test_another_account_is_not(self, full: Inbox, charlie: Caller) -> None:
        inbox = charlie.create_inbox()
        found = inbox_for(inbox.address)
        assert found is not None
        assert not found.is_full

    def test_the_sandbox_says_so_too(self, full: Inbox, charlie: Caller) -> None:
        here, sender = charlie.create_inbox(), charlie.create_inbox()
        message = charlie.send(sender, to=[full.address, here.address])
        before = InboundMail.objects.count()
        run_workers()
        shown = charlie.get(f"/v1/inboxes/{sender.pk}/messages/{message['id']}").json()["data"]
        assert [(item["status"], item["reason"][:9]) for item in shown["recipients"]] == [
            ("deferred", "452 4.2.2"),
            ("delivered", "250 deliv"),
        ]
        assert InboundMail.objects.count() == before + 1
        assert full.message_count == Inbox.objects.get(pk=full.pk).message_count - 1  # the one that filled it


class TestConsole:
    def test_a_superuser_sets_it_and_it_holds_at_once(self, alice: Caller) -> None:
        deliver(mail(), alice.create_inbox())
        browser = console(person("root"))
        limits = {"daily_send_limit": "5", "storage_quota": "10"}
        form = {"name": "Acme", **limits, "on_unknown": "at_most_once", "bounce_scope": "inbox"}
        inline = {f"memberships-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
        assert browser.post(page_of(alice.account), {**form, **inline}).status_code == 302
        account = Account.objects.get(pk=alice.account.pk)
        assert (account.daily_send_limit, account.storage_quota, account.is_full) == (5, 10, True)
        page = " ".join(browser.get(page_of(alice.account)).content.decode().split())
        assert "full" in page
        assert "0 of 5 live, 0 of 5 test" in page
        assert "1 in, 0 out" in page

    def test_members_see_what_is_used_and_change_nothing(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        browser = console(person("olga", alice.account))
        page = browser.get(page_of(alice.account)).content.decode()
        assert "1 in, 0 out" in page
        assert 'name="storage_quota"' not in page
        assert browser.post(page_of(alice.account), {"storage_quota": "10"}).status_code == 403
        assert "1 in, 0 out" in browser.get(page_of(inbox)).content.decode()
