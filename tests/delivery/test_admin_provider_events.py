"""What ESPs told, in the console: for superusers, and of their own providers for owners."""

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditEntry
from delivery.models import InboundMail, OutboundMail, ProviderEvent
from delivery.outbound.send import send_due_mail
from inboxes.models import Account, Inbox, Provider
from tests.cast import Caller, run_workers
from tests.console import HOSTILE, act, console, failed_event, list_of, page_of, person, queries_for
from tests.delivery.hooks.cases import RAW
from tests.mailing import deliver, mail

START = "/admin/"
TOKEN = "the-server-token"
LONG_AGO = timedelta(days=2)


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox(username="support")


def make_provider(caller: Caller, esp: str = "postmark", **credentials: str) -> Provider:
    body = {"name": f"Our {esp}", "esp": esp, "credentials": credentials or {"server_token": TOKEN}}
    answer = caller.post("/v1/providers", body)
    assert answer.status_code == 201, answer.content
    return Provider.objects.get(pk=answer.json()["data"]["id"])


@pytest.fixture
def provider(live: Caller) -> Provider:
    return make_provider(live)


def tell(provider: Provider, hook: str, told: dict[str, Any]) -> Any:
    """What the ESP calls."""
    url = f"/hooks/{provider.pk}/{provider.token}/{hook}"
    return Client().post(urlsplit(url).path, json.dumps(told), content_type="application/json")


def bounce(mail_id: str = "", recipient: str = "ann@example.com") -> dict[str, Any]:
    told = {"RecordType": "Bounce", "ID": 4711, "Type": "HardBounce", "TypeCode": 1, "Email": recipient}
    about = {"MessageID": "its-id", "BouncedAt": "2026-11-05T16:33:54Z", "Details": "no such user"}
    return {**told, **about, "Metadata": {"mailbot_id": mail_id}}


def text_of(client: Client, url: str, **query: Any) -> str:
    answer: Any = client.get(url, query)
    assert answer.status_code == 200
    return str(answer.content.decode())


def found(client: Client, **query: str) -> set[str]:
    answer: Any = client.get(list_of(ProviderEvent), query)
    assert answer.status_code == 200
    return {event.key for event in answer.context["cl"].result_list}


class TestList:
    def test_it_says_what_to_do_when_there_is_none(self, admin_client: Client, db: None) -> None:
        assert "No provider has called yet." in text_of(admin_client, list_of(ProviderEvent))

    def test_it_narrows(self, admin_client: Client, live: Caller, provider: Provider) -> None:
        other = make_provider(live, "resend", api_key="secret")
        now = timezone.now()
        unfinished = {"state": "pending", "processed_at": None, "error": ""}
        failed_event(provider, key="failed")
        failed_event(provider, key="failed long ago", processed_at=now - LONG_AGO)
        failed_event(provider, key="unmatched", state="unmatched")
        failed_event(provider, key="done", state="processed")
        failed_event(provider, key="late", attempts=0, next_attempt_at=now - timedelta(minutes=2), **unfinished)
        failed_event(provider, key="again", attempts=1, next_attempt_at=now + timedelta(minutes=2), **unfinished)
        held = {"lease_until": now + timedelta(minutes=1), "next_attempt_at": now - timedelta(minutes=2)}
        failed_event(provider, key="held", attempts=0, **held, **unfinished)
        failed_event(other, key="mail", kind="inbound", state="unmatched")
        assert found(admin_client, needs="failed") == {"failed"}
        assert found(admin_client, needs="unmatched") == {"unmatched", "mail"}
        assert found(admin_client, needs="late") == {"late"}
        assert found(admin_client, needs="retried") == {"again"}
        assert found(admin_client, state="failed") == {"failed", "failed long ago"}
        assert found(admin_client, state="pending") == {"late", "again", "held"}
        assert found(admin_client, state="processed") == {"done"}
        assert found(admin_client, kind="inbound") == found(admin_client, esp="resend") == {"mail"}
        assert found(admin_client, provider=other.pk) == {"mail"}
        assert found(admin_client, provider="nonsense") == set()

    def test_it_finds(self, admin_client: Client, provider: Provider) -> None:
        event = failed_event(provider, key="one", recipient="jane@example.com", provider_message_id="its-id")
        failed_event(provider, key="two", recipient="joe@example.com")
        for query in ("jane@", "its-id", event.pk):
            assert found(admin_client, q=query) == {"one"}
        assert found(admin_client, q=provider.pk) == {"one", "two"}

    def test_it_asks_as_often_however_many_there_are(self, admin_client: Client, live: Caller) -> None:
        for esp in ("postmark", "sparkpost"):
            credentials = {"server_token": TOKEN} if esp == "postmark" else {"api_key": "secret"}
            failed_event(make_provider(live, esp, **credentials))
        at_two = queries_for(admin_client, list_of(ProviderEvent))
        for _ in range(30):
            for provider in Provider.objects.all():
                failed_event(provider)
        assert queries_for(admin_client, list_of(ProviderEvent)) == at_two <= 10

    def test_it_does_not_read_what_is_long(self, admin_client: Client, provider: Provider) -> None:
        failed_event(provider)
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(list_of(ProviderEvent))
        assert not [query["sql"] for query in queries if '"payload"' in query["sql"] or '"sealed"' in query["sql"]]


