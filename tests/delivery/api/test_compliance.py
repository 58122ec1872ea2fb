"""GET /v1/compliance/check and /v1/compliance/readiness/{inbox_id}"""

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from delivery.outbound import outbox
from inboxes.models import Inbox, SendingRecord
from inboxes.permissions import MESSAGES_READ
from tests.cast import Caller, run_workers
from tests.dns_server import fake_dns

GOOD = """
shop.example.            TXT  "v=spf1 include:_spf.esp.example -all"
_spf.esp.example.        TXT  "v=spf1 ip4:192.0.2.0/24 -all"
shop.example.            MX   10 mx.shop.example.
_dmarc.shop.example.     TXT  "v=DMARC1; p=reject"
"""


@pytest.fixture(autouse=True)
def zone(settings: Any, tmp_path: Path) -> Path:
    settings.DNS_ZONE_FILE = str(tmp_path / "zone")
    publish(tmp_path / "zone", GOOD)
    return tmp_path / "zone"


def publish(zone: Path, text: str) -> None:
    zone.write_text(text)


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="support")


def checked(caller: Caller, domain: str = "shop.example", status: int = 200) -> dict[str, Any]:
    answer = caller.get("/v1/compliance/check", domain=domain)
    assert answer.status_code == status, answer.content
    return _by_name(answer.json())


def ready(caller: Caller, inbox: Inbox, status: int = 200) -> dict[str, Any]:
    answer = caller.get(f"/v1/compliance/readiness/{inbox.pk}")
    assert answer.status_code == status, answer.content
    return _by_name(answer.json())


def _by_name(answer: dict[str, Any]) -> dict[str, Any]:
    """The data, and each check by its name, too."""
    told = dict(answer.get("data") or answer["error"])
    return told | {f"{check['name']} check": check for check in told.get("checks", [])}


class TestDomains:
    def test_a_deep_one_goes_by_the_policy_of_its_registered_domain(self, alice: Caller) -> None:
        told = checked(alice, "a.b.c.d.e.f.shop.example")
        assert told["dmarc"] == "pass"
        assert "_dmarc.shop.example" in told["dmarc check"]["reason"]

    def test_a_domain_in_order(self, alice: Caller) -> None:
        told = checked(alice)
        assert (told["spf"], told["dmarc"], told["mx check"]["status"]) == ("pass", "pass", "pass")
        assert told["dkim"] == "unknown"
        assert told["readiness_score"] > 80
        assert told["blocked_reasons"] == ["domain_not_added"]

    def test_nobody_is_sent_to_add_the_servers_own_domain(self, alice: Caller, settings: Any) -> None:
        told = checked(alice, settings.MAILBOT_DOMAIN)
        assert "the server's own domain" in told["dkim check"]["fix"]
        assert "Add it" in checked(alice)["dkim check"]["fix"]

    def test_however_it_is_spelt(self, alice: Caller) -> None:
        assert checked(alice, "Shop.EXAMPLE")["domain"] == "shop.example"

    def test_a_domain_with_nothing(self, alice: Caller) -> None:
        told = checked(alice, "empty.example")
        assert (told["spf"], told["dmarc"]) == ("fail", "fail")
        assert told["readiness_score"] < 30
        assert all(check["reason"] and check["fix"] for check in told["checks"] if check["status"] != "pass")

    @pytest.mark.parametrize(
        ("record", "status", "reason"),
        [
            ('"v=spf1 +all"', "fail", "anybody may send"),
            ('"v=spf1 all"', "fail", "anybody may send"),
            ('"v=spf1 ip4:192.0.2.1"', "warn", "says nothing of other senders"),
            ('"v=spf1 redirect=_spf.esp.example"', "pass", "says who may send"),
            ('"v=spf10 -all"', "fail", "no SPF record"),
            (f'"v=spf1 {" ".join(f"a:h{number}.example" for number in range(11))} -all"', "fail", "11 look-ups"),
            ('"v=spf1 include:loop.example -all"', "fail", "look-ups"),
        ],
    )
    def test_spf(self, alice: Caller, zone: Path, record: str, status: str, reason: str) -> None:
        again = " ".join(f"include:loop.example a:h{number}.example" for number in range(6))
        publish(zone, f'shop.example. TXT {record}\nloop.example. TXT "v=spf1 {again} -all"\n')
        check = checked(alice)["spf check"]
        assert check["status"] == status
        assert reason in check["reason"]

    def test_two_spf_records_are_an_error(self, alice: Caller, zone: Path) -> None:
        publish(zone, 'shop.example. TXT "v=spf1 -all"\nshop.example. TXT "v=spf1 ~all"\n')
        assert "2 SPF records" in checked(alice)["spf check"]["reason"]

    @pytest.mark.parametrize(
        ("record", "status"), [("v=DMARC1; p=none", "pass"), ("v=DMARC1; p=maybe", "fail"), ("v=DMARC1", "fail")]
    )
    def test_dmarc(self, alice: Caller, zone: Path, record: str, status: str) -> None:
        publish(zone, f'_dmarc.shop.example. TXT "{record}"\n')
        assert checked(alice)["dmarc"] == status

    def test_a_policy_above_counts(self, alice: Caller) -> None:
        told = checked(alice, "mail.shop.example")
        assert told["dmarc"] == "pass"
        assert "_dmarc.shop.example" in told["dmarc check"]["reason"]

    def test_a_domain_that_takes_no_mail(self, alice: Caller, zone: Path) -> None:
        publish(zone, "shop.example. MX 0 .\n")
        assert "no mail" in checked(alice)["mx check"]["reason"]

    def test_dns_that_hangs_is_unknown_and_in_time(self, alice: Caller, settings: Any) -> None:
        with fake_dns(GOOD) as dns:
            dns.manner = "hangs"
            settings.DNS_ZONE_FILE, settings.DNS_SERVERS, settings.DNS_TIMEOUT = "", [dns.address], 0.2
            told = checked(alice)
        assert {told["spf"], told["dmarc"], told["mx check"]["status"]} == {"unknown"}

    @pytest.mark.parametrize("domain", ["not a domain", "a..b", "x" * 255])
    def test_what_is_no_domain(self, alice: Caller, domain: str) -> None:
        assert "domain" in checked(alice, domain, 400)["fields"]


