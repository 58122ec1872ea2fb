"""What holds for each ESP's webhooks. Its file says what is its own: how it signs, which news it has, how it hands over a mail."""

import base64
import json
from pathlib import Path
from string import Template
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from django.test import Client

from delivery.models import InboundMail, OutboundMail, ProviderEvent
from inboxes.models import Inbox, Provider
from tests.cast import Caller, run_workers
from tests.fake_esp.credentials import credentials_for
from tests.fake_esp.server import FakeEsp
from tests.fake_esp.signing import SECRETS, Call, call

PAYLOADS = Path(__file__).with_name("payloads")
# Characters of Latin-1 in a mail that says nothing of them: what is not exact loses them.
RAW = (
    b"From: Ann <ann@example.com>\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <one@example.com>\r\n"
    b"Date: Thu, 05 Nov 2026 16:59:01 +0200\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\nHello, Gr\xfc\xdfe\r\n"
)
SHOWN: dict[str, tuple[str, str]] = {
    "sent": ("message.sent", "sent"),
    "delivered": ("message.delivered", "delivered"),
    "deferred": ("message.deferred", "deferred"),
    "bounced": ("message.bounced", "bounced"),
    "complained": ("message.complained", "complained"),
    "opened": ("message.opened", "sent"),
    "clicked": ("message.clicked", "sent"),
}


