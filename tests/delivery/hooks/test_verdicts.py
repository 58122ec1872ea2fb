"""What an ESP found out about the sender of a mail that it took in: shown as it says it, and believed as far as it proves something."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from delivery.esps.told import from_authentication_results, from_received_spf
from inboxes.models import Inbox
from tests.cast import Caller, run_workers
from tests.delivery.hooks import test_mailgun, test_resend, test_sendgrid
from tests.delivery.hooks.cases import HookCases
from tests.delivery.inbound.authentication.senders import BANK_SERVER, World, signed
from tests.delivery.inbound.authentication.shown import Shown, newest
from tests.fake_esp.credentials import credentials_for
from tests.fake_esp.server import FakeEsp
from tests.fake_esp.signing import SECRETS
from tests.mailing import mail

pytestmark = pytest.mark.one_profile
ANN = "ann@bank.example"
AMAZON = "amazonses.com; spf=pass (spfCheck: domain of bank.example designates 198.51.100.7) client-ip=198.51.100.7; envelope-from=x;"


@pytest.fixture(autouse=True)
def _published(settings: Any, tmp_path: Path) -> None:
    settings.AUTHENTICATION_SECONDS = 5
    settings.DNS_ZONE_FILE = tmp_path / "zone"
    World(settings.DNS_ZONE_FILE).domain("bank.example", BANK_SERVER, "p=reject", is_signing=True)


Bring = Callable[..., Shown]


@pytest.fixture
def bring(live: Caller, inbox: Inbox, fake: FakeEsp) -> Bring:
    """A mail by one of them. `told`: changes the payload; `fields`: of a form."""

    def bring(
        kind: type[HookCases],
        raw: bytes | None = None,
        told: Callable[[Any], None] | None = None,
        **fields: str,
    ) -> Shown:
        esp = kind()
        esp.fake = fake  # type: ignore[attr-defined]  # where Resend's mail is fetched from
        credentials = {**credentials_for(esp.esp, fake.url), **SECRETS.get(esp.esp, {})}
        body = {"name": "Mine", "esp": esp.esp, "is_default": True, "credentials": credentials}
        esp.urls = live.post("/v1/providers", body).json()["data"]["webhooks"]
        payload = json.loads(esp.mail(inbox.address, raw or mail(From=ANN, To=inbox.address)))
        if told:
            told(payload)
        answer = esp.post("inbound", esp.signed("inbound", json.dumps({**payload, **fields} if fields else payload)))
        assert answer.status_code == 200, answer.content
        run_workers()
        return newest(live, inbox)

    return bring


class AmazonSES(HookCases):
    esp = "amazon_ses"


class Postmark(HookCases):
    esp = "postmark"


class Mandrill(HookCases):
    esp = "mandrill"


class MailerSend(HookCases):
    esp = "mailersend"


class TestAmazonSES:
    @pytest.mark.parametrize(
        ("verdicts", "auth", "flags"),
        [
            ({"spf": "PASS", "dkim": "PASS", "dmarc": "PASS"}, ("pass", "pass", "pass"), []),
            ({"spf": "FAIL", "dkim": "GRAY", "dmarc": "FAIL"}, ("fail", "none", "fail"), ["from_forged"]),
            ({"spf": "PROCESSING_FAILED", "dkim": "GRAY", "dmarc": "GRAY"}, ("temperror", "none", "none"), []),
        ],
    )
    def test_its_verdicts(self, bring: Bring, verdicts: Any, auth: Any, flags: Any) -> None:
        def told(payload: Any) -> None:
            for name, status in verdicts.items():
                payload["receipt"][f"{name}Verdict"] = {"status": status}
            if verdicts["dmarc"] == "FAIL":
                payload["receipt"]["dmarcPolicy"] = "REJECT"

        shown = bring(AmazonSES, told=told)
        assert (shown.auth, shown.flags, shown.authentication["method"]) == (auth, flags, "provider")

    def test_a_call_that_says_nothing_of_dmarc(self, bring: Bring) -> None:
        def told(payload: Any) -> None:
            payload["mail"]["source"] = "bounce@elsewhere.example"
            payload["receipt"].pop("dkimVerdict")

        shown = bring(AmazonSES, told=told)
        assert (shown.auth, shown.flags) == (("pass", "none", "fail"), ["from_forged"])


class TestSendGrid:
    @pytest.mark.parametrize(
        ("fields", "auth"),
        [
            ({"SPF": "softfail", "dkim": "{@bank.example : pass}"}, ("softfail", "pass", "pass")),
            ({"SPF": "none", "dkim": "{@evil.example : pass, @bank.example : fail}"}, ("none", "pass", "fail")),
            ({"SPF": "fail", "dkim": "none"}, ("fail", "none", "fail")),
            ({}, ("none", "none", "none")),
        ],
    )
    def test_its_fields(self, bring: Bring, fields: dict[str, str], auth: Any) -> None:
        assert bring(test_sendgrid.TestSendGrid, **fields).auth == auth


class TestMailgun:
    def test_signatures_are_checked_here(self, bring: Bring, inbox: Inbox) -> None:
        shown = bring(test_mailgun.TestMailgun, signed(mail(From=ANN, To=inbox.address), "bank.example"))
        assert (shown.auth, shown.authentication["method"]) == (("none", "pass", "pass"), "signatures")

    def test_what_it_writes_on_top_counts(self, bring: Bring, inbox: Inbox) -> None:
        raw = b"X-Mailgun-Spf: Pass\r\nReceived: by mxa.mailgun.org\r\n" + mail(From=ANN)
        assert bring(test_mailgun.TestMailgun, raw, sender=ANN).auth == ("pass", "none", "pass")

    def test_what_a_sender_writes_does_not(self, bring: Bring, inbox: Inbox) -> None:
        raw = b"Received: by mxa.mailgun.org\r\nX-Mailgun-Spf: Pass\r\n" + mail(From=ANN)
        shown = bring(test_mailgun.TestMailgun, raw, sender=ANN)
        assert (shown.auth, shown.authentication["standing"]) == (("none", "none", "none"), "unverified")


def test_postmark_tells_spf(bring: Bring) -> None:
    def told(payload: Any) -> None:
        value = f"Pass (sender SPF authorized) identity=mailfrom; client-ip=198.51.100.7; helo=x; envelope-from={ANN};"
        payload["Headers"].insert(0, {"Name": "Received-SPF", "Value": value})

    assert bring(Postmark, told=told).auth == ("pass", "none", "pass")


@pytest.mark.parametrize("kind", [Mandrill, MailerSend])
def test_that_something_passed_vouches_for_nobody(bring: Bring, kind: type[HookCases]) -> None:
    """They say that SPF passes or a signature is right, and Mandrill not for whom."""
    shown = bring(kind)
    assert shown.auth[0] == "pass"
    assert "from_forged" in shown.flags if kind is MailerSend else shown.authentication["standing"] == "unverified"


class TestResend:
    def test_amazons_field_on_top_counts(self, bring: Bring, inbox: Inbox) -> None:
        raw = f"Authentication-Results: {AMAZON} dkim=fail header.i=@x.example; dmarc=fail header.from=x.example;\r\n"
        forged = b"Authentication-Results: amazonses.com; dmarc=pass\r\n"
        assert bring(test_resend.TestResend, raw.encode() + forged + mail(From=ANN)).auth == ("pass", "fail", "fail")


class TestReading:
    def test_authentication_results(self) -> None:
        for value, told in {
            f"{AMAZON} dkim=pass header.i=@bank.example; dmarc=pass header.from=bank.example": ("pass", "pass", "pass"),
            "amazonses.com; none": ("", "", ""),
            "amazonses.com; spf=odd; dkim=pass": ("", "pass", ""),
            "elsewhere.example; spf=pass": ("", "", ""),
            "": ("", "", ""),
        }.items():
            found = from_authentication_results([("Authentication-Results", value)], "amazonses.com")
            assert (found.spf, found.dkim, found.dmarc) == told, value

    def test_received_spf(self) -> None:
        told = from_received_spf('SoftFail (x) client-ip=1.2.3.4; envelope-from="<a@B.example>"; helo=c')
        assert (told.spf, told.spf_domain) == ("softfail", "b.example")
        assert from_received_spf("").spf == from_received_spf("Trust me").spf == ""
