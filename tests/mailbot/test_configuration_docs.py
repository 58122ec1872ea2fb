"""docs/configuration.md names every variable that settings.py reads."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_profile

ROOT = Path(__file__).resolve().parents[2]
READ = re.compile(r'env\.(\w+)\(\s*"([A-Z0-9_]+)"')


def variables() -> list[str]:
    found = READ.findall((ROOT / "mailbot" / "settings.py").read_text(encoding="utf-8"))
    return [f"{name}…" if reader == "prefixed" else name for reader, name in found]


def documented() -> set[str]:
    """What stands in the first column of its tables."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize("name", variables())
def test_it_documents_the_variable(name):
    assert name in documented()


def test_it_sees_the_variables_at_all():
    assert {"MAILBOT_VAR", "DATABASE_URL", "REDIS_URL", "ANYMAIL_…"} <= set(variables())


def test_it_reads_the_environment_in_no_other_way():
    """Otherwise a variable could go unseen here."""
    assert "environ" not in (ROOT / "mailbot" / "settings.py").read_text(encoding="utf-8")
