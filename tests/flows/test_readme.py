"""The first five minutes of the README, and docs/getting-started.md, done as they are written, each in one shell, and held against the
answers shown there.

An answer is shown shortened: keys may be left out, `…` stands for any text, and in a list only the shown beginning counts.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.flows, pytest.mark.one_profile, pytest.mark.timeout(180)]
ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(sh|json|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEXT = "\n---- next block ----\n"


@dataclass
class Step:
    """A block of commands, and what the README shows as its output: JSON, text, or nothing."""

    commands: str
    language: str = ""
    shown: str = ""


def first_five_minutes() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8").split("\n## First five minutes\n")[1].split("\n## ")[0]


def getting_started() -> str:
    return (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")


def steps(section: str) -> list[Step]:
    found: list[Step] = []
    for language, text in FENCE.findall(section):
        if language == "sh":
            found.append(Step(text))
        else:
            found[-1].language, found[-1].shown = language, text
    return found


@pytest.fixture
def folder(server, tmp_path):
    """As the repository looks to a user after `make run`."""
    key = server.manage("issue_key", "--account", "Quickstart", "--create", "--name", "Quickstart")
    credentials = {"MAILBOT_URL": server.url, "MAILBOT_API_KEY": key, "MAILBOT_SMTP": server.smtp}
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "quickstart.env").write_text(
        "".join(f"{name}={value}\n" for name, value in credentials.items())
    )
    return tmp_path


def outputs_of(commands: list[str], folder: Path) -> list[str]:
    script = f"\nprintf '%s' '{NEXT}'\n".join(commands)
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=150,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.split(NEXT)


def fits(shown: Any, real: Any) -> bool:
    match shown, real:
        case dict(), dict():
            return all(name in real and fits(value, real[name]) for name, value in shown.items())
        case list(), list():
            return len(shown) <= len(real) and all(fits(*pair) for pair in zip(shown, real, strict=False))
        case str(), str():
            return as_pattern(shown).fullmatch(real) is not None
    return bool(shown == real)


def as_pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("…"))), re.DOTALL)


@pytest.mark.parametrize("page", [first_five_minutes, getting_started])
def test_it_works_as_written(folder, page):
    told = steps(page())
    for step, output in zip(told, outputs_of([step.commands for step in told], folder), strict=True):
        if step.language == "json":
            assert fits(json.loads(step.shown), json.loads(output)), f"{step.commands}\n{output}"
        else:
            # Lines of a mail end in CRLF.
            assert as_pattern(step.shown.strip()).search(output.replace("\r\n", "\n")), f"{step.commands}\n{output}"


@pytest.mark.parametrize("page", [first_five_minutes, getting_started])
def test_it_has_something_to_hold_against(page):
    told = steps(page())
    assert len(told) >= 10
    assert sum(step.language == "json" for step in told) >= 8
    assert not fits({"status": "ok"}, {"status": "no"})
    assert not fits([1, 2], [1])
