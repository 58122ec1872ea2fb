"""Authorization: Bearer …"""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from inboxes.keys import revoke_key
from inboxes.models import ApiKey
from inboxes.permissions import MESSAGES_READ
from tests.cast import Caller


class TestAuthentication:
    @pytest.mark.parametrize("header", ["", "Bearer", "Bearer mb_test_unknown", "Basic abc", "mb_test_x"])
    def test_it_is_401_without_a_usable_key(self, db: None, header: str) -> None:
        answer = Client().get("/v1/inboxes", headers={"Authorization": header} if header else {})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "unauthenticated"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_it_ends_with_revocation_on_the_next_request(self, alice: Caller) -> None:
        assert alice.get("/v1/inboxes").status_code == 200
        revoke_key(alice.key)
        assert alice.get("/v1/inboxes").status_code == 401

    def test_it_ends_with_expiry(self, alice: Caller) -> None:
        over = alice.with_key(expires_at=timezone.now() - timedelta(seconds=1))
        assert over.get("/v1/inboxes").status_code == 401

    def test_it_is_403_where_a_right_is_lacking(self, alice: Caller) -> None:
        reader = alice.with_key(permissions=[MESSAGES_READ])
        answer = reader.post("/v1/inboxes")
        assert answer.status_code == 403
        assert "inboxes:create" in answer.json()["error"]["message"]

    def test_it_keeps_no_secret(self, alice: Caller) -> None:
        row = str(ApiKey.objects.filter(pk=alice.key.pk).values().get())
        assert alice.secret not in row
        assert alice.secret[8:] not in row
        assert ApiKey.objects.get(pk=alice.key.pk).last_used_at is None
        trail = str(alice.get("/v1/audit-log").json())
        assert "key.issued" in trail
        assert alice.secret not in trail
        assert alice.key.digest not in trail

    def test_it_notes_when_a_key_was_last_used(self, alice: Caller) -> None:
        alice.get("/v1/inboxes")
        assert ApiKey.objects.get(pk=alice.key.pk).last_used_at is not None