class HookCases:
    pytestmark = pytest.mark.one_profile  # test_hooks.py asks the databases

    esp: ClassVar[str]
    has: ClassVar[tuple[str, ...]] = ("delivered", "deferred", "bounced", "complained", "opened", "clicked")
    is_signed: ClassVar[bool] = True
    fidelity: ClassVar[str] = "exact"
    takes_mail: ClassVar[bool] = True
    good: ClassVar[str] = "delivered"
    knows_by_its_id: ClassVar[bool] = False  # it has no place for our id

    @pytest.fixture
    def provider(self, live: Caller, fake: FakeEsp) -> Provider:
        credentials = {**credentials_for(self.esp, fake.url), **SECRETS.get(self.esp, {})}
        body = {"name": "Mine", "esp": self.esp, "is_default": True, "credentials": credentials}
        answer = live.post("/v1/providers", body)
        assert answer.status_code == 201, answer.content
        self.urls: dict[str, str] = answer.json()["data"]["webhooks"]
        return Provider.objects.get(pk=answer.json()["data"]["id"])

    @pytest.fixture
    def sent(self, live: Caller, inbox: Inbox, provider: Provider) -> dict[str, Any]:
        sent = live.send(inbox, to="ann@example.com", subject="Hello")
        run_workers()
        return sent

    def payload(self, name: str, **values: str) -> str:
        return Template((PAYLOADS / self.esp / f"{name}.json").read_text()).safe_substitute(values)

    def news(self, name: str) -> str:
        mail = OutboundMail.objects.get()
        return self.payload(
            name,
            mail_id=mail.pk,
            provider_message_id=mail.provider_message_id,
            recipient="ann@example.com",
            sender="agent@example.com",
        )

    def mail(self, inbox: str, raw: bytes, name: str = "inbound") -> str:
        """The payload that brings a mail. JSON cannot carry octets: an ESP that puts text there has decoded it."""
        text = raw.decode("utf-8", "replace")
        return self.payload(
            name,
            inbox=inbox,
            subject="From outside",
            raw=json.dumps(text)[1:-1],
            raw_base64=base64.b64encode(raw).decode(),
        )

    def signed(self, hook: str, payload: str) -> Call:
        return call(self.esp, hook, self.urls[hook], payload, f"the-{'api_key'}")

    def post(self, hook: str, made: Call) -> Any:
        path = urlsplit(self.urls[hook]).path
        client = Client(raise_request_exception=False)
        return client.post(path, made.body, content_type=made.content_type, headers=dict(made.headers))

    def tell(self, name: str) -> Any:
        return self.post("tracking", self.signed("tracking", self.news(name)))

    # --- News ---

    @pytest.mark.parametrize("name", SHOWN)
    def test_it_takes_news(self, live: Caller, inbox: Inbox, sent: dict[str, Any], name: str) -> None:
        if name not in self.has:
            pytest.skip(f"{self.esp} does not tell it")
        answer = self.tell(name)
        assert (answer.status_code, answer.json()["events"]) == (200, 1), answer.content
        assert ProviderEvent.objects.get().state == "pending"
        run_workers()
        event, status = SHOWN[name]
        assert live.events(message_id=sent["id"])[-1] == event
        assert live.events(message_id=sent["id"]).count(event) == 1
        message = live.get(f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}").json()["data"]
        assert message["status"] == status
        kept = ProviderEvent.objects.get()
        assert (kept.state, kept.type) == ("processed", "queued" if kept.type == "queued" else name)
        assert kept.payload

    def test_what_is_told_twice_counts_once(self, live: Caller, sent: dict[str, Any]) -> None:
        made = self.signed("tracking", self.news(self.good))
        assert [self.post("tracking", made).status_code for _ in range(3)] == [200, 200, 200]
        run_workers()
        assert live.events(message_id=sent["id"]).count(f"message.{self.good}") == 1
        assert ProviderEvent.objects.count() == 1

    def test_it_goes_forward_only(self, live: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        self.tell("bounced")
        self.tell(self.good)
        run_workers()
        assert live.get(f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}").json()["data"]["status"] == "bounced"

    def test_it_settles_what_nobody_knew(self, live: Caller, inbox: Inbox, provider: Provider, fake: FakeEsp) -> None:
        sent = live.send(inbox, to="ann@example.com", subject="[cut]")
        run_workers()
        assert OutboundMail.objects.get().state == "unknown"
        OutboundMail.objects.update(provider_message_id=fake.ledger[0]["id"] if self.knows_by_its_id else "")
        self.tell(self.good)
        run_workers()
        assert OutboundMail.objects.get().state == "sent"
        message = live.get(f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}").json()["data"]
        assert message["status"] == SHOWN[self.good][1]

    # --- Who calls ---

    def test_it_refuses_a_wrong_signature(self, sent: dict[str, Any]) -> None:
        if not self.is_signed:
            pytest.skip("the secret is in the address")
        made = self.signed("tracking", self.news(self.good))
        changed = Call(made.body.replace(b"ann@example.com", b"bob@example.com"), made.content_type, made.headers)
        bare = Call(made.body, made.content_type)
        for forged in (self.forged(made) or changed, self.unsigned(made) or bare):
            answer = self.post("tracking", forged)
            assert (answer.status_code, ProviderEvent.objects.count()) == (400, 0)

    def forged(self, made: Call) -> Call | None:
        return None

    def unsigned(self, made: Call) -> Call | None:
        return None

    def test_it_wants_the_secret_of_the_row(self, live: Caller, sent: dict[str, Any], provider: Provider) -> None:
        """A row without one is no open door, whatever the settings have; and the ESP is to call again once it is entered."""
        if not self.is_signed or self.esp == "unisender_go":
            pytest.skip("the secret is in the address, or the key of its API")
        made = self.signed("tracking", self.news(self.good))
        kept = {k: v for k, v in provider.credentials.items() if k not in SECRETS[self.esp]}
        provider.credentials = kept
        provider.save()
        answer = self.post("tracking", made)
        assert (answer.status_code, ProviderEvent.objects.count()) == (503, 0)
        assert "Enter it in mailbot" in answer.json()["error"]

    def test_it_refuses_what_cannot_be_read(self, provider: Provider) -> None:
        answer = self.post("tracking", Call(b"{"))
        assert answer.status_code == 400

    # --- Mail ---

    def test_it_takes_mail(self, live: Caller, inbox: Inbox, provider: Provider) -> None:
        if not self.takes_mail:
            pytest.skip(f"{self.esp} takes none in")
        raw = RAW % (inbox.address.encode(), b"From outside")
        made = self.signed("inbound", self.mail(inbox.address, raw))
        for _ in range(2):
            answer = self.post("inbound", made)
            assert answer.status_code == 200, answer.content
        run_workers()
        (message,) = live.messages(inbox)
        assert (message["subject"], message["from_address"]) == ("From outside", "ann@example.com")
        kept = InboundMail.objects.get()
        assert (kept.source, kept.fidelity, kept.state) == (self.esp, self.fidelity, "processed")
        if self.fidelity == "exact":
            assert live.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content == raw

    def test_it_keeps_what_is_for_nobody_here_out(self, inbox: Inbox, provider: Provider) -> None:
        if not self.takes_mail:
            pytest.skip(f"{self.esp} takes none in")
        raw = RAW % (b"nobody@elsewhere.example", b"From outside")
        answer = self.post("inbound", self.signed("inbound", self.mail("nobody@elsewhere.example", raw)))
        assert answer.status_code == 200
        run_workers()
        assert not InboundMail.objects.exists()
        assert "unmatched" in ProviderEvent.objects.values_list("state", flat=True)
