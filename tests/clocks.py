"""A clock for tests in which days pass."""

from datetime import datetime

import pytest
from django.utils import timezone

from mailbot.lib import clock


def _of_the_test() -> datetime:
    return timezone.now()


def without_the_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's clock does not travel with that of the test: whoever asks it, under whatever name, is told the test's."""
    monkeypatch.setattr(clock.database_now, "__code__", _of_the_test.__code__)
