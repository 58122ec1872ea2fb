"""A database that is migrated, and the same with an account and a key, made once a run and copied for each server and for each process of
tests: migrating takes as long as all that a server's processes do until they work.

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
            for name in (_name(), _bare_name()):
                connection.execute(f'DROP DATABASE IF EXISTS "{name}"'.encode())
    shutil.rmtree(folder)
    del os.environ[FOLDER]


def prepare() -> None:
    """Make it now, or wait for whoever makes it."""
    _key()


def key_of(url: str, var: Path) -> str:
    """The secret of the key in the copy that a server with this DATABASE_URL and folder has; on SQLite it is made now. "": it has none."""
    if url:
        return _key() if is_copy(url) else ""
    if not (var / "mailbot.sqlite3").exists():
        key = _key()
        shutil.copyfile(_folder() / "mailbot.sqlite3", var / "mailbot.sqlite3")
        return key
    return ""


def migrated_template() -> str:
    """The name of a database on PostgreSQL to make others from, migrated and empty."""
    _key()
    return _bare_name()


def copy_migrated(to: Path) -> None:
    """The same on SQLite."""
    _key()
    shutil.copyfile(_folder() / "no-account.sqlite3", to)


def copy_without_account(var: Path) -> None:
    """What the first start of a server without accounts would have migrated; on SQLite."""
    var.mkdir()
    copy_migrated(var / "mailbot.sqlite3")


@contextlib.contextmanager
def postgres_copy(server: str, name: str) -> Iterator[str]:
    """The DATABASE_URL of a copy beside the database `server`, dropped afterwards."""
    _key()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{COPIES}{name}" TEMPLATE "{_name()}"'.encode())
        yield _beside(server, f"{COPIES}{name}")
        connection.execute(f'DROP DATABASE "{COPIES}{name}" WITH (FORCE)'.encode())


def is_copy(url: str) -> bool:
    """Whether the database is one that `postgres_copy` made."""
    return urlsplit(url).path.startswith(f"/{COPIES}")


@contextlib.contextmanager
def only_one() -> Iterator[Path]:
    """The folder of this run, while no other process of it has it in this way."""
    with (_folder() / "private-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _folder()


def _folder() -> Path:
    return Path(os.environ[FOLDER])


def _name() -> str:
    return f"template_{_folder().name}"


def _bare_name() -> str:
    return f"bare_{_folder().name}"


def _key() -> str:
    """Of the template, which is made by whoever of this run comes first."""
    file = _folder() / "key"
    with (_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            file.write_text(_make())
    return file.read_text()


def _make() -> str:
    server = os.environ.get("DATABASE_URL", "")
    if not server:
        _manage("", "migrate", "--verbosity", "0")
        shutil.copyfile(_folder() / "mailbot.sqlite3", _folder() / "no-account.sqlite3")
        return _issue_key("")
    with psycopg.connect(server, autocommit=True) as connection:
        for name in (_name(), _bare_name()):
            connection.execute(f'DROP DATABASE IF EXISTS "{name}"'.encode())  # of one who was interrupted
        connection.execute(f'CREATE DATABASE "{_bare_name()}"'.encode())
        _manage(_beside(server, _bare_name()), "migrate", "--verbosity", "0")
        connection.execute(f'CREATE DATABASE "{_name()}" TEMPLATE "{_bare_name()}"'.encode())
    return _issue_key(_beside(server, _name()))


def _beside(server: str, name: str) -> str:
    return urlsplit(server)._replace(path=f"/{name}").geturl()


def _issue_key(url: str) -> str:
    return _manage(url, "issue_key", "--account", ACCOUNT, "--create", "--mode", "test")


def _manage(url: str, *arguments: str) -> str:
    settings = {"DJANGO_SETTINGS_MODULE": "mailbot.settings", "MAILBOT_VAR": str(_folder())}
    environment = child_environment(**settings, DATABASE_URL=url)
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
