"""A running server against its own schema: schemathesis calls each operation with what the schema allows and with what it forbids, one
after the other and along the ids that answers bring. No 5xx, and no answer that the schema does not allow.

`make fuzz` is the same for longer, with a seed that differs from run to run and is printed.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
CASES = os.environ.get("FUZZ_CASES", "")
SEED = os.environ.get("FUZZ_SEED", "")
# What SQLite takes PostgreSQL may refuse (a NUL, a number that is too long), and both take a minute.
needs_postgresql = pytest.mark.skipif(
    not (CASES or os.environ.get("DATABASE_URL")), reason="asks PostgreSQL, or by make fuzz"
)
pytestmark = [pytest.mark.flows, pytest.mark.timeout(240), needs_postgresql]
FEW = ["--max-examples", "5", "--generation-deterministic", "--seed", "1"]
# What takes most of the time, and more with each route: `make fuzz` does that too. tests/mailbot/api/test_hostile_input.py tries each
# field and parameter in a second.
WITHOUT_COVERAGE = ["--phases", "examples,fuzzing,stateful"]


def arguments() -> list[str]:
    if not CASES:
        return [*FEW, *WITHOUT_COVERAGE]
    return ["--max-examples", CASES, *(["--seed", SEED] if SEED else [])]


def test_every_answer_is_one_that_the_schema_allows(server: Any, tmp_path: Path) -> None:
    key = server.issue_key("Fuzz")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"]
    done = subprocess.run(
        [*command, f"{server.url}/v1/openapi.json", "--checks", "all", "--no-color", *arguments()],
        cwd=tmp_path,
        env={**os.environ, "MAILBOT_API_KEY": key},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if CASES:
        print(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert httpx.get(f"{server.url}/healthz", verify=False).status_code == 200
