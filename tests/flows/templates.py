"""A database that is migrated and has an account with a key, made once a run and copied for each server: migrating takes as long as
all that a server's processes do until they work.

A server that has to migrate by itself still does: `make run`, and whoever has a PostgreSQL or a login of his own.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from mailbot.quickstart.processes import child_environment

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "Flows"
FOLDER = "FLOWS_TEMPLATE"  # the environment variable that names this run's folder to all of its processes
COPIES = "mailbot_flows_"  # how the name of a copy on PostgreSQL begins


def begin_run() -> Path | None:
    """A folder for this run, if nobody has made it yet: to be given to `end_run`."""
    if FOLDER in os.environ:
        return None
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="mailbot-flows-")
    return Path(os.environ[FOLDER])


def end_run(folder: Path) -> None:
    if (folder / "lock").exists() and (url := os.environ.get("DATABASE_URL", "")):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{_name()}"'.encode())
    shutil.rmtree(folder)
    del os.environ[FOLDER]


def key_of(url: str, var: Path) -> str:
    """The secret of the key in the copy that a server with this DATABASE_URL and folder has; on SQLite it is made now. "": it has none."""
    if url:
        return _key() if urlsplit(url).path.startswith(f"/{COPIES}") else ""
    if not (var / "mailbot.sqlite3").exists():
        key = _key()
        shutil.copyfile(_folder() / "mailbot.sqlite3", var / "mailbot.sqlite3")
        return key
    return ""


def copy_without_account(var: Path) -> None:
    """What the first start of a server without accounts would have migrated; on SQLite."""
    _key()
    var.mkdir()
    shutil.copyfile(_folder() / "no-account.sqlite3", var / "mailbot.sqlite3")


@contextlib.contextmanager
def postgres_copy(server: str, name: str) -> Iterator[str]:
    """The DATABASE_URL of a copy beside the database `server`, dropped afterwards."""
    _key()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{COPIES}{name}" TEMPLATE "{_name()}"'.encode())
        yield urlsplit(server)._replace(path=f"/{COPIES}{name}").geturl()
        connection.execute(f'DROP DATABASE "{COPIES}{name}" WITH (FORCE)'.encode())


def _folder() -> Path:
    return Path(os.environ[FOLDER])


def _name() -> str:
    return f"template_{_folder().name}"


def _key() -> str:
    """Of the template, which is made by whoever of this run comes first."""
    file = _folder() / "key"
    with (_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            file.write_text(_make())
    return file.read_text()


def _make() -> str:
    url = os.environ.get("DATABASE_URL", "")
    if url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{_name()}"'.encode())  # of one who was interrupted
            connection.execute(f'CREATE DATABASE "{_name()}"'.encode())
        url = urlsplit(url)._replace(path=f"/{_name()}").geturl()
    _manage(url, "migrate", "--verbosity", "0")
    if not url:
        shutil.copyfile(_folder() / "mailbot.sqlite3", _folder() / "no-account.sqlite3")
    return _manage(url, "issue_key", "--account", ACCOUNT, "--create", "--mode", "test")


def _manage(url: str, *arguments: str) -> str:
    settings = {"DJANGO_SETTINGS_MODULE": "mailbot.settings", "MAILBOT_VAR": str(_folder())}
    environment = child_environment(**settings, DATABASE_URL=url)
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
