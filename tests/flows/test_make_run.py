"""A new user's way in: `make run` in a fresh copy, on a machine where nothing is set."""

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.flows.conftest import BUSY, HOST, LEASE, ROOT, free_ports, until
from tests.flows.load import load
from tests.flows.templates import copy_without_account

pytestmark = [
    pytest.mark.flows,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(os.environ.get("DATABASE_URL")), reason="make run without any configuration is embedded"),
]

ENDS_WITHIN = 15.0  # seconds until the last process notices that its starter is gone, and stops
VENV = Path(sys.executable).parent.parent
FAKE_OLD_PYTHON = """#!/bin/sh
case "$2" in
    *exit*) exit 1 ;;
    *) echo 3.9 ;;
esac
"""


def copy_of_checkout(folder: Path) -> Path:
    """What a clone would hold if everything were committed: whatever git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (source := ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    return folder


class Machine:
    """A copy of the checkout, and an environment with nothing of the developer's in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.smtp_port = free_ports(2)
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "MAILBOT_PORT": str(self.port),
            "MAILBOT_SMTP_PORT": str(self.smtp_port),
            # Installing is tried by hand and by the first stage of CI: a test has no network.
            "MAILBOT_VENV": str(VENV),
        }

    @property
    def credentials(self) -> dict[str, str]:
        lines = (self.folder / "var" / "quickstart.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def smtp(self) -> str:
        return self.credentials["MAILBOT_SMTP"]

    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.credentials['MAILBOT_API_KEY']}"}
        return httpx.Client(base_url=f"{self.credentials['MAILBOT_URL']}/v1", headers=headers, timeout=30, verify=False)

    def make_run(self, **environment: str) -> "Run":
        return Run(self, {**self.environment, **environment})

    def refused(self, **environment: str) -> str:
        """What standard error says when `make run` cannot start: its own line, without make's."""
        done = subprocess.run(
            ["make", "run"],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        assert done.returncode == 2, done.stdout + done.stderr
        lines = done.stderr.splitlines()
        assert re.fullmatch(r"make: \*\*\* \[Makefile:\d+: \w+\] Error 1", lines.pop())
        assert len(lines) == 1, done.stderr
        return lines[0]


class Run:
    """`make run` in a session of its own, as at a terminal."""

    def __init__(self, machine: Machine, environment: dict[str, str]) -> None:
        self.output = ""
        self.process = subprocess.Popen(
            ["make", "run"],
            cwd=machine.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.output += line

    def wait_for_welcome(self) -> None:
        until(lambda: self.is_welcoming() or self.process.poll() is not None, "the welcome", 90)
        assert self.is_welcoming(), self.output

    def is_welcoming(self) -> bool:
        return "quickstart.env." in self.output

    def starter(self) -> int:
        """The pid of `manage.py quickstart`, the only child of make."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def wait(self) -> int:
        code = self.process.wait(60)  # all of it ends within ten seconds, on a machine that has nothing else to do
        self._reader.join(5)
        return code


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that work in `folder`."""
    return list(pids_of(folder).values())


def pids_of(folder: Path) -> dict[int, str]:
    """The same by their pids."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it has ended meanwhile, or is none of ours
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_of_checkout(tmp_path_factory.mktemp("checkout"))
    for name in ("requirements.txt", "requirements-dev.txt"):
        if not (VENV / f"installed-{name}").exists():
            shutil.copy2(ROOT / name, VENV / f"installed-{name}")
    return folder


@pytest.fixture
def machine(checkout: Path) -> Iterator[Machine]:
    yield Machine(checkout)
    shutil.rmtree(checkout / "var", ignore_errors=True)


@pytest.fixture
def migrated(machine):
    """It has the tables, and nothing else: making them is half of a first start."""
    copy_without_account(machine.folder / "var")


def test_it_welcomes_works_and_stops(machine):
    run = machine.make_run()
    run.wait_for_welcome()
    credentials = machine.credentials

    assert credentials["MAILBOT_URL"] == f"http://{HOST}:{machine.port}"
    assert credentials["MAILBOT_SMTP"] == f"{HOST}:{machine.smtp_port}"
    assert stat.S_IMODE((machine.folder / "var" / "quickstart.env").stat().st_mode) == 0o600
    assert credentials["MAILBOT_API_KEY"].startswith("mb_test_")
    assert signs_in(credentials)
    assert '"address":' in pasted(run.output, machine)
    assert "Traceback" not in run.output
    assert f"port {HOST}:{machine.port} is taken" in machine.refused()

    # As a terminal does it: to all of the foreground, make included, which then ends as one that was interrupted.
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait() in (-signal.SIGINT, 0)  # make says so by its status, unless its child was quicker
    assert run.output.endswith("\nmailbot has stopped.\n")
    assert "Traceback" not in run.output
    assert processes_of(machine.folder) == []

    again = machine.make_run()
    again.wait_for_welcome()
    assert machine.credentials == credentials
    os.kill(again.starter(), signal.SIGKILL)
    again.wait()
    until(lambda: processes_of(machine.folder) == [], "the end of the processes whose starter was killed", ENDS_WITHIN)


def kill_each(run: Run, machine: Machine) -> None:
    for pid in pids_of(machine.folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_the_group(run: Run, machine: Machine) -> None:
    """make and the starter: what they started has to notice."""
    os.killpg(run.process.pid, signal.SIGKILL)


def stop_the_group(run: Run, machine: Machine) -> None:
    os.killpg(run.process.pid, signal.SIGTERM)


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("end", [kill_each, kill_the_group, stop_the_group])
def test_it_keeps_what_it_acknowledged_however_it_ends(machine, tmp_path, end):
    environment = {"MAILBOT_INBOUND_LEASE": str(LEASE)}
    run = machine.make_run(**environment)
    run.wait_for_welcome()
    with load(machine, tmp_path / "ledger") as flowing:
        flowing.wait_for_more()
        end(run, machine)
        run.wait()
        until(lambda: not pids_of(machine.folder), "the end of all", ENDS_WITHIN)
        again = machine.make_run(**environment)
        again.wait_for_welcome()
        flowing.wait_for_more()
        flowing.stop()
        flowing.hold(LEASE + 10 + BUSY)
    os.kill(again.starter(), signal.SIGTERM)
    assert again.wait() == 0
    assert processes_of(machine.folder) == []


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize(("name", "words"), [("web", "uvicorn"), ("worker", " worker ")])
def test_it_leaves_nothing_behind_when_a_process_is_killed(machine, name, words):
    run = machine.make_run()
    run.wait_for_welcome()
    # The first is the one that the Procfile started: a worker has children.
    os.kill(min(pid for pid, command in pids_of(machine.folder).items() if words in command), signal.SIGKILL)
    assert run.wait() == 2
    assert f"{name} has ended by itself" in run.output
    until(lambda: not pids_of(machine.folder), "the end of all", ENDS_WITHIN)


def pasted(output: str, machine: Machine) -> str:
    """What the shell answers to the line that begins with curl."""
    line = re.search(r"^curl .*$", output, re.MULTILINE)
    assert line, output
    done = subprocess.run(line[0], shell=True, env=machine.environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def signs_in(credentials: dict[str, str]) -> bool:
    with httpx.Client(base_url=credentials["MAILBOT_URL"], follow_redirects=True, timeout=30, verify=False) as browser:
        page = browser.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert token
        form = {
            "csrfmiddlewaretoken": token[1],
            "username": credentials["MAILBOT_ADMIN_USER"],
            "password": credentials["MAILBOT_ADMIN_PASSWORD"],
            "next": "/admin/",
        }
        return "/login/" not in str(browser.post("/admin/login/", data=form).url)


@pytest.mark.usefixtures("migrated")
def test_it_ends_well_when_it_is_told_to_before_it_is_ready(machine):
    run = machine.make_run()
    until(lambda: len(processes_of(machine.folder)) > 3, "the start of its processes")
    os.kill(run.starter(), signal.SIGTERM)
    assert run.wait() == 0, run.output
    assert "Traceback" not in run.output
    assert processes_of(machine.folder) == []


@pytest.mark.usefixtures("migrated")
def test_it_says_which_process_has_ended(machine):
    procfile = machine.folder / "Procfile"
    kept = procfile.read_text()
    procfile.write_text(re.sub(r"^beat: .*$", "beat: echo out of order; exit 3", kept, flags=re.MULTILINE))
    run = machine.make_run()
    try:
        assert run.wait() == 2
    finally:
        procfile.write_text(kept)
    assert "beat has ended by itself (exit code 3), so mailbot stops. Its last output:\n  out of order\n" in run.output
    assert processes_of(machine.folder) == []


class TestRefusal:
    def test_it_names_the_smtp_port_that_is_taken(self, machine):
        with socket.create_server((HOST, machine.smtp_port)):
            line = machine.refused()
        assert f"{HOST}:{machine.smtp_port} is taken" in line
        assert "MAILBOT_SMTP_PORT" in line

    def test_it_names_the_web_port_that_is_taken(self, machine):
        with socket.create_server((HOST, machine.port)):
            line = machine.refused()
        assert f"{HOST}:{machine.port} is taken" in line
        assert "MAILBOT_PORT" in line

    def test_it_names_the_folder_that_it_cannot_write_to(self, machine):
        (machine.folder / "var").write_text("a file stands where the folder should")
        try:
            line = machine.refused()
        finally:
            (machine.folder / "var").unlink()
        assert str(machine.folder / "var") in line
        assert "MAILBOT_VAR" in line

    def test_it_names_the_python_that_is_too_old(self, machine, tmp_path):
        python = tmp_path / "python3"
        python.write_text(FAKE_OLD_PYTHON)
        python.chmod(0o755)
        for tool in ("make", "sh", "sed"):
            (tmp_path / tool).symlink_to(str(shutil.which(tool)))
        line = machine.refused(PATH=str(tmp_path), MAILBOT_VENV="no-such-environment")
        assert line.startswith(f"mailbot needs Python 3.11 or newer; found 3.9 at {python}.")
