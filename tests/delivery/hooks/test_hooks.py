"""What holds for the webhook addresses of all providers"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from audit.actors import acting_as_system
from delivery.hooks import calls, news
from delivery.hooks.retrying import retry_events
from delivery.models import InboundMail, OutboundMail, ProviderEvent
from inboxes.models import Account, Inbox, Provider
from tests.cast import Caller, run_workers
from tests.delivery.hooks.cases import RAW, HookCases
from tests.fake_esp.credentials import credentials_for
from tests.fake_esp.server import FakeEsp
from tests.fake_esp.signing import Call


class Postmark(HookCases):
    """A helper here: Postmark's calls are the plainest."""

    esp = "postmark"


@pytest.fixture
def postmark(live: Caller, fake: FakeEsp) -> Postmark:
    helper = Postmark()
    body = {"name": "Mine", "esp": "postmark", "is_default": True, "credentials": credentials_for("postmark", fake.url)}
    helper.urls = live.post("/v1/providers", body).json()["data"]["webhooks"]
    return helper


@pytest.fixture
def sent(live: Caller, inbox: Inbox, postmark: Postmark) -> dict[str, Any]:
    sent = live.send(inbox, to="ann@example.com")
    run_workers()
    return sent


def states() -> list[str]:
    return sorted(ProviderEvent.objects.values_list("state", flat=True))


class TestAddress:
    @pytest.mark.parametrize("kind", ["tracking", "inbound"])
    def test_only_its_own_token_opens_it(self, postmark: Postmark, kind: str) -> None:
        path = urlsplit(postmark.urls[kind]).path
        provider = Provider.objects.get()
        for wrong in (
            path.replace(provider.token, "x" * 43),
            path.replace(provider.pk, "provider_01m8ec93r3eagb5zhv7tvbx1nw"),
        ):
            assert Client().post(wrong, b"{}", content_type="application/json").status_code == 404

    def test_an_esp_may_ask_whether_anybody_is_here(self, postmark: Postmark) -> None:
        path = urlsplit(postmark.urls["tracking"]).path
        assert [Client().get(path).status_code, Client().head(path).status_code] == [200, 200]
        assert Client().put(path).status_code == 405

    def test_what_it_has_no_webhook_for_is_said(self, live: Caller, fake: FakeEsp) -> None:
        body = {"name": "Mine", "esp": "scaleway", "credentials": credentials_for("scaleway", fake.url)}
        url = live.post("/v1/providers", body).json()["data"]["webhooks"]["tracking"]
        answer = Client().post(urlsplit(url).path, b"{}", content_type="application/json")
        assert (answer.status_code, answer.json()["error"]) == (400, "Scaleway has no webhook for tracking.")


class TestTenants:
    def test_a_provider_tells_nothing_of_others_mail(
        self, live: Caller, postmark: Postmark, sent: dict[str, Any], charlie: Caller, fake: FakeEsp
    ) -> None:
        """Whoever knows an id must not be able to say that the mail bounced."""
        theirs = charlie.with_key(mode="live")
        body = {"name": "Theirs", "esp": "postmark", "credentials": credentials_for("postmark", fake.url)}
        other = Postmark()
        other.urls = theirs.post("/v1/providers", body).json()["data"]["webhooks"]
        assert other.tell("bounced").status_code == 200
        for _ in range(len(news.RETRY_AFTER) + 1):
            ProviderEvent.objects.update(next_attempt_at=timezone.now())
            run_workers()
        assert (states(), live.events(message_id=sent["id"])) == (["unmatched"], ["message.queued", "message.sent"])

    def test_a_provider_brings_no_mail_to_others(self, postmark: Postmark, charlie: Caller) -> None:
        theirs = charlie.with_key(mode="live").create_inbox()
        payload = postmark.mail(theirs.address, RAW % (theirs.address.encode(), b"Forged"))
        assert postmark.post("inbound", postmark.signed("inbound", payload)).status_code == 200
        assert (InboundMail.objects.count(), states()) == (0, ["unmatched"])

    def test_a_shared_provider_serves_all(self, inbox: Inbox, live: Caller, charlie: Caller, fake: FakeEsp) -> None:
        provider = Provider(name="Shared", esp="postmark", is_default=True)
        provider.credentials = credentials_for("postmark", fake.url)
        provider.save()
        shared = Postmark()
        base = f"http://localhost/hooks/{provider.pk}/{provider.token}"
        shared.urls = {kind: f"{base}/{kind}" for kind in ("tracking", "inbound")}
        theirs = charlie.with_key(mode="live")
        for caller, box in ((live, inbox), (theirs, theirs.create_inbox())):
            raw = RAW % (box.address.encode(), b"Shared")
            payload = shared.mail(box.address, raw).replace("73e6d360", box.pk[-8:])
            shared.post("inbound", shared.signed("inbound", payload))
            run_workers()
            assert [message["subject"] for message in caller.messages(box)] == ["Shared"]

    def test_a_flood_of_news_holds_up_nobody(
        self, live: Caller, postmark: Postmark, sent: dict[str, Any], charlie: Caller, fake: FakeEsp
    ) -> None:
        body = {"name": "Theirs", "esp": "postmark", "credentials": credentials_for("postmark", fake.url)}
        theirs = charlie.with_key(mode="live").post("/v1/providers", body).json()["data"]["id"]
        ProviderEvent.objects.bulk_create(
            ProviderEvent(provider_id=theirs, kind="tracking", key=str(number), type="opened") for number in range(30)
        )
        postmark.tell("delivered")
        with acting_as_system("worker"):
            assert news.process_provider_events(limit=20) == 20
        assert live.events(message_id=sent["id"])[-1] == "message.delivered"


