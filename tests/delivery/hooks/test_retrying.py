"""An operator gives events of providers their attempts back"""

from typing import Any

import pytest

from audit.actors import acting_as_system
from audit.models import AuditEntry
from delivery.hooks import calls
from delivery.hooks.retrying import retry_events
from delivery.models import ProviderEvent
from inboxes.models import Provider
from tests.cast import Caller
from tests.console import failed_event


@pytest.fixture
def provider(alice: Caller) -> Provider:
    body = {"name": "Mine", "esp": "postmark", "credentials": {"server_token": "secret"}}
    return Provider.objects.get(pk=alice.with_key(mode="live").post("/v1/providers", body).json()["data"]["id"])


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    tasks: list[str] = []
    monkeypatch.setattr(calls, "ring_on_commit", tasks.append)
    return tasks


def retry(*events: ProviderEvent, reason: str = "") -> int:
    with acting_as_system("operator"):
        return retry_events(events, reason)


class TestRetry:
    @pytest.mark.parametrize(
        ("kind", "task"),
        [
            ("tracking", "delivery.tasks.process_provider_events"),
            ("inbound", "delivery.tasks.wait_for_others"),
            ("confirmation", "delivery.tasks.wait_for_others"),
        ],
    )
    def test_it_rings_for_who_works_on_that_kind(
        self, provider: Provider, rung: list[str], kind: str, task: str
    ) -> None:
        failed = failed_event(provider, kind=kind)
        assert (retry(failed), rung) == (1, [task])
        failed.refresh_from_db()
        assert (failed.state, failed.attempts, failed.error, failed.processed_at) == ("pending", 0, "", None)

    def test_only_what_can_go_otherwise_is_tried_again(self, provider: Provider, rung: list[str]) -> None:
        """Of a mail for nobody here nothing is kept that could be fetched again."""
        kinds = ("tracking", "inbound", "confirmation")
        events = [
            failed_event(provider, kind=kind, state=state) for kind in kinds for state in ("processed", "unmatched")
        ]
        assert retry(*events) == 1
        (again,) = ProviderEvent.objects.filter(state="pending")
        assert (again.kind, again.pk) == ("tracking", events[1].pk)

    def test_it_is_in_the_trail(self, provider: Provider, rung: list[str]) -> None:
        retry(failed_event(provider), reason="the index is mended")
        entry: Any = AuditEntry.objects.get(act="provider.event_retried")
        assert (entry.account_id, entry.changes) == (provider.account_id, {"reason": "the index is mended"})
