"""Verifications whose result is kept: by the schedule, in turns."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.last_verification import verify_trails, verify_within
from audit.models import AuditEntry, Verification
from audit.tasks import verify_trails as task
from tests.audit.trail import ACCOUNT, entry_at, sealed, tamper

OTHER = "account_of_another"

pytestmark = pytest.mark.django_db


def verified() -> list[str]:
    """Whose trails were, in order."""
    entries = AuditEntry.objects.filter(act="trail.verified").order_by("pk")
    return list(entries.values_list("account_id", flat=True))


class TestSchedule:
    def test_it_looks_at_each_trail_and_tells_of_it(self) -> None:
        sealed(5)
        sealed(3, OTHER)
        task()
        assert sorted(verified()) == sorted([ACCOUNT, OTHER])
        entry = AuditEntry.objects.get(act="trail.verified", account_id=ACCOUNT)
        assert (entry.actor_kind, entry.actor_name) == ("system", "verifier")
        assert (entry.changes["verified"], entry.changes["size"], entry.changes["holds"]) == (5, 5, True)
        assert Verification.objects.get(pk=ACCOUNT).head_root == entry.changes["root"]

    def test_it_does_so_once_a_day(self) -> None:
        sealed(5)
        assert verify_trails(60) == 1
        assert verify_trails(60) == 0
        Verification.objects.update(at=timezone.now() - timedelta(hours=25))
        assert verify_trails(60) == 1

    def test_it_goes_on_where_its_time_was_over(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("audit.last_verification.AT_ONCE", 256)
        sealed(600)
        assert [verify_within(ACCOUNT, 0).verified for _ in range(3)] == [256, 512, 600]
        assert Verification.objects.get().is_whole

    def test_one_that_is_not_at_its_end_comes_again_at_once(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("audit.last_verification.AT_ONCE", 256)
        sealed(300)
        verify_within(ACCOUNT, 0)
        assert verify_trails(60) == 1
        assert Verification.objects.get().is_whole

    def test_what_is_found_stays_until_it_is_looked_at_anew(self) -> None:
        sealed(5)
        tamper("UPDATE audit_auditentry SET actor_name = 'Mallory' WHERE id = %s", entry_at(3).pk)
        verify_trails(60)
        found = Verification.objects.get()
        assert not found.holds
        assert (found.findings[0]["kind"], found.findings[0]["seq"]) == ("changed", 3)
        assert AuditEntry.objects.get(act="trail.verified").changes["first_finding"]["seq"] == 3
        assert verify_trails(60) == 0

    def test_nothing_is_verified_where_nothing_is_sealed(self) -> None:
        assert verify_trails(60) == 0
        assert not Verification.objects.exists()
