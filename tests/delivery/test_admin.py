"""The two queues in the console, and the start page that says what of them needs an operator."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEntry
from delivery.models import InboundMail, OutboundMail, Recipient
from delivery.outbound.send import send_due_mail
from inboxes.models import Account, Inbox
from inboxes.provisioning import pause
from tests.cast import Caller, run_workers
from tests.console import (
    HOSTILE,
    act,
    console,
    failed_inbound,
    fill,
    list_of,
    make_late,
    page_of,
    person,
    queries_for,
    unknown_mail,
)
from tests.mailing import deliver, mail, store
from threads.models import Event, Message

START = "/admin/"


@pytest.fixture
def live(acme: Account) -> Caller:
    return Caller(acme, "Live", "live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox(username="support")


@pytest.fixture
def operator(acme: Account) -> Any:
    return console(person("olga", acme))


class TestStart:
    def test_it_says_that_nothing_needs_you(self, admin_client):
        page = admin_client.get(START).content.decode()
        assert "Nothing needs you." in page
        assert "mailbot <span>console</span>" in page

    def test_it_counts_what_is_stuck_failed_unknown_and_paused(self, admin_client, live, inbox):
        unknown_mail(live, inbox)
        failed_inbound(inbox)
        store(mail(), inbox)
        live.send(inbox)
        make_late(*InboundMail.objects.filter(state="stored"), *OutboundMail.objects.filter(state="queued"))
        pause(inbox, "bounces")
        page = admin_client.get(START).content.decode()
        for label in (
            "Outbound mail unknown: sent or not?",
            "Outbound mail overdue for more than a minute",
            "Inbound mail failed",
            "Inbound mail waiting for more than a minute",
            "Inboxes paused",
        ):
            assert label in page
        assert "oldest: 5 min" in page
        assert "Nothing needs you." not in page

    def test_each_number_leads_to_the_list_of_just_these(self, admin_client, live, inbox):
        fill(live, inbox, 2)
        unknown = unknown_mail(live, inbox)
        live.send(inbox, subject="Waits")
        gone = live.send(inbox, subject="Failed long ago")
        OutboundMail.objects.filter(message=gone["id"]).update(
            state="failed", finished_at=timezone.now() - timedelta(days=2)
        )
        page = admin_client.get(START).content.decode()
        tallies = re.findall(r'<a href="([^"]+)">\s*<strong>(\d+)</strong>\s*<span class="label">([^<]+)', page)
        assert {label for _, _, label in tallies} == {"Inbound mail failed", "Outbound mail unknown: sent or not?"}
        for url, number, _ in tallies:
            assert admin_client.get(url).context["cl"].result_count == int(number)
        assert page_of(unknown) in admin_client.get(list_of(unknown), {"needs": "unknown"}).content.decode()

    def test_a_worker_that_died_shows_as_stuck(self, admin_client, live, inbox):
        live.send(inbox)
        OutboundMail.objects.update(state="sending", lease_until=timezone.now() - timedelta(minutes=2))
        store(mail(), inbox)
        InboundMail.objects.update(state="processing", lease_until=timezone.now() - timedelta(minutes=2))
        page = admin_client.get(START).content.decode()
        assert "overdue for more than a minute" in page
        assert "waiting for more than a minute" in page

    def test_it_takes_the_same_few_queries_however_much_there_is(self, admin_client, live, inbox):
        fill(live, inbox, 3)
        at_three = queries_for(admin_client, START)
        fill(live, inbox, 27)
        assert queries_for(admin_client, START) == at_three <= 22

    def test_it_never_counts_without_a_bound(self, admin_client):
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(START)
        counting = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
        assert counting
        assert all("LIMIT 1001" in sql for sql in counting)

    def test_a_member_is_told_of_his_own(self, live, inbox, charlie):
        unknown_mail(live, inbox)
        failed_inbound(inbox)
        ours = console(person("olga", live.account)).get(START).content.decode()
        assert "unknown: sent or not?" in ours
        assert "Inbound" not in ours
        assert "Nothing needs you." in console(person("charlie", charlie.account)).get(START).content.decode()


class TestOutbound:
    def test_its_page_shows_recipients_and_attempts(self, admin_client, live, inbox):
        live.send(inbox, to=["one@example.com", "two@example.com"], subject="Hello")
        send_due_mail()
        page = admin_client.get(page_of(OutboundMail.objects.get())).content.decode()
        for shown in ("one@example.com", "two@example.com", "Hello", "sent"):
            assert shown in page
        assert "None yet." not in page

    @pytest.mark.parametrize(
        ("button", "state", "event"),
        [("it_arrived", "sent", "message.sent"), ("it_did_not", "failed", "message.failed")],
    )
    def test_an_unknown_one_is_settled_with_a_reason(self, operator, live, inbox, button, state, event):
        unknown = unknown_mail(live, inbox)
        assert act(operator, button, unknown).status_code == 200
        assert "This field is required" in act(operator, button, unknown, reason="").content.decode()
        unknown.refresh_from_db()
        assert unknown.state == "unknown"
        assert act(operator, button, unknown, reason="I asked them").status_code == 302
        unknown.refresh_from_db()
        assert (unknown.state, unknown.error) == (state, "I asked them")
        assert Event.objects.filter(type=event, message_id=unknown.message_id).exists()
        entry = AuditEntry.objects.get(act="message.settled")
        assert (entry.actor_name, entry.changes["reason"]) == ("olga", "I asked them")

    def test_it_is_sent_again_only_after_a_warning(self, operator, live, inbox):
        unknown = unknown_mail(live, inbox)
        question = act(operator, "send_again", unknown).content.decode()
        assert "every recipient gets it twice" in question
        assert send_due_mail() == 0
        act(operator, "send_again", unknown, reason="the provider never saw it")
        run_workers()
        unknown.refresh_from_db()
        assert unknown.state == "sent"
        assert len(outbox.outbox) == 1

    def test_only_unknown_ones_are_settled(self, operator, live, inbox):
        live.send(inbox)
        send_due_mail()
        sent = OutboundMail.objects.get()
        assert "It arrived…" not in operator.get(page_of(sent)).content.decode()
        for button in ("it_arrived", "it_did_not", "send_again"):
            act(operator, button, sent, reason="again")
        sent.refresh_from_db()
        assert sent.state == "sent"

    def test_reviewers_and_strangers_settle_nothing(self, live, inbox, charlie, acme):
        unknown = unknown_mail(live, inbox)
        for user in (person("rita", acme, "reviewer"), person("charlie", charlie.account)):
            act(console(user), "send_again", unknown, reason="why not")
        assert console(user).get(page_of(unknown)).status_code == 404
        unknown.refresh_from_db()
        assert unknown.state == "unknown"

    def test_it_is_found(self, admin_client, live, inbox):
        live.send(inbox, to="jane@example.com", subject="Invoice 4711")
        mail = OutboundMail.objects.get()
        for query in ("jane@", "4711", "support@", mail.pk, mail.message_id, inbox.pk):
            assert "Invoice 4711" in admin_client.get(list_of(mail), {"q": query}).content.decode()
        for query in ({"q": "joe"}, {"state": "failed"}, {"needs": "unknown"}, {"mode": "test"}):
            assert "Invoice 4711" not in admin_client.get(list_of(mail), query).content.decode()


class TestInbound:
    def test_a_failed_one_is_tried_again_after_a_question(self, admin_client, inbox):
        failed = failed_inbound(inbox)
        assert "it cannot be read" in admin_client.get(page_of(failed)).content.decode()
        assert act(admin_client, "try_again", failed).status_code == 200
        run_workers()
        assert not Message.objects.exists()
        assert act(admin_client, "try_again", failed, reason="").status_code == 302
        run_workers()
        assert Message.objects.count() == 1
        assert AuditEntry.objects.get(act="inbound.retried").actor_name == "admin"
        assert page_of(Message.objects.get()) in admin_client.get(page_of(failed)).content.decode()

    def test_what_has_not_failed_stays_as_it_is(self, admin_client, inbox):
        deliver(mail(), inbox)
        done = InboundMail.objects.get()
        act(admin_client, "try_again", done, reason="")
        done.refresh_from_db()
        assert done.state == "processed"

    def test_it_is_for_superusers_only(self, operator, inbox):
        failed = failed_inbound(inbox)
        assert operator.get(list_of(failed)).status_code == 403
        assert operator.get(page_of(failed)).status_code in (403, 404)
        assert act(operator, "try_again", failed, reason="").status_code == 403

    def test_it_is_found(self, admin_client, inbox):
        deliver(mail(), inbox, envelope_sender="jane@example.com")
        found = InboundMail.objects.get()
        for query in ("jane@", "support@", found.pk, found.sha256):
            assert page_of(found) in admin_client.get(list_of(found), {"q": query}).content.decode()
        assert page_of(found) not in admin_client.get(list_of(found), {"q": "joe"}).content.decode()


class TestLists:
    @pytest.mark.parametrize("kind", [InboundMail, OutboundMail])
    def test_they_answer_without_rows(self, admin_client, kind):
        assert admin_client.get(list_of(kind)).status_code == 200

    def test_they_take_the_same_queries_however_long_they_are(self, admin_client, live, inbox):
        kinds = (InboundMail, OutboundMail)
        fill(live, inbox, 3)
        at_three = {kind: queries_for(admin_client, list_of(kind)) for kind in kinds}
        fill(live, inbox, 27)
        assert {kind: queries_for(admin_client, list_of(kind)) for kind in kinds} == at_three
        assert max(at_three.values()) <= 10

    def test_they_read_neither_raw_bytes_nor_bodies(self, admin_client, live, inbox):
        fill(live, inbox, 1)
        urls = [
            list_of(InboundMail),
            list_of(OutboundMail),
            page_of(InboundMail.objects.all()[0]),
            page_of(OutboundMail.objects.all()[0]),
        ]
        with CaptureQueriesContext(connection) as queries:
            for url in urls:
                admin_client.get(url)
        assert not [q["sql"] for q in queries if '"raw"' in q["sql"] or '"body_text"' in q["sql"]]

    def test_what_strangers_wrote_is_escaped(self, admin_client, live, inbox):
        unknown, failed = unknown_mail(live, inbox), failed_inbound(inbox)
        Message.objects.update(subject=HOSTILE)
        OutboundMail.objects.update(error=HOSTILE, provider=HOSTILE[:100], provider_message_id=HOSTILE)
        Recipient.objects.update(address=HOSTILE, reason=HOSTILE)
        recipients = [{"address": HOSTILE, "tag": HOSTILE, "inbox_id": inbox.pk}]
        InboundMail.objects.update(error=HOSTILE, envelope_sender=HOSTILE, helo=HOSTILE[:255], recipients=recipients)
        pages = [admin_client.get(url) for row in (unknown, failed) for url in (page_of(row), list_of(row))]
        pages += [act(admin_client, "send_again", unknown), act(admin_client, "try_again", failed)]
        for page in pages:
            assert page.status_code == 200
            assert "<script>alert" not in page.content.decode()
            assert len(page.content) < 120_000


class TestRaw:
    def raw(self, browser: Any, message: Message) -> Any:
        return browser.get(reverse("admin:delivery_raw", args=[message.pk]))

    def test_it_is_a_download_that_no_browser_opens(self, operator, inbox):
        received = mail(Subject="Raw", html="<script>alert(1)</script>")
        deliver(received, inbox)
        message = Message.objects.get()
        answer = self.raw(operator, message)
        assert answer.content == received
        assert answer["Content-Disposition"] == f'attachment; filename="{message.pk}.eml"'
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer["Content-Security-Policy"]
        assert "no-store" in answer["Cache-Control"]

    def test_what_was_sent_can_be_had_too(self, operator, live, inbox):
        live.send(inbox, subject="Ours")
        assert b"Subject: Ours" in self.raw(operator, Message.objects.get()).content

    def test_it_is_404_when_it_is_gone_or_not_yours(self, admin_client, charlie, inbox, client):
        deliver(mail(), inbox)
        message = Message.objects.get()
        assert self.raw(console(person("charlie", charlie.account)), message).status_code == 404
        assert self.raw(client, message).status_code == 302
        InboundMail.objects.all().delete()
        assert self.raw(admin_client, message).status_code == 404
