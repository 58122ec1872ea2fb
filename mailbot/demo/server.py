"""Whom the demo speaks to: the server that runs, or one that it starts for itself and stops at its end."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from mailbot.demo.clients import Server

READY = "mailbot is running"  # how the welcome of `manage.py quickstart` begins, once everything answers
STOPS_WITHIN = 15.0  # seconds


class NoServer(Exception):
    """There is none to speak to, or none that can be used. The message says what to do."""


@contextmanager
def server_to_use(manage: Path, kept: Path) -> Iterator[tuple[Server, bool]]:
    """The running server and False, or one of our own and True.

    `kept` is the quickstart.env of a server that may be running; MAILBOT_URL, MAILBOT_API_KEY and MAILBOT_SMTP in the
    environment win over it. `manage` is the manage.py to start a server with. Raises NoServer.
    """
    known = {**read_env(kept), **{name: value for name, value in os.environ.items() if value}}
    if answers(known.get("MAILBOT_URL", "")):
        yield server_of(known), False
    else:
        with _server_of_our_own(manage) as server:
            yield server, True


def read_env(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def answers(url: str) -> bool:
    """Whether a mailbot is there."""
    try:
        return bool(url) and httpx.get(f"{url}/healthz", timeout=3).json() == {"status": "ok"}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False


def server_of(known: Mapping[str, str]) -> Server:
    url = known["MAILBOT_URL"].rstrip("/")
    if missing := [name for name in ("MAILBOT_API_KEY", "MAILBOT_SMTP") if not known.get(name)]:
        raise NoServer(f"A server answers at {url}, but {' and '.join(missing)} is not set.")
    if not known["MAILBOT_API_KEY"].startswith("mb_test_"):
        raise NoServer("MAILBOT_API_KEY is no test key: the demo writes to made-up people, so it needs the sandbox.")
    host, _, port = known["MAILBOT_SMTP"].rpartition(":")
    if not host or not port.isdigit():
        raise NoServer(f"MAILBOT_SMTP={known['MAILBOT_SMTP']} is not of the form host:port.")
    return Server(url, known["MAILBOT_API_KEY"], host.strip("[]"), int(port))


@contextmanager
def _server_of_our_own(manage: Path) -> Iterator[Server]:
    """`manage.py quickstart` on free ports, with its data in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="mailbot-demo-") as folder:
        said = Path(folder) / "stderr.txt"
        with said.open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603 (our own manage.py)
                [sys.executable, str(manage), "quickstart"],
                cwd=manage.parent,
                env=_environment(Path(folder) / "var"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # a Ctrl-C reaches us alone, and we stop it
            )
        try:
            _wait_until_ready(process, said)
            yield server_of(read_env(Path(folder) / "var" / "quickstart.env"))
        finally:
            _stop(process)


def _environment(var: Path) -> dict[str, str]:
    """Ours without what would lead to the data of another server."""
    of_another = ("MAILBOT_", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(of_another)}
    web, smtp = _free_ports(2)
    return {**ours, "MAILBOT_VAR": str(var), "MAILBOT_PORT": str(web), "MAILBOT_SMTP_PORT": str(smtp)}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_until_ready(process: subprocess.Popen[str], said: Path) -> None:
    """Quickstart itself gives up after a while, and then its output ends."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(READY):
            return
    lines = said.read_text(errors="replace").strip().splitlines()
    raise NoServer(f"The demo's own server did not start: {lines[-1] if lines else 'it said nothing'}")


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
