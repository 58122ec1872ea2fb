"""POST /v1/domains/{id}/verify: DNS is asked, and the answer comes in time."""

from collections.abc import Iterator
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from audit.models import AuditEntry
from inboxes.domain_checks import sweep_domains
from inboxes.models import Domain
from tests.cast import Caller
from tests.dns_server import FakeDNS, fake_dns
from tests.dns_zone import PublishedZone, add_domain, statuses, verified_domain, verify

PATH = "/v1/domains"
PATIENCE = 5  # seconds for a DNS that answers
SHORT = 1  # seconds for one that hangs


def read(caller: Caller, domain: dict[str, Any]) -> dict[str, Any]:
    return dict(caller.get(f"{PATH}/{domain['id']}").json()["data"])


def acts() -> list[str]:
    return list(AuditEntry.objects.filter(act__startswith="domain.").order_by("pk").values_list("act", flat=True))


class TestVerifying:
    def test_it_says_what_is_lacking(self, alice: Caller, dns: PublishedZone) -> None:
        domain = add_domain(alice)
        answer = verify(alice, domain)
        assert answer["data"]["status"] == "pending"
        assert set(statuses(answer["data"]).values()) == {"missing"}
        proof = domain["dns_records"][0]
        assert answer["next_step"].startswith(
            f"Publish the TXT record at {proof['name']} with the value {proof['value']}"
        )

    def test_it_is_verified_when_the_proof_is_there(self, alice: Caller, dns: PublishedZone) -> None:
        domain = add_domain(alice)
        dns.publish(domain["dns_records"][:1])
        answer = verify(alice, domain)
        assert answer["data"]["status"] == "verified"
        assert answer["data"]["verified_at"]
        assert answer["data"]["dns_records"][0]["found"] == [domain["dns_records"][0]["value"]]
        assert answer["next_step"].startswith(
            "Publish or correct what mail needs: MX at shop.example, TXT at shop.example"
        )

    def test_it_has_nothing_to_add_when_all_is_there(self, alice: Caller, dns: PublishedZone) -> None:
        domain = verified_domain(alice, dns)
        assert set(statuses(domain).values()) == {"verified"}
        assert verify(alice, domain)["next_step"].startswith("Nothing")

    def test_it_tells_the_account_once(self, alice: Caller, dns: PublishedZone) -> None:
        inbox = alice.create_inbox()
        domain = verified_domain(alice, dns)
        verify(alice, domain)
        events = alice.get("/v1/events", type="domain.verified").json()["data"]
        (event,) = events
        assert event["inbox_id"] is None
        assert event["data"] == {"domain": "shop.example", "domain_id": domain["id"]}
        assert acts().count("domain.verified") == 1
        assert alice.with_key(inbox=inbox).events(type="domain.verified") == []
        assert alice.with_key(mode="live").events() == ["domain.verified"]

    def test_it_is_404_for_a_stranger(self, alice: Caller, charlie: Caller, dns: PublishedZone) -> None:
        assert charlie.post(f"{PATH}/{add_domain(alice)['id']}/verify").status_code == 404

    def test_what_stands_in_dns_may_hold_any_octet(self, alice: Caller, dns: PublishedZone) -> None:
        """Whoever has the domain writes it, and PostgreSQL holds no NUL."""
        domain = add_domain(alice)
        dns.publish(domain["dns_records"])
        dns.put("shop.example", "TXT", '"v=spf1 \\000\\255 ~all"', '"\\000"')
        answer = verify(alice, domain)
        assert answer["data"]["status"] == "verified"
        (spf,) = [one for one in answer["data"]["dns_records"] if one["purpose"] == "spf"]
        assert spf["status"] == "mismatch"
        assert spf["found"] == ["v=spf1 \ufffd\ufffd ~all"]
        assert "\0" not in str(answer)

    def test_a_repeated_call_gets_the_first_answer(self, alice: Caller, dns: PublishedZone) -> None:
        domain, key = add_domain(alice), {"Idempotency-Key": "one"}
        first = alice.post(f"{PATH}/{domain['id']}/verify", headers=key)
        dns.publish(domain["dns_records"])
        again = alice.post(f"{PATH}/{domain['id']}/verify", headers=key)
        assert again.json() == first.json()
        assert read(alice, domain)["status"] == "pending"


