"""/v1/providers: an account's own ESPs and smart hosts."""

from typing import Any

import pytest

from audit.models import AuditEntry
from delivery.models import OutboundMail
from inboxes.models import Provider
from mailbot.lib.crypto import encrypted
from tests.cast import Caller

TOKEN = "5b2c2f5e-the-server-token"
BODY: dict[str, Any] = {"name": "Postmark", "esp": "postmark", "credentials": {"server_token": TOKEN}}


@pytest.fixture
def owner(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def stranger(charlie: Caller) -> Caller:
    return charlie.with_key(mode="live")


def made(caller: Caller, **body: Any) -> dict[str, Any]:
    answer = caller.post("/v1/providers", {**BODY, **body})
    assert answer.status_code == 201, answer.content
    return dict(answer.json()["data"])


def credentials_of(provider: dict[str, Any]) -> dict[str, str]:
    return Provider.objects.get(pk=provider["id"]).credentials


class TestMaking:
    def test_it_keeps_the_credentials_and_answers_which_are_set(self, owner: Caller) -> None:
        provider = made(owner, is_default=True)
        assert provider["credentials"]["server_token"] == {"is_set": True}
        assert provider["credentials"]["message_stream"] == {"is_set": False}
        assert credentials_of(provider) == {"server_token": TOKEN}
        assert TOKEN not in Provider.objects.get(pk=provider["id"]).sealed

    def test_it_never_answers_or_records_a_secret(self, owner: Caller) -> None:
        provider = made(owner)
        answers = [owner.get("/v1/providers"), owner.get(f"/v1/providers/{provider['id']}")]
        assert all(TOKEN not in answer.content.decode() for answer in answers)
        assert TOKEN not in str(list(AuditEntry.objects.values()))

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"esp": "postmrk"}, "esp"),
            ({"credentials": {}}, "credentials.server_token"),
            ({"credentials": {"server_token": TOKEN, "api_key": "x"}}, "credentials.api_key"),
            ({"credentials": {"server_token": "a\0b"}}, "credentials.server_token"),
            ({"concurrency": 0}, "concurrency"),
            ({"unknown": 1}, "unknown"),
        ],
    )
    def test_it_names_what_is_wrong(self, owner: Caller, wrong: dict[str, Any], field: str) -> None:
        answer = owner.post("/v1/providers", BODY | wrong)
        assert answer.status_code == 400
        assert field in answer.json()["error"]["fields"]

    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "127.0.0.1",
            "0x7f000001",
            "10.0.0.5",
            "169.254.169.254",
            "[::ffff:10.0.0.5]",
            "redis",
            "db.internal",
        ],
    )
    def test_it_takes_no_host_of_the_servers_own_network(self, owner: Caller, host: str) -> None:
        answer = owner.post(
            "/v1/providers", BODY | {"credentials": {"server_token": TOKEN, "api_url": f"http://{host}:80/"}}
        )
        assert answer.status_code == 400
        assert list(answer.json()["error"]["fields"]) == ["credentials.api_url"]

    def test_it_takes_one_that_the_operator_allows(self, owner: Caller, settings: Any) -> None:
        settings.FETCH_ALLOW = ["10.0.0.0/24"]
        made(owner, esp="smtp", credentials={"host": "10.0.0.5"})
        assert (
            owner.post("/v1/providers", BODY | {"esp": "smtp", "credentials": {"host": "10.0.1.5"}}).status_code == 400
        )

    def test_it_replaces_the_default_before_it(self, owner: Caller) -> None:
        first, second = made(owner, is_default=True), made(owner, is_default=True)
        assert not owner.get(f"/v1/providers/{first['id']}").json()["data"]["is_default"]
        assert owner.get(f"/v1/providers/{second['id']}").json()["data"]["is_default"]

    def test_it_is_for_live_keys_of_the_whole_account(self, alice: Caller, owner: Caller) -> None:
        provider = made(owner)
        for caller in (alice, owner.with_key(mode="live", inbox_ids=[])):
            answer = caller.post("/v1/providers", BODY)
            assert answer.status_code == 403
            assert answer.json()["error"]["fix"].startswith("Use a ")
            assert caller.get("/v1/providers").json()["data"] == []
            assert caller.get(f"/v1/providers/{provider['id']}").status_code == 404


