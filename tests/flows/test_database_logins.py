"""The logins that mailbot may be given to a PostgreSQL that nobody has prepared: a superuser, an owner that is nothing more, and one that
owns nothing."""

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.flows.conftest import HOST, ROOT, Server, until
from tests.flows.private_servers import PrivatePostgres, postgresql_programs, private_postgres, production_only

pytestmark = [pytest.mark.flows, pytest.mark.timeout(300), production_only]

ROLES = "mailbot_tenant, mailbot_system"


@contextlib.contextmanager
def a_cluster() -> Iterator[PrivatePostgres]:
    with private_postgres() as server:
        server.execute("CREATE ROLE plain LOGIN")
        server.execute("CREATE DATABASE plain OWNER plain")
        yield server


@pytest.fixture
def postgres() -> Iterator[PrivatePostgres]:
    """One that nobody has migrated."""
    with a_cluster() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the mailbots of `migrated`, where their keys are."""
    return tmp_path_factory.mktemp("var")


@pytest.fixture(scope="module")
def migrated(home: Path, own_redis: dict[str, str]) -> Iterator[PrivatePostgres]:
    """One whose database `plain`, which may make roles, has migrated by itself; there is a key."""
    with a_cluster() as server:
        server.execute("ALTER ROLE plain CREATEROLE")
        with a_mailbot(home, own_redis, server) as mailbot:
            mailbot.manage("migrate", "--verbosity", "0")
            mailbot.issue_key()
        yield server


@contextlib.contextmanager
def a_mailbot(
    var: Path, own_redis: dict[str, str], postgres: PrivatePostgres, login: str = "plain"
) -> Iterator[Server]:
    """It has not begun."""
    mailbot = Server(var, {**own_redis, "DATABASE_URL": url_of(login, postgres)})
    try:
        yield mailbot
    finally:
        mailbot.end()


@pytest.fixture
def mailbot(tmp_path: Path, own_redis: dict[str, str], postgres: PrivatePostgres) -> Iterator[Server]:
    """Of the login `plain`, which owns its database; it has not begun."""
    with a_mailbot(tmp_path, own_redis, postgres) as mailbot:
        yield mailbot


def url_of(login: str, postgres: PrivatePostgres) -> str:
    return f"postgres://{login}@{HOST}:{postgres.port}/plain"


def refusal_of(mailbot: Server, command: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", command], cwd=ROOT, env=mailbot.environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    return done.stderr.strip()


def it_works(mailbot: Server) -> None:
    with mailbot.http() as http:
        inbox = http.post("/inboxes", json={}, headers={"Idempotency-Key": secrets.token_hex(8)}).json()["data"]
        inside = f"/inboxes/{inbox['id']}"
        mailbot.deliver(inbox["address"], "Subject: Found\r\n\r\nby its words\r\n")
        until(lambda: bool(http.get(f"{inside}/messages").json()["data"]), "the mail is filed")
        assert len(http.post(f"{inside}/messages/search", json={"query": "words"}).json()["data"]) == 1
        sent = http.post(f"{inside}/messages", json={"to": ["bob@example.com"], "subject": "Hi", "body_text": "Hi"})
        assert sent.status_code == 202
        assert http.get("/usage").status_code == http.get("/audit-log").status_code == 200
        assert http.delete(inside, params={"purge": "true"}).status_code == 200
    mailbot.manage("index_messages")


def test_an_owner_that_may_make_no_roles_is_told_what_to_do_and_works_after_it(
    mailbot: Server, postgres: PrivatePostgres
) -> None:
    for command in ("migrate", "quickstart"):
        said = refusal_of(mailbot, command)
        assert len(said.splitlines()) == 1
        assert f'GRANT {ROLES} TO "plain";' in said
    for role in ROLES.split(", "):
        postgres.execute(f"CREATE ROLE {role} NOLOGIN")
    assert f'GRANT {ROLES} TO "plain";' in refusal_of(mailbot, "migrate")
    postgres.execute(f"GRANT {ROLES} TO plain")
    mailbot.begin()
    it_works(mailbot)


def test_an_owner_that_may_make_roles_needs_nobody(
    home: Path, own_redis: dict[str, str], migrated: PrivatePostgres
) -> None:
    with a_mailbot(home, own_redis, migrated) as mailbot:
        mailbot.begin()
        it_works(mailbot)


def test_the_owner_backs_up_every_row(home: Path, own_redis: dict[str, str], migrated: PrivatePostgres) -> None:
    whole = url_of("plain", migrated)
    dump = [str(postgresql_programs() / "pg_dump"), "--enable-row-security", whole]
    dumped = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
    migrated.execute("CREATE DATABASE restored OWNER plain")
    restored = whole.removesuffix("plain") + "restored"
    subprocess.run(
        [str(postgresql_programs() / "psql"), "--quiet", "--set=ON_ERROR_STOP=1", restored],
        input=dumped,
        capture_output=True,
        text=True,
        check=True,
    )
    with a_mailbot(home, own_redis, migrated) as mailbot:
        mailbot.environment["DATABASE_URL"] = restored
        assert mailbot.manage("migrate", "--check") == ""
    assert keys_of(restored) == keys_of(url_of("postgres", migrated)) != []


def keys_of(url: str) -> list[tuple[str]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT id FROM inboxes_apikey ORDER BY id").fetchall()


def test_processes_may_have_a_login_that_owns_nothing(
    home: Path, own_redis: dict[str, str], migrated: PrivatePostgres
) -> None:
    migrated.execute("CREATE ROLE processes LOGIN")
    migrated.execute(f"GRANT {ROLES} TO processes")
    with a_mailbot(home, own_redis, migrated, "processes") as mailbot:
        mailbot.begin()
        it_works(mailbot)


def test_the_first_start_makes_the_roles_and_each_start_the_walls_that_are_missing(
    mailbot: Server, postgres: PrivatePostgres
) -> None:
    mailbot.environment["DATABASE_URL"] = url_of("postgres", postgres)
    with quickstart(mailbot):
        pass
    with psycopg.connect(mailbot.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("DROP POLICY mailbot_tenant ON threads_message")
        connection.execute("ALTER TABLE threads_message DISABLE ROW LEVEL SECURITY")
        with quickstart(mailbot):
            found = connection.execute(
                "SELECT count(*) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid"
                " WHERE c.relname = 'threads_message' AND c.relrowsecurity"
            ).fetchone()
    assert found == (2,)


@contextlib.contextmanager
def quickstart(mailbot: Server) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "quickstart"],
        cwd=ROOT,
        env=mailbot.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if "mailbot is running" in line:
                break
        else:
            pytest.fail("".join(seen))
        yield
    finally:
        process.terminate()
        process.communicate()
