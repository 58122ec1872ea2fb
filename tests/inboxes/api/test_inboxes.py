"""POST|GET /v1/inboxes"""

import pytest

from inboxes.models import Inbox
from tests.cast import Caller


class TestCreate:
    def test_it_makes_an_inbox_with_the_given_name(self, alice: Caller) -> None:
        answer = alice.post(
            "/v1/inboxes", {"username": "Support", "display_name": "Support desk", "metadata": {"team": 7}}
        )
        assert answer.status_code == 201
        inbox = answer.json()["data"]
        assert inbox["address"] == "support@mailbot.localhost"
        assert (inbox["username"], inbox["domain"], inbox["status"], inbox["mode"]) == (
            "support",
            "mailbot.localhost",
            "active",
            "test",
        )
        assert inbox["metadata"] == {"team": 7}
        assert inbox["account_id"] == alice.account.pk
        assert inbox["created_at"].endswith("Z")
        assert len(inbox["created_at"]) == len("2026-11-24T10:15:00.123Z")

    def test_it_takes_the_other_spelling_too(self, alice: Caller) -> None:
        inbox = alice.post("/v1/inboxes", {"email_prefix": "sales", "name": "Sales"}).json()["data"]
        assert (inbox["username"], inbox["display_name"]) == ("sales", "Sales")

    def test_it_refuses_two_spellings_that_differ(self, alice: Caller) -> None:
        answer = alice.post("/v1/inboxes", {"username": "a", "email_prefix": "b"})
        assert answer.status_code == 400
        assert "email_prefix" in answer.json()["error"]["fields"]

    def test_it_makes_up_a_readable_name(self, alice: Caller) -> None:
        first, second = (alice.post("/v1/inboxes").json()["data"]["username"] for _ in range(2))
        assert first != second
        assert first.count("-") == 2

    def test_it_offers_three_free_names_for_one_that_is_taken(self, alice: Caller, charlie: Caller) -> None:
        alice.create_inbox(username="support")
        answer = charlie.post("/v1/inboxes", {"username": "SUPPORT"})
        assert answer.status_code == 409
        suggestions = answer.json()["error"]["suggestions"]
        assert len(suggestions) == 3
        assert charlie.post("/v1/inboxes", {"username": suggestions[0].split("@")[0]}).status_code == 201

    def test_it_returns_the_first_inbox_for_the_same_client_id(
        self, alice: Caller, bob: Caller, charlie: Caller
    ) -> None:
        first = alice.post("/v1/inboxes", {"client_id": "order-7"})
        again = bob.post("/v1/inboxes", {"client_id": "order-7"})
        elsewhere = charlie.post("/v1/inboxes", {"client_id": "order-7"})
        assert (first.status_code, again.status_code, elsewhere.status_code) == (201, 200, 201)
        assert again.json()["data"]["id"] == first.json()["data"]["id"] != elsewhere.json()["data"]["id"]

    @pytest.mark.parametrize("username", ["a b", "a..b", ".a", "a@b", "a+tag", "ü" * 40, "postmaster", "a\nb"])
    def test_it_says_why_a_name_cannot_be_used(self, alice: Caller, username: str) -> None:
        answer = alice.post("/v1/inboxes", {"username": username})
        assert answer.status_code == 400
        assert answer.json()["error"]["fields"]["username"][0]
        assert not Inbox.objects.exists()

    def test_it_refuses_a_foreign_domain(self, alice: Caller) -> None:
        answer = alice.post("/v1/inboxes", {"username": "ceo", "domain": "gmail.com"})
        assert answer.status_code == 400
        assert "gmail.com" in answer.json()["error"]["fields"]["domain"][0]

    def test_it_names_an_unknown_field_and_the_nearest_known_one(self, alice: Caller) -> None:
        answer = alice.post("/v1/inboxes", {"usernme": "x"})
        assert answer.status_code == 400
        assert "“username”" in answer.json()["error"]["fields"]["usernme"][0]

    @pytest.mark.parametrize(
        "body", ["[]", "nope", '{"a":', '{"metadata": {"a": NaN}}', "\ud800".encode("utf-8", "surrogatepass")]
    )
    def test_it_refuses_what_is_no_json_object(self, alice: Caller, body: str | bytes) -> None:
        answer = alice.client.post("/v1/inboxes", body, content_type="application/json")
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_request"

    def test_it_does_not_give_the_address_of_a_deleted_inbox_to_another_account(
        self, alice: Caller, charlie: Caller
    ) -> None:
        inbox = alice.create_inbox(username="support")
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert charlie.post("/v1/inboxes", {"username": "support"}).status_code == 409
        assert alice.post("/v1/inboxes", {"username": "support"}).status_code == 201

    def test_it_records_who_made_it(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        entry = alice.get("/v1/audit-log", inbox_id=inbox.pk).json()["data"][0]
        assert entry["action"] == "inbox.created"
        assert entry["actor"] == {"kind": "api_key", "id": alice.key.pk, "name": "Alice"}
        assert alice.events(inbox_id=inbox.pk) == ["inbox.created"]


class TestList:
    def test_it_lists_the_inboxes_of_the_account_newest_first(
        self, alice: Caller, bob: Caller, charlie: Caller
    ) -> None:
        first, second = alice.create_inbox(), bob.create_inbox()
        charlie.create_inbox()
        answer = alice.get("/v1/inboxes").json()
        assert [inbox["id"] for inbox in answer["data"]] == [second.pk, first.pk]
        assert answer["meta"] == {"page": 1, "limit": 50, "total": 2, "next_cursor": None}

    def test_it_keeps_test_and_live_apart(self, alice: Caller) -> None:
        live = alice.with_key(mode="live")
        inbox = live.create_inbox()
        assert alice.get("/v1/inboxes").json()["data"] == []
        assert alice.get(f"/v1/inboxes/{inbox.pk}").status_code == 404
        assert live.get(f"/v1/inboxes/{inbox.pk}").status_code == 200

    def test_it_shows_a_limited_key_its_own_inbox_only(self, alice: Caller) -> None:
        own, other = alice.create_inbox(), alice.create_inbox()
        limited = alice.with_key(inbox=own)
        assert [inbox["id"] for inbox in limited.get("/v1/inboxes").json()["data"]] == [own.pk]
        assert limited.get(f"/v1/inboxes/{other.pk}").status_code == 404
        assert limited.post("/v1/inboxes").status_code == 403

    def test_it_costs_the_same_number_of_queries_for_any_number_of_rows(
        self, alice: Caller, django_assert_num_queries
    ) -> None:
        for _ in range(5):
            alice.create_inbox()
        alice.get("/v1/inboxes")
        with django_assert_num_queries(3):  # key, rows, what they sent
            alice.get("/v1/inboxes")
