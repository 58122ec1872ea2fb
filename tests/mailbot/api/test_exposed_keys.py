"""A key in a URL, in a body, in a header that is kept: refused, and kept nowhere"""

from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from audit.models import AuditEntry
from inboxes.models import Account, Inbox
from tests.cast import Caller
from tests.web import running_web


class TestUrl:
    @pytest.mark.parametrize(
        "name", ["api_key", "access_token", "key", "token", "API_KEY", "cursor", "subject", "anything"]
    )
    def test_it_is_400_for_a_key_in_a_parameter(self, alice: Caller, name: str) -> None:
        answer = alice.get("/v1/inboxes", **{name: alice.secret})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "invalid_request")
        assert "Revoke" in error["fix"]
        assert "logs" in error["fix"]
        assert alice.secret not in answer.content.decode()

    @pytest.mark.parametrize("name", ["api_key", "access_token", "key", "token"])
    def test_it_is_400_for_such_a_name_whatever_is_in_it(self, alice: Caller, name: str) -> None:
        assert "Revoke" in alice.get("/v1/inboxes", **{name: "hunter2"}).json()["error"]["fix"]
        assert alice.get("/v1/inboxes", **{name: ""}).status_code == 200  # an empty parameter counts as absent

    def test_it_is_400_for_a_key_that_is_the_name(self, alice: Caller) -> None:
        assert "Revoke" in alice.get(f"/v1/inboxes?{alice.secret}").json()["error"]["fix"]

    def test_it_is_400_in_a_path_and_in_any_spelling(self, alice: Caller) -> None:
        hidden = "%6d" + alice.secret[1:]
        for path in (
            f"/v1/inboxes/{alice.secret}",
            f"/v1/inboxes/{hidden}/messages",
            f"/v1/{alice.secret}",
            f"/v1/events?x={hidden}",
            f"/v1/events?x={alice.secret.upper()}",
            f"/v1/events?x={quote('Bearer ' + alice.secret)}",
        ):
            answer = alice.get(path)
            assert (path, answer.status_code) == (path, 400)
            assert "Revoke" in answer.json()["error"]["fix"]

    def test_it_is_so_without_any_other_key(self, alice: Caller, db: None) -> None:
        assert Client().get("/v1/inboxes", {"api_key": alice.secret}).status_code == 400

    def test_it_changes_and_records_nothing(self, alice: Caller, caplog: pytest.LogCaptureFixture) -> None:
        before = AuditEntry.objects.count()
        alice.client.post(f"/v1/inboxes?api_key={alice.secret}", "{}", content_type="application/json")
        assert not Inbox.objects.exists()
        assert AuditEntry.objects.count() == before
        assert alice.secret not in caplog.text

    def test_the_beginning_that_is_shown_is_no_secret(self, admin_client: Client, alice: Caller) -> None:
        page = admin_client.get("/admin/inboxes/apikey/", {"q": alice.key.prefix})
        assert page.status_code == 200
        assert alice.key.prefix in page.content.decode()

    def test_the_console_takes_none_either(self, admin_client: Client, alice: Caller) -> None:
        page = admin_client.get("/admin/inboxes/apikey/", {"q": alice.secret})
        assert page.status_code == 400
        assert "Revoke" in page.content.decode()
        assert alice.secret not in page.content.decode()

    @pytest.mark.django_db(transaction=True)
    def test_waits_and_the_web_server_say_the_same(self) -> None:
        alice = Caller(Account.objects.create(name="Acme"), "Alice")
        inbox = alice.create_inbox()
        with running_web() as web, web.client(alice) as client:
            for path in (
                f"/v1/inboxes/{inbox.pk}/messages/wait?timeout_ms=0&api_key=x",
                f"/v1/inboxes/{inbox.pk}/messages/wait?after={alice.secret}",
                f"/v1/inboxes/{alice.secret}/messages/wait",
                f"/v1/inboxes?token={alice.secret}",
                f"/v1/inboxes/{alice.secret}",
            ):
                answer = client.get(path)
                assert (path, answer.status_code) == (path, 400)
                assert "Revoke" in answer.json()["error"]["fix"]
                assert answer.headers["x-request-id"] == answer.json()["error"]["request_id"]


class TestBody:
    @pytest.mark.parametrize(
        "path", ["inboxes", "inboxes/{inbox}/pause", "inboxes/{inbox}/messages", "api-keys"], ids=lambda path: path
    )
    def test_it_is_400_for_a_key_in_any_field(self, alice: Caller, path: str) -> None:
        inbox = alice.create_inbox()
        body = {"display_name": alice.secret, "reason": alice.secret, "body_text": f"My key is {alice.secret}."}
        answer = alice.post("/v1/" + path.format(inbox=inbox.pk), body)
        assert answer.status_code == 400
        assert "stands in the body" in answer.json()["error"]["message"]
        assert alice.secret not in answer.content.decode()
        assert Inbox.objects.get().status == "active"

    def test_what_only_looks_like_one_passes(self, alice: Caller) -> None:
        inbox = alice.create_inbox(display_name="mb_test_integration_inbox")
        alice.send(inbox, body_text="Keys begin with mb_live_ or mb_test_, for example mb_test_abcd…")


class TestHeaders:
    def test_a_key_as_request_id_is_not_kept(self, alice: Caller) -> None:
        answer = alice.client.post(
            "/v1/inboxes", "{}", content_type="application/json", headers={"X-Request-Id": alice.secret}
        )
        assert answer.status_code == 201
        assert answer.headers["X-Request-Id"].startswith("req_")
        assert not AuditEntry.objects.filter(cid=alice.secret).exists()

    def test_a_key_as_idempotency_key_is_refused(self, alice: Caller) -> None:
        answer = alice.client.post(
            "/v1/inboxes", "{}", content_type="application/json", headers={"Idempotency-Key": alice.secret}
        )
        assert answer.status_code == 400
        assert not Inbox.objects.exists()

    @pytest.mark.parametrize("header", ["Basic", "Token", "", "ApiKey", "Bearer:"])
    def test_another_scheme_is_401_and_told_nothing(self, alice: Caller, header: str) -> None:
        answer: Any = Client().get("/v1/inboxes", headers={"Authorization": f"{header} {alice.secret}".strip()})
        assert answer.status_code == 401
        assert alice.secret not in answer.content.decode()
