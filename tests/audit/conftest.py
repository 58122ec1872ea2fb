"""What tasks and commands are run on."""

from pathlib import Path
from typing import Any

import pytest

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
