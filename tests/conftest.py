"""What every test can ask for: the cast, and a way to run the workers."""

import gc
import time
from collections.abc import Generator, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import time_machine
from django.db import connection, transaction
from django.test import TransactionTestCase
from django.utils import timezone

from inboxes import domain_keys
from inboxes.models import Account
from mailbot.api.rate_limits import counter
from mailbot.lib import rates_redis
from mailbot.lib.scope import OWNER, act_for_everybody_outside_of_requests, acting_within
from tests import agreement
from tests.cast import Caller
from tests.clocks import without_the_databases
from tests.dealing import deal
from tests.delivery.inbound.reports import summary as bounces
from tests.dns_zone import PublishedZone
from tests.emptying import empty_tables
from tests.flows import templates
from tests.isolation import summary as isolation
from tests.stores import Store

act_for_everybody_outside_of_requests()  # a test looks at all accounts; what it asks of the server is a request of its own

TransactionTestCase._fixture_teardown = lambda self: empty_tables()  # type: ignore[attr-defined]

# How long an example takes says more of the machine than of the code. The rest stays as hypothesis has it, here or in CI.
hypothesis.settings.register_profile(
    "unhurried", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

domain_keys.BITS = 1024  # a key of 2,048 bits takes 0.1 s; the test that wants one says so


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for summary in (isolation, agreement, bounces):
        summary.write_summary(terminalreporter)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main() -> Generator[None, object, object]:
    """Of this run, whose other processes come to know of the folder."""
    folder = templates.begin_run()
    result = yield
    if folder:
        templates.end_run(folder)
    return result


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = deal(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Before any test's time runs: what migrates on a busy machine would be the first test's time-out, and each later one's error."""
    if any(_asks_a_database(item) for item in session.items):
        templates.prepare()


def pytest_collection_finish() -> None:
    """Modules and tests stay: the collector need not go through all of them again and again."""
    gc.collect()
    gc.freeze()


def _asks_a_database(item: pytest.Item) -> bool:
    names = set(getattr(item, "fixturenames", ()))
    return bool(names & {"db", "transactional_db", "kept_rows"}) or item.get_closest_marker("django_db") is not None


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """What `django_db_modify_db_settings` puts there on SQLite. On PostgreSQL a copy is made, and dropped."""
    return connection.vendor == "sqlite"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """The database of the tests is a copy of one that is migrated: doing that in each process takes half a minute of the whole run."""
    for_tests = connection.settings_dict["TEST"]
    if connection.vendor == "sqlite":
        templates.copy_migrated(Path(for_tests["NAME"]))
    else:
        for_tests["TEMPLATE"] = templates.migrated_template()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """auditlog makes a table for its own entries even where another model takes their place, and Django does not know of it:
    on PostgreSQL its foreign keys would refuse the flush between tests.

    PostgreSQL drops no database that somebody uses, and threads that look for waits keep their connection for two seconds.
    """
    with django_db_blocker.unblock(), acting_within(OWNER), connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS auditlog_logentry")
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            _wait_until_alone(cursor)


OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"


def _wait_until_alone(cursor: Any) -> None:
    """For ten seconds; who is still there then is shown and sent away."""
    deadline = time.monotonic() + 10
    while True:
        cursor.execute(f"SELECT state, query {OTHERS} AND state <> 'idle'")
        if not (busy := cursor.fetchall()) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if busy:
        print("Still uses the database of the tests:", busy)
    cursor.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")
    cursor.fetchall()


@pytest.fixture(scope="module")
def kept_rows(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """For a fixture of this scope: the rows that it makes are there in each test of the module, which undoes what it did itself.

    Everything happens in one transaction, so no test of such a module may be transactional.
    """
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def store(settings: Any, tmp_path: Path) -> Iterator[Store]:
    """An object store of the test's own, in a folder, which can be told to misbehave."""
    folder = tmp_path / "store"
    faulty = {"BACKEND": "tests.stores.FaultyStorage", "OPTIONS": {"location": folder}}
    settings.STORAGES = {**settings.STORAGES, "default": faulty}
    store = Store(folder)
    yield store
    store.faults.mend()


@pytest.fixture
def acme(db: None) -> Account:
    return Account.objects.create(name="Acme")


@pytest.fixture
def alice(acme: Account) -> Caller:
    """Owns the inboxes of the test."""
    return Caller(acme, "Alice")


@pytest.fixture
def bob(acme: Account) -> Caller:
    """A team-mate of Alice: the same account, another key."""
    return Caller(acme, "Bob")


@pytest.fixture
def charlie(db: None) -> Caller:
    """A stranger: a key of another account."""
    return Caller(Account.objects.create(name="Elsewhere"), "Charlie")


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> Iterator[date]:
    """It does not end while the test runs: the clock stands still."""
    without_the_databases(monkeypatch)
    with time_machine.travel(timezone.now(), tick=False):
        yield timezone.now().date()


@pytest.fixture
def exact_rates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Rates are counted anew. A hit waits for a Redis that is late, as no call may: otherwise this process would count by itself, from
    nothing."""
    monkeypatch.setattr(rates_redis, "ANSWERS_WITHIN", 10.0)
    counter.cache_clear()
    yield
    counter.cache_clear()


@pytest.fixture
def dns(settings: Any, tmp_path: Path) -> PublishedZone:
    """DNS as the test publishes it, and nothing else."""
    settings.DNS_ZONE_FILE = tmp_path / "zone"
    return PublishedZone(settings.DNS_ZONE_FILE)