class TestInboxes:
    def test_one_of_the_sandbox(self, alice: Caller, inbox: Inbox) -> None:
        told = ready(alice, inbox)
        assert told["domain"] == inbox.domain
        assert told["blocked_reasons"] == []
        assert told["content_class"] == "none"
        assert "sandbox" in told["provider check"]["reason"]

    def test_a_live_one_that_nobody_carries(self, alice: Caller, settings: Any) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
        live = alice.with_key(mode="live")
        told = ready(live, live.create_inbox())
        assert told["provider check"]["status"] == "fail"
        assert "/v1/providers" in told["provider check"]["fix"]

    def test_a_provider_that_is_paused_blocks(self, alice: Caller) -> None:
        live = alice.with_key(mode="live")
        body = {"name": "Postmark", "esp": "postmark", "credentials": {"server_token": "secret"}, "is_default": True}
        provider = live.post("/v1/providers", body).json()["data"]["id"]
        inbox = live.create_inbox()
        assert "its own" in ready(live, inbox)["dkim check"]["reason"]
        live.patch(f"/v1/providers/{provider}", {"is_paused": True, "reason": "moving"})
        told = ready(live, inbox)
        assert told["blocked_reasons"] == ["provider_paused"]
        assert "moving" in told["provider check"]["reason"]

    def test_what_blocks_it_now(self, alice: Caller, inbox: Inbox) -> None:
        alice.post(f"/v1/inboxes/{inbox.pk}/pause", {"reason": "holiday"})
        assert ready(alice, inbox)["blocked_reasons"] == ["inbox_paused"]

    def test_a_limit_that_is_used_up(self, alice: Caller) -> None:
        inbox = alice.create_inbox(daily_send_limit=1)
        alice.send(inbox)
        assert ready(alice, inbox)["blocked_reasons"] == ["daily_send_limit"]

    def test_an_outbox_that_is_paused(self, alice: Caller, inbox: Inbox) -> None:
        outbox.pause("restoring")
        assert ready(alice, inbox)["blocked_reasons"] == ["outbox_paused"]

    def test_what_it_sends(self, alice: Caller, inbox: Inbox) -> None:
        alice.send(inbox, to=[f"a{number}@example.com" for number in range(12)], subject="News")
        told = ready(alice, inbox)
        assert (told["content_class"], told["content check"]["status"]) == ("bulk", "warn")
        alice.patch(f"/v1/inboxes/{inbox.pk}", {"list_unsubscribe": True})
        assert ready(alice, inbox)["content check"]["status"] == "pass"

    def test_answers_are_a_conversation(self, alice: Caller, inbox: Inbox) -> None:
        alice.post("/v1/simulate/received", {"inbox_id": inbox.pk, "subject": "Question"})
        run_workers()
        question = alice.messages(inbox)[0]
        alice.post(f"/v1/inboxes/{inbox.pk}/messages/{question['id']}/reply", {"body_text": "Answer"})
        assert ready(alice, inbox)["content_class"] == "conversation"

    @pytest.mark.parametrize(("bounced", "status"), [(0, "pass"), (2, "pass"), (4, "warn")])
    def test_how_it_did_so_far(self, alice: Caller, inbox: Inbox, bounced: int, status: str) -> None:
        row = {"account_id": inbox.account_id, "inbox": inbox, "starts_at": timezone.now()}
        SendingRecord.objects.create(**row, sent=100, delivered=100 - bounced, bounced=bounced)
        assert ready(alice, inbox)["reputation check"]["status"] == status


class TestWhoMay:
    def test_a_team_mate(self, bob: Caller, inbox: Inbox) -> None:
        assert ready(bob, inbox)["domain"] == inbox.domain

    def test_it_is_404_for_a_stranger(self, charlie: Caller, inbox: Inbox) -> None:
        ready(charlie, inbox, 404)

    def test_a_key_without_the_right(self, alice: Caller, inbox: Inbox) -> None:
        caller = alice.with_key(permissions=[MESSAGES_READ])
        ready(caller, inbox, 403)
        checked(caller, status=403)