class TestPage:
    def test_it_shows_what_was_told_and_of_which_mail(
        self, admin_client: Client, live: Caller, inbox: Inbox, provider: Provider
    ) -> None:
        live.send(inbox, to="ann@example.com", subject="Your invoice")
        send_due_mail()
        told_of = OutboundMail.objects.get()
        assert tell(provider, "tracking", bounce(told_of.pk)).status_code == 200
        run_workers()
        text = text_of(admin_client, page_of(ProviderEvent.objects.get()))
        for shown in ("bounced", "ann@example.com", "no such user", "its-id", "HardBounce", "Your invoice"):
            assert shown in text
        assert page_of(told_of) in text
        assert "Try again…" not in text

    def test_what_strangers_wrote_is_escaped_and_cut(self, admin_client: Client, provider: Provider) -> None:
        told = {"recipient": HOSTILE, "reason": HOSTILE, "provider_message_id": HOSTILE, "error": HOSTILE}
        event = failed_event(provider, payload={"text": HOSTILE * 5}, data={"url": HOSTILE}, **told)
        for url in (page_of(event), list_of(event)):
            assert "<script>alert" not in text_of(admin_client, url)
        text = text_of(admin_client, page_of(event))
        assert "characters more" in text
        assert "<script>alert" not in act(admin_client, "try_again", event).content.decode()

    def test_a_mail_for_nobody_is_explained_and_cannot_be_tried_again(
        self, admin_client: Client, provider: Provider
    ) -> None:
        event = failed_event(provider, kind="inbound", state="unmatched", payload={})
        text = text_of(admin_client, page_of(event))
        assert "nothing of it is kept" in text
        assert "Try again…" not in text
        act(admin_client, "try_again", event, reason="")
        event.refresh_from_db()
        assert event.state == "unmatched"

    def test_it_is_for_superusers_only(self, acme: Account, provider: Provider) -> None:
        event, owner = failed_event(provider), console(person("ann", acme, "owner"))
        assert owner.get(list_of(event)).status_code == 403
        assert owner.get(page_of(event)).status_code in (403, 404)
        assert act(owner, "try_again", event, reason="").status_code == 403


class TestTryAgain:
    def test_news_are_applied_after_a_question(
        self, admin_client: Client, live: Caller, inbox: Inbox, provider: Provider
    ) -> None:
        sent = live.send(inbox, to="ann@example.com")
        send_due_mail()
        event = failed_event(provider, told_mail_id=OutboundMail.objects.get().pk)
        assert "Try again…" in text_of(admin_client, page_of(event))
        assert act(admin_client, "try_again", event).status_code == 200
        run_workers()
        assert "message.bounced" not in live.events(message_id=sent["id"])
        assert act(admin_client, "try_again", event, reason="it is mended").status_code == 302
        run_workers()
        assert "message.bounced" in live.events(message_id=sent["id"])
        entry = AuditEntry.objects.get(act="provider.event_retried")
        assert (entry.actor_name, entry.changes) == ("admin", {"reason": "it is mended"})


class TestStart:
    def test_it_counts_what_failed_and_what_is_late(self, admin_client: Client, provider: Provider) -> None:
        unfinished = {"state": "pending", "processed_at": None, "error": "", "attempts": 0}
        failed_event(provider)
        failed_event(provider, next_attempt_at=timezone.now() - timedelta(minutes=5), **unfinished)
        page = text_of(admin_client, START)
        assert "Provider events failed in the last 24 hours" in page
        assert "Provider events overdue for more than a minute" in page
        assert "Provider events, to be processed" in page
        assert "oldest: 5 min" in page

    def test_news_of_no_mail_need_nobody(self, admin_client: Client, provider: Provider) -> None:
        failed_event(provider, state="unmatched")
        assert "Nothing needs you." in text_of(admin_client, START)

    def test_members_are_not_told_of_the_servers_rows(self, acme: Account, provider: Provider) -> None:
        failed_event(provider)
        page = text_of(console(person("ann", acme, "owner")), START)
        assert "Nothing needs you." in page
        assert "Provider events" not in page


