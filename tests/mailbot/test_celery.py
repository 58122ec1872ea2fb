"""What worker and beat do while the broker is away."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from mailbot.celery import app

CELERY = [sys.executable, "-m", "celery", "--quiet", "-A", "tests.mailbot.impatient"]
WORKER = ["worker", "--pool", "solo", "--without-gossip", "--without-mingle", "--without-heartbeat"]
BEAT = ["beat", "--pidfile="]
NOBODY = "redis://127.0.0.1:1"
TRIES = 250  # Celery by itself gives up after 100
PATIENCE = 60.0  # seconds


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[list[str]], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(command: list[str]) -> subprocess.Popen[str]:
        environment = {**os.environ, "MAILBOT_VAR": str(tmp_path), "REDIS_URL": NOBODY, "PYTHONWARNINGS": "ignore"}
        environment["DJANGO_SETTINGS_MODULE"] = "mailbot.settings"
        started.append(
            subprocess.Popen(
                [*CELERY, *command], cwd=settings.BASE_DIR, env=environment, stderr=subprocess.PIPE, text=True
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.flows
@pytest.mark.timeout(180)
@pytest.mark.parametrize("command", [WORKER, BEAT], ids=["worker", "beat"])
def test_it_never_gives_up_a_broker_that_is_away(
    start: Callable[[list[str]], subprocess.Popen[str]], command: list[str]
) -> None:
    process = start(command)
    assert process.stderr
    deadline, tries = time.monotonic() + PATIENCE, 0
    for line in process.stderr:  # it ends when the process does
        tries += "Connection refused" in line
        if tries >= TRIES or time.monotonic() > deadline:
            break
    assert tries >= TRIES


class TestChannel:
    def test_one_that_cannot_be_closed_does_not_end_the_worker(self) -> None:
        """As kombu's Redis channel does when Redis went away under it with a message that was not finished."""

        class Channel:
            def close(self) -> None:
                raise AttributeError("'NoneType' object has no attribute 'hostname'")

        with app.connection_for_read() as connection:
            connection.maybe_close_channel(Channel())  # type: ignore[arg-type]
