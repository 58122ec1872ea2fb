"""The logins that mailbot may be given to a PostgreSQL that nobody has prepared: a superuser, an owner that is nothing more, and one that
owns nothing."""

import contextlib
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


@pytest.fixture
def postgres() -> Iterator[PrivatePostgres]:
    with private_postgres() as server:
        server.execute("CREATE ROLE plain LOGIN")
        server.execute("CREATE DATABASE plain OWNER plain")
        yield server


@pytest.fixture
def mailbot(tmp_path: Path, own_redis: dict[str, str], postgres: PrivatePostgres) -> Iterator[Server]:
    """Of the login `plain`, which owns its database; it has not begun."""
    mailbot = Server(tmp_path, {**own_redis, "DATABASE_URL": url_of("plain", postgres)})
    try:
        yield mailbot
    finally:
        mailbot.end()


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
        inbox = http.post("/inboxes", json={}, headers={"Idempotency-Key": "once"}).json()["data"]
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


def test_an_owner_that_may_make_roles_needs_nobody(mailbot: Server, postgres: PrivatePostgres) -> None:
    postgres.execute("ALTER ROLE plain CREATEROLE")
    mailbot.begin()
    it_works(mailbot)


def test_the_owner_backs_up_every_row(mailbot: Server, postgres: PrivatePostgres) -> None:
    postgres.execute("ALTER ROLE plain CREATEROLE")
    mailbot.manage("migrate", "--verbosity", "0")
    mailbot.issue_key()
    dump = [str(postgresql_programs() / "pg_dump"), "--enable-row-security", mailbot.environment["DATABASE_URL"]]
    dumped = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
    postgres.execute("CREATE DATABASE restored OWNER plain")
    restored = url_of("plain", postgres).removesuffix("plain") + "restored"
    subprocess.run(
        [str(postgresql_programs() / "psql"), "--quiet", "--set=ON_ERROR_STOP=1", restored],
        input=dumped,
        capture_output=True,
        text=True,
        check=True,
    )
    mailbot.environment["DATABASE_URL"] = restored
    assert mailbot.manage("migrate", "--check") == ""
    with psycopg.connect(restored) as connection:
        assert connection.execute("SELECT count(*) FROM inboxes_apikey").fetchone() == (1,)


def test_processes_may_have_a_login_that_owns_nothing(mailbot: Server, postgres: PrivatePostgres) -> None:
    postgres.execute("ALTER ROLE plain CREATEROLE")
    mailbot.manage("migrate", "--verbosity", "0")
    postgres.execute("CREATE ROLE processes LOGIN")
    postgres.execute(f"GRANT {ROLES} TO processes")
    mailbot.environment["DATABASE_URL"] = url_of("processes", postgres)
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