class TestProvider:
    def test_it_says_when_the_last_call_came(
        self, acme: Account, live: Caller, inbox: Inbox, provider: Provider
    ) -> None:
        """Of mail that comes with the call itself there is no event."""
        owner = console(person("ann", acme, "owner"))
        assert text_of(owner, page_of(provider)).count("<td>never</td>") == 2
        raw = (RAW % (inbox.address.encode(), b"Hello")).decode("latin-1")
        told = {"MessageID": "one", "From": "ann@example.com", "OriginalRecipient": inbox.address, "RawEmail": raw}
        assert tell(provider, "inbound", told).status_code == 200
        assert not ProviderEvent.objects.exists()
        assert text_of(owner, page_of(provider)).count("<td>never</td>") == 1
        assert tell(provider, "tracking", bounce()).status_code == 200
        text = text_of(owner, page_of(provider))
        assert "<td>never</td>" not in text
        assert "Events in the last 24 hours: <strong>1</strong>" in text

    def test_a_call_that_is_refused_is_none(self, live: Caller, acme: Account) -> None:
        resend = make_provider(live, "resend", api_key="secret")
        assert tell(resend, "tracking", {}).status_code == 503
        resend.refresh_from_db()
        assert resend.tracking_called_at is None

    @pytest.mark.parametrize("role", ["owner", "operator"])
    def test_it_says_which_secret_is_missing(self, acme: Account, live: Caller, role: str) -> None:
        resend = make_provider(live, "resend", api_key="the-api-key", signing_secret="whsec_c2VjcmV0")
        text = text_of(console(person("ann", acme, role)), page_of(resend))
        assert "“Signing secret of the inbound webhook” is not entered yet." in text
        assert "“Signing secret of the tracking webhook” is not" not in text
        assert "whsec_" not in text
        assert "the-api-key" not in text
        assert (resend.token in text) is (role == "owner")

    def test_it_shows_no_address_where_the_esp_calls_none(self, acme: Account, live: Caller) -> None:
        scaleway = make_provider(live, "scaleway", secret_key="secret", project_id="one")
        text = text_of(console(person("ann", acme, "owner")), page_of(scaleway))
        assert "Scaleway calls no webhooks." in text
        assert scaleway.token not in text

    def test_it_says_how_much_is_on_the_wire_and_whether_it_waits(
        self, acme: Account, live: Caller, inbox: Inbox, provider: Provider
    ) -> None:
        live.send(inbox)
        OutboundMail.objects.update(state="sending", carrier=provider)
        owner, until = console(person("ann", acme, "owner")), timezone.now() + timedelta(minutes=5)
        Provider.objects.update(waits_until=until)
        text = text_of(owner, page_of(provider))
        assert "1 of at most 8 mails at a moment" in text
        assert until.strftime("%H:%M:%S") in text
        Provider.objects.update(waits_until=until - LONG_AGO)
        assert (until - LONG_AGO).strftime("%Y-%m-%d %H:%M:%S") not in text_of(owner, page_of(provider))

    def test_credentials_that_cannot_be_read_do_not_hide_the_rest(self, acme: Account, provider: Provider) -> None:
        Provider.objects.update(sealed="gone")
        text = text_of(console(person("ann", acme, "owner")), page_of(provider))
        assert "cannot be decrypted" in text
        assert "is not entered yet" not in text

    def test_owners_see_what_came_to_nothing(self, acme: Account, charlie: Caller, provider: Provider) -> None:
        for number in range(22):
            failed_event(provider, state="unmatched", recipient=f"number-{number:02}@example.com", error=HOSTILE)
        failed_event(make_provider(charlie.with_key(mode="live")), recipient="theirs@example.com")
        text = text_of(console(person("ann", acme, "owner")), page_of(provider))
        shown = [f"number-{number:02}@" in text for number in range(22)]
        assert shown == [False, False] + [True] * 20
        assert "theirs@" not in text
        assert "<script>alert" not in text
        assert "Its events" not in text
        assert "number-21@" not in text_of(console(person("bob", acme, "operator")), page_of(provider))

    def test_its_page_asks_as_often_however_much_there_is(self, acme: Account, provider: Provider) -> None:
        owner = console(person("ann", acme, "owner"))
        failed_event(provider)
        before = queries_for(owner, page_of(provider))
        for _ in range(30):
            failed_event(provider)
        assert queries_for(owner, page_of(provider)) == before


class TestQueues:
    def test_an_outbound_mail_shows_both_ids(self, admin_client: Client, live: Caller, inbox: Inbox) -> None:
        live.send(inbox)
        OutboundMail.objects.update(provider_message_id="their-own", final_message_id="<final@amazonses.com>")
        text = text_of(admin_client, page_of(OutboundMail.objects.get()))
        assert "their-own" in text
        assert "final@" in text

    def test_an_inbound_mail_says_by_whom_it_came_and_how_much_is_kept(
        self, admin_client: Client, inbox: Inbox
    ) -> None:
        deliver(mail(), inbox)
        InboundMail.objects.update(source="sendgrid", fidelity="rebuilt")
        kept = InboundMail.objects.get()
        text = text_of(admin_client, page_of(kept))
        assert "SendGrid" in text
        assert "put together from the fields that the ESP gives" in text
        assert page_of(kept) in text_of(admin_client, list_of(kept), source="sendgrid")
        assert page_of(kept) not in text_of(admin_client, list_of(kept), source="smtp")
