"""Threads, messages and events in the console: read through HTTP."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inboxes.models import Inbox
from tests.cast import Caller
from tests.console import HOSTILE, console, fill, list_of, page_of, person, queries_for
from tests.mailing import deliver, mail
from threads.models import Event, Message, Thread

KINDS = [Thread, Message, Event]


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="support")


def page(browser: Any, row: Any) -> str:
    answer = browser.get(page_of(row))
    assert answer.status_code == 200
    return str(answer.content.decode())


class TestThread:
    def test_it_shows_the_conversation_oldest_first(self, admin_client, alice, inbox):
        deliver(
            mail(body="Where is my order?\n", Message_ID="<a@example.com>", attachments={"order.pdf": b"12"}), inbox
        )
        first = Message.objects.get()
        alice.post(f"/v1/inboxes/{inbox.pk}/messages/{first.pk}/reply", {"body_text": "It left us yesterday."})
        text = page(admin_client, first.thread)
        assert text.index("Where is my order?") < text.index("order.pdf") < text.index("It left us yesterday.")
        assert "queued" in text

    def test_it_cuts_what_is_long(self, admin_client, inbox):
        deliver(mail(body="word " * 20_000), inbox)
        text = page(admin_client, Thread.objects.get())
        assert "the rest" in text
        assert len(text) < 40_000

    def test_it_takes_the_same_queries_however_long_it_is(self, admin_client, alice, inbox):
        deliver(mail(Message_ID="<a@example.com>"), inbox)
        first = Message.objects.get()

        def add(number: int) -> None:
            for _ in range(number):
                alice.post(f"/v1/inboxes/{inbox.pk}/messages/{first.pk}/reply", {"body_text": "And another."})

        add(3)
        at_three = queries_for(admin_client, page_of(first.thread))
        add(27)
        assert queries_for(admin_client, page_of(first.thread)) == at_three <= 12


class TestMessage:
    def test_it_shows_what_came_and_why_it_is_there(self, admin_client, inbox):
        deliver(
            mail(html="<p>Hi <b>you</b></p>", X_Thing="a header", To=inbox.address, attachments={"a.pdf": b"1"}), inbox
        )
        text = page(admin_client, Message.objects.get())
        for shown in ("X-Thing", "a header", "a.pdf", "It names no earlier message", "message.received", inbox.address):
            assert shown in text
        assert "&lt;b&gt;you&lt;/b&gt;" in text
        assert "<b>you</b>" not in text

    def test_it_shows_what_became_of_each_recipient(self, admin_client, alice, inbox):
        sent = alice.send(inbox, to=["one@example.com"], subject="Hello")
        recipients = [{"address": "one@example.com", "status": "bounced", "reason": "550 no such user"}]
        Message.objects.filter(pk=sent["id"]).update(recipients=recipients)
        assert "550 no such user" in page(admin_client, Message.objects.get())

    def test_it_shows_who_sent_it(self, admin_client, inbox):
        deliver(mail(), inbox)
        signature = {"domain": "evil.example", "result": "pass", "unsigned": ["Subject"]}
        dmarc = {"result": "fail", "domain": "bank.example", "policy": "reject"}
        found = {"standing": "forged", "spf": "softfail", "dkim": "pass", "dmarc": "fail", "method": "checked"}
        details = {"details": {"dkim": [signature], "dmarc": dmarc}}
        checks = {"authentication": {**found, **details}, "trust": {"score": 0.1, "looks_like": "bank.example"}}
        Message.objects.update(explanation={"checks": checks}, flags=["from_forged"])
        text = page(admin_client, Message.objects.get())
        for shown in (
            '<span class="badge tone-bad">forged</span>',
            "trust 0.1; looks like bank.example; from forged",
            "evil.example pass, does not cover Subject",
            "bank.example; policy reject",
        ):
            assert shown in text

    def test_it_says_that_it_is_degraded(self, admin_client, inbox):
        deliver(mail(), inbox)
        Message.objects.update(flags=["degraded"], degraded_reason="101 levels of parts")
        assert "101 levels of parts" in page(admin_client, Message.objects.get())

    def test_hostile_content_stays_text(self, admin_client, inbox):
        deliver(mail(Subject="x", body=HOSTILE, html=f"<p>{HOSTILE}</p>"), inbox)
        hostile = HOSTILE + "</bdi></pre></details><img src=x onerror=alert(1)>"
        columns = [
            "subject",
            "from_name",
            "from_address",
            "body_text",
            "extracted_text",
            "body_html",
            "degraded_reason",
        ]
        people = [{"name": hostile, "address": hostile}]
        Message.objects.update(
            **dict.fromkeys(columns, hostile),
            to=people,
            cc=people,
            headers=[[hostile, hostile]],
            recipients=[{"address": hostile, "status": hostile, "reason": hostile}],
            flags=[hostile],
            labels=[hostile],
            explanation={"thread": {"rule": hostile}, "checks": {"x": hostile, "authentication": {"spf": hostile}}},
        )
        Thread.objects.update(subject=hostile, participants=[hostile], labels=[hostile])
        message = Message.objects.get()
        event = Event.objects.latest("pk")
        for url in (page_of(message), page_of(message.thread), *map(list_of, KINDS), page_of(event)):
            text = admin_client.get(url).content.decode()
            assert "<script>alert" not in text
            assert "<img src=x" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page(admin_client, message)

    def test_foreign_direction_marks_are_kept_apart(self, admin_client, inbox):
        deliver(mail(Subject="\u202egnp.exe"), inbox)
        text = admin_client.get(list_of(Message)).content.decode()
        assert '<bdi class="foreign">\u202egnp.exe</bdi>' in text

    def test_the_list_reads_no_bodies(self, admin_client, inbox):
        deliver(mail(), inbox)
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(list_of(Message))
        assert not any("body_text" in query["sql"] or "headers" in query["sql"] for query in queries)


class TestLists:
    @pytest.mark.parametrize("kind", KINDS)
    def test_they_answer_without_rows(self, admin_client, kind):
        assert admin_client.get(list_of(kind)).status_code == 200

    def test_they_take_the_same_queries_however_long_they_are(self, admin_client, alice, inbox):
        fill(alice, inbox, 3)
        at_three = {kind: queries_for(admin_client, list_of(kind)) for kind in KINDS}
        fill(alice, inbox, 27)
        assert {kind: queries_for(admin_client, list_of(kind)) for kind in KINDS} == at_three
        assert max(at_three.values()) <= 10

    def test_an_event_has_a_page(self, admin_client, inbox):
        deliver(mail(), inbox)
        for event in Event.objects.all():
            assert event.type in page(admin_client, event)

    def test_they_find_and_narrow(self, admin_client, alice, inbox):
        other = alice.create_inbox(username="other")
        deliver(mail(Subject="Invoice 4711"), inbox)
        deliver(mail(Subject="Holiday"), other)
        invoice = Message.objects.get(inbox=inbox)
        queries = (
            {"q": "invoice"},
            {"q": invoice.pk},
            {"q": invoice.thread_id},
            {"inbox": inbox.pk},
            {"q": "support@"},
        )
        for kind in (Message, Thread):
            for query in queries if kind is Message else queries[2:]:
                text = admin_client.get(list_of(kind), query).content.decode()
                assert "Invoice 4711" in text, query
                assert "Holiday" not in text, query
        for query in ({"q": "nothing of the kind"}, {"status": "failed"}, {"flag": "degraded"}, {"inbox": "x\0"}):
            assert "Invoice 4711" not in admin_client.get(list_of(Message), query).content.decode()
        assert invoice.message_id_header[1:-1] in page(admin_client, invoice)

    def test_events_are_found_by_ids(self, admin_client, inbox):
        deliver(mail(), inbox)
        message = Message.objects.get()
        for query in ({"q": message.pk}, {"q": message.thread_id, "type": "message.received"}):
            assert "message.received" in admin_client.get(list_of(Event), query).content.decode()
        assert "0 events" in admin_client.get(list_of(Event), {"q": "hello"}).content.decode()


class TestWhoSees:
    @pytest.mark.parametrize("role", ["operator", "reviewer"])
    def test_a_member_sees_the_rows_of_his_account(self, acme, inbox, role):
        deliver(mail(Subject="For us"), inbox)
        browser = console(person("olga", acme, role))
        message = Message.objects.get()
        assert "For us" in page(browser, message)
        assert "For us" in page(browser, message.thread)
        assert "For us" in browser.get(list_of(Message)).content.decode()

    def test_a_stranger_sees_none(self, charlie, inbox):
        deliver(mail(Subject="For us"), inbox)
        browser = console(person("charlie", charlie.account))
        message = Message.objects.get()
        for row in (message, message.thread, Event.objects.latest("pk")):
            assert browser.get(page_of(row)).status_code == 404
            text = browser.get(list_of(row), {"inbox": inbox.pk}).content.decode()
            assert "For us" not in text
            assert "support@" not in text

    def test_nobody_changes_them(self, admin_client, inbox):
        deliver(mail(), inbox)
        message = Message.objects.get()
        for row in (message, message.thread, Event.objects.latest("pk")):
            assert admin_client.post(page_of(row), {"subject": "mine"}).status_code == 403
            assert admin_client.get(list_of(row) + "add/").status_code == 403
            assert admin_client.post(page_of(row).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
