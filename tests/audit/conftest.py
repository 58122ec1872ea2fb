"""What tests of the trail share: what tasks and commands are run on, and the month of the database."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from audit.months import Month, made_months
from tests.audit.calendar import start
from tests.audit.scenes import Stage
from tests.dns_zone import PublishedZone
from tests.stores import Store


@pytest.fixture(scope="module")
def rows_of_the_stage(kept_rows: None) -> Stage:
    return Stage()


@pytest.fixture
def stage(
    rows_of_the_stage: Stage,
    db: None,
    settings: Any,
    dns: PublishedZone,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    monkeypatch.setattr("mailbot.lib.hints.send", lambda task: None)
    settings.AUDIT_ANCHOR_FILE = str(tmp_path / "heads")
    settings.AUDIT_KEY_IS_IN_FILE = False
    settings.FETCH_ALLOW = ["127.0.0.0/8"]
    settings.INBOUND_RETENTION_DAYS, settings.RAW_RETENTION_DAYS = 30, 0
    settings.BREAKER_DOMAIN_SENDS, settings.BREAKER_TRIALS = 20, 4
    rows_of_the_stage.dns, rows_of_the_stage.settings = dns, settings
    return rows_of_the_stage


@pytest.fixture
def month_of_the_database(db: None) -> Iterator[None]:
    """It is still the month in which the database was made, also where the run has come into the next one since."""
    made = made_months(connection)[0].later(-1)
    moment = timezone.now() if made == Month.now() else start(made.later(1)) - timedelta(hours=1)
    with time_machine.travel(moment):
        yield