class TestTrouble:
    def test_an_account_without_room_is_to_be_called_again(
        self, inbox: Inbox, postmark: Postmark, live: Caller
    ) -> None:
        Account.objects.update(is_full=True)
        made = postmark.signed("inbound", postmark.mail(inbox.address, RAW % (inbox.address.encode(), b"Later")))
        answer = postmark.post("inbound", made)
        assert (answer.status_code, answer["Retry-After"]) == (503, "60")
        Account.objects.update(is_full=False)
        assert postmark.post("inbound", made).status_code == 200
        run_workers()
        assert [message["subject"] for message in live.messages(inbox)] == ["Later"]

    def test_a_database_in_trouble_is_to_be_called_again(
        self, postmark: Postmark, sent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise OperationalError("the server closed the connection")

        monkeypatch.setattr(calls, "_store_events", fail)
        assert postmark.tell("delivered").status_code == 503

    def test_credentials_that_cannot_be_read_are_our_trouble(self, postmark: Postmark, sent: dict[str, Any]) -> None:
        made = postmark.signed("tracking", postmark.news("delivered"))
        Provider.objects.update(sealed="gone")
        assert postmark.post("tracking", made).status_code == 503

    def test_news_that_come_before_our_own_note_are_kept(
        self, live: Caller, inbox: Inbox, postmark: Postmark, sent: dict[str, Any]
    ) -> None:
        payload = postmark.news("delivered").replace(OutboundMail.objects.get().pk, "")
        known = OutboundMail.objects.get().provider_message_id
        OutboundMail.objects.update(provider_message_id="")
        postmark.post("tracking", postmark.signed("tracking", payload))
        run_workers()
        assert (states(), ProviderEvent.objects.get().attempts) == (["pending"], 1)
        OutboundMail.objects.update(provider_message_id=known)
        ProviderEvent.objects.update(next_attempt_at=timezone.now())
        run_workers()
        assert live.events(message_id=sent["id"])[-1] == "message.delivered"

    def test_a_word_that_nobody_knows_is_kept_as_unknown(
        self, live: Caller, postmark: Postmark, sent: dict[str, Any]
    ) -> None:
        told = json.loads(postmark.news("delivered"))
        told["RecordType"] = "Teleported"
        assert postmark.post("tracking", Call(json.dumps(told).encode())).status_code == 200
        run_workers()
        event = ProviderEvent.objects.get()
        assert (event.type, event.state, event.payload["RecordType"]) == ("unknown", "processed", "Teleported")
        assert live.events(message_id=sent["id"])[-1] == "message.sent"

    def test_an_event_that_breaks_holds_up_no_other(
        self, live: Caller, postmark: Postmark, sent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = news._report

        def trip(event: ProviderEvent, mail: OutboundMail, known: Any) -> Any:
            if event.type == "bounced":
                raise RuntimeError("nobody thought of it")
            return whole(event, mail, known)

        monkeypatch.setattr(news, "_report", trip)
        postmark.tell("bounced")
        postmark.tell("delivered")
        run_workers()
        assert states() == ["pending", "processed"]
        for _ in range(len(news.RETRY_AFTER)):
            ProviderEvent.objects.update(next_attempt_at=timezone.now())
            run_workers()
        assert states() == ["failed", "processed"]
        monkeypatch.setattr(news, "_report", whole)
        with acting_as_system("operator"):
            assert retry_events(list(ProviderEvent.objects.all())) == 1
        run_workers()
        assert states() == ["processed", "processed"]

    def test_text_that_a_database_refuses_is_kept_without(self, postmark: Postmark, sent: dict[str, Any]) -> None:
        payload = postmark.news("bounced").replace("550 5.1.1", "\\u0000\\ud800 550")
        assert postmark.post("tracking", postmark.signed("tracking", payload)).status_code == 200
        assert "550" in ProviderEvent.objects.get().reason

    @pytest.mark.parametrize(
        "body",
        [
            *("[]", "7", "null", "{}", '{"RecordType": "Delivery", "Metadata": 7}', '{"RecordType": ["Open"]}'),
            '{"MessageID": 1e999, "OriginalRecipient": []}',
            '{"RecordType":"Delivery","x":' + "[" * 100_000 + "]" * 100_000 + "}",
            '{"RecordType":"Delivery","x":' + '{"a":' * 900 + "1" + "}" * 900 + "}",
        ],
    )
    @pytest.mark.parametrize("kind", ["tracking", "inbound"])
    def test_what_has_another_shape_is_no_fault_of_ours(self, postmark: Postmark, kind: str, body: str) -> None:
        """An ESP would call again for days, and each time somebody would be told of a fault."""
        assert postmark.post(kind, Call(body.encode())).status_code in (200, 400)

    def test_numbers_that_are_none_are_kept_as_text(self, postmark: Postmark, sent: dict[str, Any]) -> None:
        told = postmark.news("delivered").replace("{", '{"Rate": NaN, "Most": -Infinity, "Much": 1e999,', 1)
        assert postmark.post("tracking", postmark.signed("tracking", told)).status_code == 200
        payload = ProviderEvent.objects.get().payload
        assert [payload[name] for name in ("Rate", "Most", "Much")] == ["nan", "-inf", "inf"]

    @pytest.mark.django_db(transaction=True)
    def test_many_calls_at_once_are_one_row(self, postmark: Postmark, sent: dict[str, Any]) -> None:
        made = postmark.signed("tracking", postmark.news("delivered"))

        def tell(_: int) -> int:
            try:
                return int(postmark.post("tracking", made).status_code)
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            answers = set(pool.map(tell, range(1000)))
        assert (answers, ProviderEvent.objects.count()) == ({200}, 1)