class TestOwnership:
    def test_who_proves_it_first_has_it(self, alice: Caller, charlie: Caller, dns: PublishedZone) -> None:
        mine, theirs = add_domain(alice), add_domain(charlie)
        proofs = [domain["dns_records"][0] for domain in (mine, theirs)]
        dns.text(proofs[0]["name"], *(proof["value"] for proof in proofs))
        assert verify(charlie, theirs)["data"]["status"] == "verified"
        answer = alice.post(f"{PATH}/{mine['id']}/verify")
        assert answer.status_code == 409
        assert read(alice, mine)["status"] == "pending"

    def test_anothers_proof_proves_nothing(self, alice: Caller, charlie: Caller, dns: PublishedZone) -> None:
        mine, theirs = add_domain(alice), add_domain(charlie)
        dns.publish(mine["dns_records"][:1])
        answer = verify(charlie, theirs)["data"]
        assert answer["status"] == "pending"
        assert statuses(answer)["ownership TXT _mailbot.shop.example"] == "mismatch"

    def test_a_domain_that_changed_hands_goes_to_its_new_owner(
        self, alice: Caller, charlie: Caller, dns: PublishedZone
    ) -> None:
        mine = verified_domain(alice, dns)
        inbox = alice.create_inbox(domain="shop.example")
        theirs = add_domain(charlie)
        dns.publish(theirs["dns_records"])
        assert charlie.post(f"{PATH}/{theirs['id']}/verify").status_code == 409  # not at once
        verify(alice, mine)
        with time_machine.travel(timezone.now() + timedelta(days=4)):
            assert verify(alice, mine)["data"]["status"] == "failing"
            assert charlie.post(f"{PATH}/{theirs['id']}/verify").status_code == 409  # mail for it would reach Alice
            alice.delete(f"/v1/inboxes/{inbox.pk}")
            assert verify(charlie, theirs)["data"]["status"] == "verified"
        assert read(alice, mine)["status"] == "pending"
        assert acts()[-2:] == ["domain.lost", "domain.verified"]

    def test_it_does_not_change_hands_while_inboxes_are_on_its_subdomains(
        self, alice: Caller, charlie: Caller, dns: PublishedZone
    ) -> None:
        """A wildcard of its new owner would bring their mail to Alice."""
        mine = verified_domain(alice, dns, inbox_subdomains=True)
        inbox = alice.create_inbox(username="support", domain="shop.example")
        assert inbox.address == "support@support.shop.example"
        theirs = add_domain(charlie)
        dns.publish(theirs["dns_records"])
        verify(alice, mine)
        with time_machine.travel(timezone.now() + timedelta(days=4)):
            assert verify(alice, mine)["data"]["status"] == "failing"
            assert charlie.post(f"{PATH}/{theirs['id']}/verify").status_code == 409
            alice.delete(f"/v1/inboxes/{inbox.pk}")
            assert verify(charlie, theirs)["data"]["status"] == "verified"


