"""Databases of a test's own, as Django opens them through our backend."""

from pathlib import Path
from typing import Any

from mailbot.lib.sqlite_turns.base import DatabaseWrapper


def sqlite_file(place: Path) -> DatabaseWrapper:
    options = {"transaction_mode": "IMMEDIATE", "timeout": 5}
    settings = {"NAME": place, "OPTIONS": options, "ATOMIC_REQUESTS": False, "AUTOCOMMIT": True}
    rest: dict[str, Any] = {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False, "TIME_ZONE": None, "TEST": {}}
    return DatabaseWrapper({**settings, **rest})
