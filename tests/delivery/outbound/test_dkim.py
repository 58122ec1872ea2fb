"""DKIM signatures on mail of domains, as a receiver verifies them: by dkimpy, against what stands in DNS."""

# ruff: noqa: F811  (the fixture smart_host is imported, and so is an argument of the same name)

from typing import Any

import dkim
import pytest

from delivery.models import OutboundMail
from inboxes.models import DomainKey, Inbox
from mailbot.lib.addresses import canonical
from mailbot.lib.dns import LookupFailed, lookup
from tests.cast import Caller, run_workers
from tests.delivery.outbound.test_smart_host import smart_host  # noqa: F401 (a fixture)
from tests.dns_zone import PublishedZone, verified_domain, verify
from tests.fake_esp.smtp import FakeSmartHost


def text_of(name: bytes, timeout: int = 5) -> bytes:
    try:
        return lookup(name.decode(), "TXT")[0].encode()
    except LookupFailed:
        return b""


def is_signed(raw: bytes) -> bool:
    return bool(dkim.verify(raw, dnsfunc=text_of))


def fields_of(raw: bytes) -> dict[str, str]:
    value = raw.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").split(b"\r\n")[0].removeprefix(b"DKIM-Signature:")
    pairs = (part.partition(b"=") for part in value.split(b";"))
    return {name.strip().decode(): b"".join(value.split()).decode() for name, _, value in pairs}


def last_of(host: FakeSmartHost) -> bytes:
    content = host.taken[-1]["content"]
    assert isinstance(content, bytes)
    return content


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def domain(live: Caller, dns: PublishedZone) -> dict[str, Any]:
    return verified_domain(live, dns)


@pytest.fixture
def inbox(live: Caller, domain: dict[str, Any]) -> Inbox:
    return live.create_inbox(username="support", domain="shop.example", display_name="Süpport")


@pytest.mark.usefixtures("inbox")
class TestSmartHost:
    def sent(self, live: Caller, inbox: Inbox, smart_host: FakeSmartHost, **body: Any) -> bytes:
        live.send(inbox, **{"subject": "Grüße", "body_text": "Hello  \n\nthere \n\n\n", **body})
        run_workers()
        return last_of(smart_host)

    def test_what_leaves_is_signed(self, live: Caller, inbox: Inbox, smart_host: FakeSmartHost) -> None:
        raw = self.sent(live, inbox, smart_host)
        assert is_signed(raw)
        fields = fields_of(raw)
        assert (fields["a"], fields["c"], fields["d"]) == ("rsa-sha256", "relaxed/relaxed", "shop.example")
        assert not is_signed(raw.replace(b"there", b"where"))

    def test_attachments_and_html_are(self, live: Caller, inbox: Inbox, smart_host: FakeSmartHost) -> None:
        files = [{"filename": "a.bin", "content": "AAECAw=="}]
        raw = self.sent(live, inbox, smart_host, body_html="<p>Hellö</p>", attachments=files, cc=["ann@example.com"])
        assert is_signed(raw)

    @pytest.mark.parametrize("header", ["From", "To", "Cc", "Subject", "Date", "Reply-To"])
    def test_no_second_one_can_be_added(
        self,
        live: Caller,
        inbox: Inbox,
        smart_host: FakeSmartHost,
        header: str,
    ) -> None:
        raw = self.sent(live, inbox, smart_host)
        assert not is_signed(f"{header}: evil@example.com\r\n".encode() + raw)
        assert is_signed(b"X-Spam: no\r\nReceived: from a by b\r\n" + raw)

    def test_the_rest_is_what_was_accepted(self, live: Caller, inbox: Inbox, smart_host: FakeSmartHost) -> None:
        raw = self.sent(live, inbox, smart_host)
        kept = bytes(OutboundMail.objects.get().raw)
        assert raw.endswith(kept)
        signature = raw.removesuffix(kept)
        assert signature.startswith(b"DKIM-Signature: ")
        assert max(map(len, signature.split(b"\r\n"))) < 80

    def test_bounces_come_back_by_the_return_path(
        self,
        live: Caller,
        inbox: Inbox,
        smart_host: FakeSmartHost,
        domain: dict[str, Any],
        dns: PublishedZone,
    ) -> None:
        self.sent(live, inbox, smart_host)
        assert canonical(smart_host.taken[-1]["sender"]).address == "support@bounces.shop.example"
        dns.put("bounces.shop.example", "MX")
        verify(live, domain)
        self.sent(live, inbox, smart_host)
        assert canonical(smart_host.taken[-1]["sender"]).address == "support@shop.example"

    def test_a_subdomains_mail_is_signed_for_the_domain(
        self,
        live: Caller,
        smart_host: FakeSmartHost,
    ) -> None:
        inbox = live.create_inbox(username="billing", domain="shop.example", own_subdomain=True)
        raw = self.sent(live, inbox, smart_host)
        assert is_signed(raw)
        assert fields_of(raw)["d"] == "shop.example"
        assert canonical(smart_host.taken[-1]["sender"]).address == "billing@billing.shop.example"

    def test_a_key_signs_from_when_it_is_published(
        self,
        live: Caller,
        inbox: Inbox,
        smart_host: FakeSmartHost,
        domain: dict[str, Any],
        dns: PublishedZone,
    ) -> None:
        old = DomainKey.objects.get().selector
        rotated = live.post(f"/v1/domains/{domain['id']}/rotate-key").json()["data"]
        before = self.sent(live, inbox, smart_host)
        assert fields_of(before)["s"] == old
        dns.publish(rotated["dns_records"])
        verify(live, domain)
        after = self.sent(live, inbox, smart_host)
        assert fields_of(after)["s"] != old
        assert is_signed(before)
        assert is_signed(after)

    def test_the_servers_own_domain_is_nobodys_to_sign(self, live: Caller, smart_host: FakeSmartHost) -> None:
        raw = self.sent(live, live.create_inbox(), smart_host)
        assert b"DKIM-Signature" not in raw

    def test_a_mail_waits_whose_key_cannot_be_read(
        self,
        live: Caller,
        inbox: Inbox,
        smart_host: FakeSmartHost,
        settings: Any,
    ) -> None:
        settings.ENCRYPTION_KEYS = ["another"]
        live.send(inbox, subject="Hello")
        run_workers()
        assert not smart_host.taken
        mail = OutboundMail.objects.get()
        assert mail.state == "queued"
        assert "DKIM key" in mail.error


class TestOtherWaysOut:
    def test_a_provider_by_smtp_gets_it_signed(
        self, live: Caller, inbox: Inbox, smart_host: FakeSmartHost, settings: Any
    ) -> None:
        settings.FETCH_ALLOW = ["127.0.0.1"]
        credentials = {"host": "127.0.0.1", "port": str(settings.EMAIL_PORT), "security": "none"}
        provider = {"name": "Relay", "esp": "smtp", "credentials": credentials, "is_default": True}
        assert live.post("/v1/providers", provider).status_code == 201
        live.send(inbox, subject="Hello")
        run_workers()
        assert OutboundMail.objects.get().provider == "Relay"
        assert is_signed(last_of(smart_host))