class TestRecords:
    @pytest.mark.parametrize(
        ("spf", "status", "note"),
        [
            (["v=spf1 a:mailbot.localhost -all"], "verified", ""),
            (["v=spf1 ip4:192.0.2.1 +A:mailbot.localhost ~all"], "verified", ""),
            (["v=spf1 mx -all"], "mismatch", "Change it to: v=spf1 a:mailbot.localhost mx -all"),
            (["v=spf1 a:mailbot.localhost.evil.example -all"], "mismatch", "Change it to"),
            (["v=spf1 mx", "v=spf1 a:mailbot.localhost"], "mismatch", "2 SPF records"),
            (["v=spf10 a:mailbot.localhost", "another text"], "missing", "Publish"),
        ],
    )
    def test_spf(self, alice: Caller, dns: PublishedZone, spf: list[str], status: str, note: str) -> None:
        dns.text("shop.example", *spf)
        (record,) = [r for r in verify(alice, add_domain(alice))["data"]["dns_records"] if r["purpose"] == "spf"]
        assert (record["status"], note in record["note"]) == (status, True)

    @pytest.mark.parametrize(
        ("hosts", "status", "note"),
        [
            (["10 mailbot.localhost."], "verified", ""),
            (["5 Mailbot.Localhost.", "10 mx.other.example."], "verified", "mx.other.example does not reach"),
            (["10 mx.other.example."], "mismatch", "goes to mx.other.example"),
            (["0 ."], "mismatch", "goes to ."),
        ],
    )
    def test_mx(self, alice: Caller, dns: PublishedZone, hosts: list[str], status: str, note: str) -> None:
        dns.put("shop.example", "MX", *hosts)
        (record,) = [r for r in verify(alice, add_domain(alice))["data"]["dns_records"] if r["purpose"] == "mx"]
        assert (record["status"], note in record["note"]) == (status, True)

    def test_dkim(self, alice: Caller, dns: PublishedZone) -> None:
        domain = add_domain(alice)
        (record,) = [r for r in domain["dns_records"] if r["purpose"] == "dkim"]
        key = record["value"].partition("p=")[2]
        published = {
            f"k=rsa;  t=s; p={key[:50]} {key[50:]}": "verified",
            "v=DKIM1; p=": "mismatch",
            f"v=DKIM1; k=rsa; p={key[:-8]}": "mismatch",
            f"v=DKIM1; k=ed25519; p={key}": "mismatch",
        }
        for text, status in published.items():
            dns.text(record["name"], text)
            assert statuses(verify(alice, domain)["data"])[f"dkim TXT {record['name']}"] == status, text

    def test_dmarc_of_a_parent_counts(self, alice: Caller, dns: PublishedZone) -> None:
        domain = add_domain(alice, "agents.shop.example")
        dns.text("_dmarc.shop.example", "v=DMARC1; p=reject")
        (record,) = [r for r in verify(alice, domain)["data"]["dns_records"] if r["purpose"] == "dmarc"]
        assert record["status"] == "verified"
        assert record["found"] == ["v=DMARC1; p=reject"]
        assert "_dmarc.shop.example" in record["note"]

    def test_a_wildcard_is_seen_by_a_name_that_nobody_has(self, alice: Caller, dns: PublishedZone) -> None:
        domain = verified_domain(alice, dns, inbox_subdomains=True)
        assert statuses(domain)["mx MX *.shop.example"] == "verified"


class TestKeys:
    def test_a_new_one_is_used_once_it_is_published_and_the_old_one_kept(
        self, alice: Caller, dns: PublishedZone
    ) -> None:
        domain = verified_domain(alice, dns)
        (old,) = Domain.objects.get().keys.all()
        assert old.state == "active"
        rotated = alice.post(f"{PATH}/{domain['id']}/rotate-key").json()["data"]
        assert [key.state for key in Domain.objects.get().keys.all()] == ["active", "next"]
        assert verify(alice, domain)["data"]["status"] == "verified"  # nothing broke
        assert [key.state for key in Domain.objects.get().keys.all()] == ["active", "next"]
        dns.publish(rotated["dns_records"])
        verify(alice, domain)
        assert [key.state for key in Domain.objects.get().keys.all()] == ["retired", "active"]
        dns.put(f"{old.selector}._domainkey.shop.example", "TXT")
        assert verify(alice, domain)["data"]["status"] == "verified"
        with time_machine.travel(timezone.now() + timedelta(days=8)):
            sweep_domains()
        assert [key.state for key in Domain.objects.get().keys.all()] == ["active"]
        assert acts().count("domain.key_made") == 2
        assert acts().count("domain.key_changed") == 2
        assert AuditEntry.objects.get(act="domain.key_removed").changes == {"selectors": [old.selector]}

    def test_one_that_was_never_used_gives_way(self, alice: Caller, dns: PublishedZone) -> None:
        domain = verified_domain(alice, dns)
        for _ in range(2):
            rotated = alice.post(f"{PATH}/{domain['id']}/rotate-key").json()["data"]
        assert len([record for record in rotated["dns_records"] if record["purpose"] == "dkim"]) == 2

    def test_rotation_is_404_for_a_stranger(self, alice: Caller, charlie: Caller) -> None:
        assert charlie.post(f"{PATH}/{add_domain(alice)['id']}/rotate-key").status_code == 404


@pytest.fixture
def server(settings: Any) -> Iterator[FakeDNS]:
    settings.DNS_TIMEOUT = PATIENCE
    with fake_dns() as server:
        settings.DNS_SERVERS = [server.address]
        yield server


