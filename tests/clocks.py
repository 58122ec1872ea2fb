"""A clock for tests in which days pass."""

import sys

import pytest
from django.utils import timezone

from mailbot.lib import clock


def without_the_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's clock does not travel with that of the test: whoever asks it is told the test's."""
    theirs = clock.database_now
    for module in list(sys.modules.values()):
        if getattr(module, "database_now", None) is theirs:
            monkeypatch.setattr(module, "database_now", timezone.now)