class TestChanging:
    def test_it_keeps_what_is_left_out_and_secrets_that_are_empty(self, owner: Caller) -> None:
        provider = made(owner, credentials={"server_token": TOKEN, "message_stream": "news"})
        owner.patch(f"/v1/providers/{provider['id']}", {"credentials": {"server_token": ""}})
        assert credentials_of(provider) == {"server_token": TOKEN, "message_stream": "news"}
        owner.patch(f"/v1/providers/{provider['id']}", {"credentials": {"server_token": "new", "message_stream": ""}})
        assert credentials_of(provider) == {"server_token": "new"}

    def test_it_takes_new_credentials_where_the_old_cannot_be_read(self, owner: Caller, settings: Any) -> None:
        provider = made(owner)
        settings.ENCRYPTION_KEYS = ["another key"]
        assert owner.get(f"/v1/providers/{provider['id']}").json()["data"]["credentials"] is None
        answer = owner.patch(f"/v1/providers/{provider['id']}", {"credentials": {"server_token": "new"}})
        assert answer.json()["data"]["credentials"]["server_token"] == {"is_set": True}

    def test_it_pauses_and_resumes(self, owner: Caller) -> None:
        path = f"/v1/providers/{made(owner)['id']}"
        paused = owner.patch(path, {"is_paused": True, "reason": "billing"}).json()["data"]
        assert (paused["is_paused"], paused["paused_reason"]) == (True, "billing")
        resumed = owner.patch(path, {"is_paused": False}).json()["data"]
        assert (resumed["is_paused"], resumed["paused_reason"]) == (False, "")
        acts = set(AuditEntry.objects.values_list("act", flat=True))
        assert acts >= {"provider.created", "provider.paused", "provider.resumed"}

    def test_it_keeps_a_fallback_that_is_shared(self, owner: Caller) -> None:
        """Whoever runs the server chose it; the account does not see it."""
        shared = Provider.objects.create(name="Everybody's", esp="postmark")
        provider = made(owner)
        Provider.objects.filter(pk=provider["id"]).update(fallback=shared)
        answer = owner.patch(f"/v1/providers/{provider['id']}", {"name": "Renamed"})
        assert answer.status_code == 200, answer.content
        assert answer.json()["data"]["name"] == "Renamed"
        assert Provider.objects.get(pk=provider["id"]).fallback_id == shared.pk

    def test_it_lets_no_fallback_lead_back(self, owner: Caller) -> None:
        first = made(owner)
        second = made(owner, fallback_id=first["id"])
        for target in (first, second):
            answer = owner.patch(f"/v1/providers/{first['id']}", {"fallback_id": target["id"]})
            assert answer.status_code == 400
            assert list(answer.json()["error"]["fields"]) == ["fallback_id"]

    def test_it_is_nobody_elses(self, owner: Caller, stranger: Caller) -> None:
        path = f"/v1/providers/{made(owner)['id']}"
        assert stranger.get(path).status_code == 404
        assert stranger.patch(path, {"name": "Mine"}).status_code == 404
        assert stranger.delete(path).status_code == 404
        assert stranger.post(f"{path}/test", {"to": "a@example.com"}).status_code == 404

    def test_it_needs_the_right(self, owner: Caller) -> None:
        path = f"/v1/providers/{made(owner)['id']}"
        reader = owner.with_key(mode="live", permissions=["providers:read"])
        assert reader.get(path).json()["data"]["webhooks"] is None
        assert owner.get(path).json()["data"]["webhooks"]["inbound"].endswith("/inbound")
        assert reader.patch(path, {"name": "Mine"}).status_code == 403
        assert owner.with_key(mode="live", permissions=["inboxes:read"]).get(path).status_code == 403


class TestDeleting:
    def test_it_leaves_its_inboxes_to_the_default(self, owner: Caller) -> None:
        provider = made(owner)
        inbox = owner.create_inbox(provider_id=provider["id"])
        assert owner.delete(f"/v1/providers/{provider['id']}").status_code == 200
        assert owner.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["provider_id"] is None


class TestTrying:
    def test_it_queues_a_mail_through_exactly_this_one(self, owner: Caller) -> None:
        made(owner, is_default=True)
        provider, inbox = made(owner), owner.create_inbox()
        answer = owner.post(f"/v1/providers/{provider['id']}/test", {"to": "me@example.com"})
        assert answer.status_code == 202
        assert answer.json()["data"]["inbox_id"] == inbox.pk
        assert OutboundMail.objects.get(message=answer.json()["data"]["id"]).carrier_id == provider["id"]
        assert AuditEntry.objects.filter(act="provider.tested", object_pk=provider["id"]).count() == 1

    def test_it_says_that_there_is_no_inbox_to_send_from(self, owner: Caller) -> None:
        answer = owner.post(f"/v1/providers/{made(owner)['id']}/test", {"to": "me@example.com"})
        assert answer.status_code == 400
        assert list(answer.json()["error"]["fields"]) == ["inbox_id"]


class TestInboxes:
    def test_an_inbox_takes_one_of_its_account(self, owner: Caller, stranger: Caller) -> None:
        inbox, provider = owner.create_inbox(), made(owner)
        path = f"/v1/inboxes/{inbox.pk}"
        assert owner.patch(path, {"provider_id": provider["id"]}).json()["data"]["provider_id"] == provider["id"]
        assert owner.patch(path, {"provider_id": made(stranger)["id"]}).status_code == 404
        assert owner.patch(path, {"provider_id": None}).json()["data"]["provider_id"] is None

    def test_one_of_the_sandbox_takes_none(self, alice: Caller, owner: Caller) -> None:
        inbox, provider = alice.create_inbox(), made(owner)
        assert alice.patch(f"/v1/inboxes/{inbox.pk}", {"provider_id": provider["id"]}).status_code == 404


def test_a_row_that_is_sealed_otherwise_is_said_to_be(owner: Caller) -> None:
    """Text that is no credentials at all cannot come out of the API: what is shown is which are set."""
    provider = made(owner)
    Provider.objects.filter(pk=provider["id"]).update(sealed=encrypted("{}"))
    assert owner.get(f"/v1/providers/{provider['id']}").json()["data"]["credentials"]["server_token"] == {
        "is_set": False
    }