@pytest.mark.one_profile
class TestTrouble:
    def zone_of(self, caller: Caller, domain: dict[str, Any]) -> str:
        return str(caller.get(f"{PATH}/{domain['id']}/zone-file").content.decode())

    def test_a_deep_name_costs_no_more_questions_than_another(self, alice: Caller, server: FakeDNS) -> None:
        """A policy of those above stands at the registered domain (RFC 7489 6.6.3), and not at each name on the way."""
        domain = add_domain(alice, ".".join(["a"] * 100) + ".shop.org")
        server.publish('_dmarc.shop.org. 300 TXT "v=DMARC1; p=reject"')
        (dmarc,) = [one for one in verify(alice, domain)["data"]["dns_records"] if one["purpose"] == "dmarc"]
        assert (dmarc["status"], dmarc["note"]) == ("verified", "As _dmarc.shop.org says for all its subdomains.")
        assert len(server.asked) <= len(domain["dns_records"]) + 1

    def test_it_answers_in_time_when_dns_hangs(self, alice: Caller, server: FakeDNS, settings: Any) -> None:
        settings.DNS_TIMEOUT = SHORT
        domain, server.manner = add_domain(alice), "hangs"
        asked_at = monotonic()
        answer = verify(alice, domain)
        assert monotonic() - asked_at < len(domain["dns_records"]) * SHORT  # all are asked at once
        assert answer["data"]["status"] == "pending"
        assert set(statuses(answer["data"]).values()) == {"unknown"}
        assert "did not answer" in answer["next_step"]

    @pytest.mark.parametrize("manner", ["hangs", "fails"])
    def test_it_takes_nothing_back_for_it(self, alice: Caller, server: FakeDNS, manner: str, settings: Any) -> None:
        domain = add_domain(alice)
        server.publish(self.zone_of(alice, domain))
        before = verify(alice, domain)["data"]
        assert before["status"] == "verified"
        server.manner = manner
        settings.DNS_TIMEOUT = SHORT if manner == "hangs" else PATIENCE
        after = verify(alice, domain)["data"]
        assert after["status"] == "verified"
        assert statuses(after) == statuses(before)
        assert "What is shown is from before" in after["dns_records"][0]["note"]


class TestBreaking:
    def test_it_is_degraded_when_a_record_goes_and_recovers(self, alice: Caller, dns: PublishedZone) -> None:
        domain = verified_domain(alice, dns)
        dns.put("shop.example", "MX")
        later = timezone.now() + timedelta(days=1, minutes=1)
        with time_machine.travel(later):
            assert sweep_domains() == 1
            assert sweep_domains() == 0
        assert read(alice, domain)["status"] == "degraded"
        assert alice.create_inbox(domain="shop.example").address.endswith("@shop.example")
        dns.publish(domain["dns_records"])
        with time_machine.travel(later + timedelta(days=1, minutes=1)):
            sweep_domains()
        assert read(alice, domain)["status"] == "verified"
        assert acts()[-2:] == ["domain.degraded", "domain.recovered"]
        entry = AuditEntry.objects.get(act="domain.degraded")
        assert entry.changes["broken"] == ["MX shop.example"]

    def test_what_was_never_there_has_not_broken(self, alice: Caller, dns: PublishedZone) -> None:
        domain = add_domain(alice)
        dns.publish(domain["dns_records"][:1])
        verify(alice, domain)
        assert verify(alice, domain)["data"]["status"] == "verified"

    def test_the_proof_may_be_gone_for_days(self, alice: Caller, dns: PublishedZone) -> None:
        domain = verified_domain(alice, dns)
        alice.create_inbox(username="kept", domain="shop.example")
        dns.put("_mailbot.shop.example", "TXT")
        assert verify(alice, domain)["data"]["status"] == "degraded"
        with time_machine.travel(timezone.now() + timedelta(days=4)):
            assert verify(alice, domain)["data"]["status"] == "failing"
            refused = alice.post("/v1/inboxes", {"domain": "shop.example"})
            assert refused.status_code == 400
            assert "has lost its proof" in refused.json()["error"]["fields"]["domain"][0]
            dns.publish(domain["dns_records"])
            assert verify(alice, domain)["data"]["status"] == "verified"

    def test_the_sweep_finds_what_was_published_meanwhile(self, alice: Caller, dns: PublishedZone) -> None:
        domain = add_domain(alice)
        dns.publish(domain["dns_records"])
        assert sweep_domains() == 0
        with time_machine.travel(timezone.now() + timedelta(minutes=61)):
            assert sweep_domains() == 1
        assert read(alice, domain)["status"] == "verified"
