"""POST|GET|PATCH|DELETE /v1/domains, and the zone file."""

from typing import Any

import pytest

from inboxes.models import Domain, DomainKey, Inbox, Provider
from mailbot.lib.dns import Zone, read_records
from tests.cast import Caller
from tests.console import queries_for
from tests.dns_zone import PublishedZone, add_domain, statuses, verified_domain

PATH = "/v1/domains"
BITS = 2048  # the cast makes smaller ones, which takes a tenth of the time


class TestAdding:
    def test_it_answers_what_to_publish(self, alice: Caller) -> None:
        domain = add_domain(alice, "Shop.Example.")
        assert domain["domain"] == "shop.example"
        assert domain["status"] == "pending"
        assert domain["id"].startswith("dom_")
        found = [(record["purpose"], record["type"], record["status"]) for record in domain["dns_records"]]
        assert found == [
            ("ownership", "TXT", "pending"),
            ("mx", "MX", "pending"),
            ("spf", "TXT", "pending"),
            ("dkim", "TXT", "pending"),
            ("dmarc", "TXT", "pending"),
            ("return_path", "MX", "pending"),
            ("return_path", "TXT", "pending"),
        ]

    def test_it_makes_a_key_of_2048_bits_that_it_does_not_show(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("inboxes.domain_keys.BITS", BITS)
        domain = add_domain(alice)
        (record,) = [record for record in domain["dns_records"] if record["purpose"] == "dkim"]
        key = DomainKey.objects.get(domain=domain["id"])
        assert record["name"] == f"{key.selector}._domainkey.shop.example"
        assert record["value"] == f"v=DKIM1; k=rsa; p={key.public}"
        assert 380 < len(key.public) < 400
        assert "PRIVATE" not in key.sealed
        answers = alice.get(f"{PATH}/{domain['id']}").content.decode() + alice.get("/v1/audit-log").content.decode()
        assert key.sealed not in answers
        assert "PRIVATE" not in answers

    def test_it_takes_a_name_in_unicode(self, alice: Caller) -> None:
        assert add_domain(alice, "bücher.example")["domain"] == "xn--bcher-kva.example"

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("localhost", "single label"),
            ("not a domain", "not valid"),
            ("mailbot.localhost", "this server's own"),
            ("sub.mailbot.localhost", "this server's own"),
            (f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.example", "longer than"),
        ],
    )
    def test_it_refuses_a_name_and_says_why(self, alice: Caller, name: str, why: str) -> None:
        answer = alice.post(PATH, {"domain": name})
        assert answer.status_code == 400
        assert why in answer.json()["error"]["fields"]["domain"][0]

    def test_it_refuses_one_that_the_account_has(self, alice: Caller, bob: Caller) -> None:
        domain = add_domain(alice)
        answer = bob.post(PATH, {"domain": "SHOP.example"})
        assert answer.status_code == 409
        assert domain["id"] in answer.json()["error"]["fix"]

    def test_several_accounts_may_be_about_to_prove_the_same(self, alice: Caller, charlie: Caller) -> None:
        mine, theirs = add_domain(alice), add_domain(charlie)
        assert mine["dns_records"][0]["value"] != theirs["dns_records"][0]["value"]

    def test_it_has_an_end(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("inboxes.domains.MOST_PENDING", 1)
        add_domain(alice)
        answer = alice.post(PATH, {"domain": "another.example"})
        assert answer.status_code == 400

    def test_a_repeated_call_gets_the_first_answer(self, alice: Caller) -> None:
        key = {"Idempotency-Key": "one"}
        first, again = (alice.post(PATH, {"domain": "shop.example"}, headers=key) for _ in range(2))
        assert again.status_code == 201
        assert again.json() == first.json()
        assert again.headers["Idempotent-Replayed"] == "true"

    def test_a_key_of_some_inboxes_adds_none(self, alice: Caller) -> None:
        limited = alice.with_key(inbox=alice.create_inbox(), permissions=["domains:read", "domains:manage"])
        assert limited.post(PATH, {"domain": "shop.example"}).status_code == 403

    def test_it_needs_the_right(self, alice: Caller) -> None:
        reader = alice.with_key(permissions=["domains:read"])
        assert reader.post(PATH, {"domain": "shop.example"}).status_code == 403

    def test_it_refuses_a_field_that_nobody_knows(self, alice: Caller) -> None:
        assert alice.post(PATH, {"domain": "shop.example", "domian": "x"}).status_code == 400


class TestReading:
    def test_it_lists_those_of_the_account(self, alice: Caller, bob: Caller, charlie: Caller) -> None:
        domain = add_domain(alice)
        add_domain(charlie)
        (listed,) = bob.get(PATH).json()["data"]
        assert listed == domain
        assert bob.get(PATH, status="verified").json()["data"] == []
        assert bob.get(f"{PATH}/{domain['id']}").json()["data"] == domain

    def test_both_modes_see_the_same(self, alice: Caller) -> None:
        domain = add_domain(alice)
        assert alice.with_key(mode="live").get(f"{PATH}/{domain['id']}").json()["data"] == domain

    def test_it_is_404_for_a_stranger_and_for_a_key_of_some_inboxes(self, alice: Caller, charlie: Caller) -> None:
        domain = add_domain(alice)
        limited = alice.with_key(inbox=alice.create_inbox(), permissions=["domains:read"])
        for caller in (charlie, limited):
            assert caller.get(f"{PATH}/{domain['id']}").status_code == 404
            assert caller.get(f"{PATH}/{domain['id']}/zone-file").status_code == 404
        assert limited.get(PATH).json()["data"] == []


class TestChanging:
    def test_it_lists_the_records_of_subdomains(self, alice: Caller) -> None:
        domain = add_domain(alice)
        changed = alice.patch(f"{PATH}/{domain['id']}", {"inbox_subdomains": True}).json()["data"]
        assert changed["inbox_subdomains"]
        assert {"mx MX *.shop.example", "spf TXT *.shop.example"} <= set(statuses(changed))

    def test_it_takes_a_provider_of_the_account_only(self, alice: Caller, charlie: Caller) -> None:
        live, body = alice.with_key(mode="live"), {"name": "P", "esp": "postmark", "credentials": {"server_token": "x"}}
        mine = live.post("/v1/providers", body).json()["data"]["id"]
        theirs = charlie.with_key(mode="live").post("/v1/providers", body).json()["data"]["id"]
        domain = add_domain(live)
        assert live.patch(f"{PATH}/{domain['id']}", {"provider_id": theirs}).status_code == 404
        changed = live.patch(f"{PATH}/{domain['id']}", {"provider_id": mine}).json()["data"]
        assert changed["provider_id"] == mine
        # It signs by itself: what receivers go by is what it asks to be published.
        assert [r["purpose"] for r in changed["dns_records"] if r["required"]] == ["ownership", "mx"]
        assert live.patch(f"{PATH}/{domain['id']}", {"provider_id": None}).json()["data"]["provider_id"] is None

    def test_one_that_is_shared_is_known_to_sign(self, alice: Caller, dns: PublishedZone) -> None:
        """Whoever runs the server chose it; the account does not see it, and publishes what goes with it."""
        domain = add_domain(alice)
        Domain.objects.update(provider=Provider.objects.create(name="Everybody's", esp="postmark"))

        def needed(shown: dict[str, Any]) -> set[str]:
            return {record["purpose"] for record in shown["dns_records"] if record["required"]}

        assert "spf" in needed(domain)
        path = f"{PATH}/{domain['id']}"
        answers = [alice.get(path), alice.post(f"{path}/verify"), alice.patch(path, {"inbox_subdomains": False})]
        shown = [*(answer.json()["data"] for answer in answers), *alice.get(PATH).json()["data"]]
        assert ["spf" in needed(each) for each in shown] == [False] * 4

    def test_shared_ones_are_read_at_once_for_a_list(self, alice: Caller) -> None:
        shared = Provider.objects.create(name="Everybody's", esp="postmark")

        def queries_with(name: str) -> int:
            add_domain(alice, name)
            Domain.objects.update(provider=shared)
            return queries_for(alice.client, PATH)

        first, *more = (queries_with(name) for name in ("one.example", "two.example", "three.example"))
        assert more == [first] * 2

    def test_a_test_key_touches_nothing_that_live_mail_needs(self, alice: Caller, dns: PublishedZone) -> None:
        live = alice.with_key(mode="live")
        domain = verified_domain(alice, dns)
        inbox = live.create_inbox(domain="shop.example")
        path = f"{PATH}/{domain['id']}"
        assert alice.patch(path, {"inbox_subdomains": True}).status_code == 403
        assert alice.post(f"{path}/rotate-key").status_code == 403
        assert alice.delete(path).status_code == 403
        live.delete(f"/v1/inboxes/{inbox.pk}")
        assert alice.patch(path, {"inbox_subdomains": True}).status_code == 200


class TestDeleting:
    def test_it_answers_what_it_was_and_takes_the_keys_along(self, alice: Caller) -> None:
        domain = add_domain(alice)
        answer = alice.delete(f"{PATH}/{domain['id']}")
        assert answer.json()["data"] == domain
        assert not Domain.objects.exists()
        assert not DomainKey.objects.exists()
        assert alice.get(f"{PATH}/{domain['id']}").status_code == 404

    def test_it_is_refused_while_active_inboxes_are_on_it(self, alice: Caller, dns: PublishedZone) -> None:
        domain = verified_domain(alice, dns)
        inbox = alice.create_inbox(domain="shop.example")
        answer = alice.delete(f"{PATH}/{domain['id']}")
        assert answer.status_code == 409
        assert answer.json()["error"]["message"] == "1 active inbox is on shop.example."
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert alice.delete(f"{PATH}/{domain['id']}").status_code == 200
        assert Inbox.objects.get(pk=inbox.pk).own_domain is None

    def test_it_is_404_for_a_stranger(self, alice: Caller, charlie: Caller) -> None:
        domain = add_domain(alice)
        assert charlie.delete(f"{PATH}/{domain['id']}").status_code == 404
        assert Domain.objects.exists()


class TestZoneFile:
    def test_it_says_the_same_as_the_records(self, alice: Caller) -> None:
        domain = add_domain(alice, inbox_subdomains=True)
        answer = alice.get(f"{PATH}/{domain['id']}/zone-file")
        assert answer.headers["Content-Type"].startswith("text/plain")
        zone = Zone.read(answer.content.decode())
        for record in domain["dns_records"]:
            assert record["value"] in zone.lookup(record["name"].replace("*", "any"), record["type"])

    def test_no_string_is_longer_than_dns_can_hold(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("inboxes.domain_keys.BITS", BITS)
        domain = add_domain(alice)
        text = alice.get(f"{PATH}/{domain['id']}/zone-file").content.decode()
        records: Any = read_records(text)
        strings = [string for each in records for record in each for string in getattr(record, "strings", ())]
        assert max(map(len, strings)) == 255
