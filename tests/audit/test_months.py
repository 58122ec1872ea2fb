"""The months in which PostgreSQL keeps the trail"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import psycopg
import pytest
import time_machine
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from audit.append_only import put_up
from audit.findings import Kind
from audit.lookups import FEW, rows_of, within
from audit.models import AuditEntry
from audit.months import AHEAD, REST, Month, made_months, make_months, missing_months
from audit.sealing import seal_all
from audit.tasks import make_months as task
from audit.verifying import verify
from mailbot.lib import row_security
from mailbot.lib.ids import first_id, id_at
from mailbot.lib.scope import EVERYBODY, NOBODY, OWNER, Reach, Scope, acting_within
from mailbot.lib.wall_inspection import Level, inspect
from tests.audit.calendar import middle, now, start, written
from tests.audit.trail import ACCOUNT, entry_at, sealed, tamper, write
from tests.emptying import empty_tables
from tests.waiting import until_somebody_waits

pytestmark = [
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite keeps the trail in one table"),
    pytest.mark.usefixtures("month_of_the_database"),
]
COLUMNS = [  # that an entry cannot be without
    *("object_pk", "object_repr", "action", "changes_text", "timestamp", "act", "object_type", "account_id"),
    *("inbox_id", "actor_kind", "actor_id", "actor_name", "mode"),
]
NOON = datetime(2026, 12, 15, 12, tzinfo=UTC)
TENANT = Scope(Reach.TENANT, (ACCOUNT,))


def ask(statement: str, *given: Any, scope: Scope = OWNER) -> list[tuple[Any, ...]]:
    with acting_within(scope), connection.cursor() as cursor:
        cursor.execute(statement, given)
        return list(cursor.fetchall()) if cursor.description else []


def places() -> list[str]:
    """In which partition each entry is, in the order of their ids."""
    found = ask("SELECT tableoid::regclass::text FROM audit_auditentry ORDER BY public_id")
    return [name.removeprefix("audit_auditentry_") for (name,) in found]


class TestMonths:
    def test_there_is_one_for_each_month_to_come(self, db: None) -> None:
        assert made_months(connection) == (now().later(1), {now().later(n) for n in range(1, AHEAD + 1)})
        assert not missing_months(connection)

    def test_an_entry_is_in_the_month_of_its_time(self, db: None) -> None:
        written(timezone.now())
        for n in (1, 2):
            begin = start(now().later(n))
            for moment in (begin - timedelta(microseconds=1), begin, begin + timedelta(microseconds=1)):
                written(moment)
        first, second = now().later(1).name, now().later(2).name
        assert places() == [*[f"before_{first}"] * 2, *[first] * 3, *[second] * 2]

    def test_what_a_registered_row_leaves_is_too(self, alice: Any) -> None:
        with time_machine.travel(middle(now().later(2)), tick=False):
            alice.create_inbox()
        assert now().later(2).name in places()

    def test_more_are_made_as_time_goes_by(self, db: None) -> None:
        with time_machine.travel(middle(now().later(5))):
            with acting_within(NOBODY):
                task()
            assert not missing_months(connection)
            assert max(made_months(connection)[1]) == now().later(AHEAD)
            task()

    def test_the_bounds_are_ids_as_we_make_them(self, db: None) -> None:
        for moment in (NOON, start(now()), datetime(2039, 2, 3, 4, 5, 6, 500_000, UTC)):
            assert ask("SELECT mailbot_audit_first_id(%s)", moment) == [(first_id("audit", moment),)]

    @pytest.mark.parametrize("day", ["1969-01-01", "2027-03-01 BC", "9999-01-01", "infinity", None])
    def test_no_other_is_made(self, db: None, day: str | None) -> None:
        """A worker may ask for one."""
        assert refused("SELECT mailbot_audit_add_month(%s)", day, scope=EVERYBODY)

    def test_a_request_makes_none(self, db: None) -> None:
        assert refused("SELECT mailbot_audit_add_month(%s)", now().later(9).first_day, scope=TENANT)

    def test_ids_sort_by_their_octets_whatever_the_language_is(self, db: None) -> None:
        """In Estonian z comes before t, and ch behind h in Czech: a bound would be another one."""
        found = ask(
            "SELECT DISTINCT collname FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation WHERE attname = 'public_id'"
            " AND (attrelid = 'audit_auditentry'::regclass OR attrelid IN (SELECT inhrelid FROM pg_inherits))"
        )
        assert found == [("C",)]

    def test_a_month_that_was_taken_out_is_not_made_again(self, db: None, caplog: Any) -> None:
        month = now().later(2)
        ask(f"ALTER TABLE audit_auditentry DETACH PARTITION audit_auditentry_{month.name}")
        assert missing_months(connection) == [month]
        make_months()
        assert f"The month {month.name} of the audit log is made later" in caplog.text

    def test_without_what_was_before_months_are_made(self, db: None) -> None:
        ask(f"ALTER TABLE audit_auditentry DETACH PARTITION audit_auditentry_before_{now().later(1).name}")
        make_months()
        assert now() in made_months(connection)[1]

    def test_the_year_goes_by(self) -> None:
        assert Month(2026, 11).later(2) == (2027, 1)
        assert Month(2026, 12).later(0) == (2026, 12)
        assert Month(2026, 1).later(25) == (2028, 2)


class TestWithoutAMonth:
    """No beat for half a year, or a clock that is far ahead: nothing is refused and nothing lost."""

    def test_an_entry_goes_to_the_rest_and_into_its_month_once_that_is_there(self, db: None) -> None:
        late = now().later(6)
        for n in (0, 1):
            written(middle(late.later(n)), 2)
        seal_all()
        before = list(AuditEntry.objects.order_by("pk").values())
        assert places() == ["rest"] * 4
        with time_machine.travel(middle(late)):
            make_months()
        assert places() == [late.name] * 2 + [late.later(1).name] * 2
        assert list(AuditEntry.objects.order_by("pk").values()) == before
        assert verify(ACCOUNT).holds
        assert not ask(f"SELECT 1 FROM {REST}")

    def test_the_rest_is_found_by_time_and_by_id(self, db: None) -> None:
        late = middle(now().later(9))
        written(late, 3)
        (first, *_) = found = AuditEntry.objects.filter(within(late - timedelta(days=1), late + timedelta(days=1)))
        assert len(found) == 3
        assert AuditEntry.objects.get(public_id=first.public_id) == first


def refused(statement: str, *given: Any, scope: Scope) -> bool:
    try:
        with transaction.atomic():
            ask(statement, *given, scope=scope)
    except DatabaseError:
        return True
    return False


class TestWalls:
    """Who names a partition passes by what stands before the whole table."""

    @pytest.fixture(params=["before", "month", "rest"])
    def part(self, db: None, request: pytest.FixtureRequest) -> str:
        moments = {"before": timezone.now(), "month": middle(now().later(1)), "rest": middle(now().later(9))}
        written(moments[request.param])
        ((name,),) = ask("SELECT tableoid::regclass::text FROM audit_auditentry")
        return str(name)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE {} SET act = 'x'",
            "UPDATE {} SET actor_name = 'x'",
            "DELETE FROM {}",
            "TRUNCATE {}",
        ],
    )
    def test_nobody_changes_it(self, part: str, statement: str) -> None:
        for scope in (OWNER, EVERYBODY, TENANT):
            assert refused(statement.format(part), scope=scope)

    def test_the_roles_of_the_server_do_not_reach_it(self, part: str) -> None:
        for scope in (EVERYBODY, TENANT):
            assert refused(f"SELECT FROM {part}", scope=scope)
            assert refused(f"INSERT INTO {part} SELECT * FROM audit_auditentry", scope=scope)

    def test_nor_after_the_rights_were_given_anew(self, part: str) -> None:
        with acting_within(OWNER):
            row_security.build(connection)
        self.test_the_roles_of_the_server_do_not_reach_it(part)

    def test_what_is_written_into_it_is_told_to_the_sealer(self, part: str) -> None:
        columns = ", ".join(COLUMNS)
        another = "left(public_id, 30) || CASE WHEN right(public_id, 2) = 'zz' THEN 'zy' ELSE 'zz' END"
        ask(f"INSERT INTO {part} (id, public_id, {columns}) SELECT id + 1, {another}, {columns} FROM {part}")
        assert seal_all() == 2


class TestUnique:
    def test_an_id_is_not_given_twice(self, db: None) -> None:
        write(1)
        assert refused(double("public_id"), scope=EVERYBODY)

    @pytest.mark.parametrize("is_sealed", [False, True])
    def test_a_key_is_not_given_twice_in_another_month(self, db: None, is_sealed: bool) -> None:
        write(1)
        if is_sealed:
            seal_all()
        later = id_at("audit", middle(now().later(2)))
        assert refused(double("id", public_id=later), scope=EVERYBODY)
        assert not refused(double("account_id", public_id=later), scope=EVERYBODY)

    @pytest.mark.parametrize("account_id", [ACCOUNT, "account_of_another"])
    def test_who_passes_the_triggers_by_and_gives_one_twice_is_found(self, db: None, account_id: str) -> None:
        sealed(3)
        later = id_at("audit", middle(now().later(2)))
        tamper(double("id", public_id=later, account_id=account_id))
        verdict = verify(account_id)
        assert [finding.id for finding in verdict.findings if finding.kind is Kind.ADDED] == [later]


def double(same: str, **other: str) -> str:
    """Another entry with the same value there as the first one has, and these."""
    names = list(dict.fromkeys([*COLUMNS, "public_id", same]))
    values = [f"'{other[name]}'" if name in other else name for name in names]
    return f"INSERT INTO audit_auditentry ({', '.join(names)}) SELECT {', '.join(values)} FROM audit_auditentry ORDER BY id LIMIT 1"


class TestUpgrade:
    """The migration, there and back, with what is in the trail."""

    def test_nothing_changes_but_where_it_is(self, db: None) -> None:
        migration = import_module("audit.migrations.0009_months")
        sealed(3)
        written(middle(now().later(1)))  # a clock was ahead
        written(middle(now().later(9)))
        before = list(AuditEntry.objects.order_by("pk").values())
        indexes = ask("SELECT indexname FROM pg_indexes WHERE tablename = 'audit_auditentry' ORDER BY 1")
        with acting_within(OWNER), connection.schema_editor() as editor:
            migration.keep_in_one(None, editor)
        self.is_guarded()
        assert ask("SELECT relkind FROM pg_class WHERE relname = 'audit_auditentry'") == [("r",)]
        assert ask("SELECT indexname FROM pg_indexes WHERE tablename = 'audit_auditentry' ORDER BY 1") == indexes
        self.stands(before)
        with acting_within(OWNER), connection.schema_editor() as editor:
            migration.keep_by_months(None, editor)
        self.is_guarded()
        assert places() == [f"before_{now().later(1).name}"] * 4 + ["rest"] * 2
        assert ask("SELECT indexname FROM pg_indexes WHERE tablename = 'audit_auditentry' ORDER BY 1") == indexes
        self.stands(before)
        assert places()[4:] == [f"before_{now().later(1).name}", now().later(1).name, "rest"]

    def is_guarded(self) -> None:
        """There is no moment in which the processes that still run may do what they may not."""
        assert row_security.is_built(connection)
        assert refused("DELETE FROM audit_auditentry", scope=OWNER)
        assert not [finding for finding in inspect(connection) if finding.level is Level.MISSING]
        assert ask("SELECT count(*) FROM audit_auditentry", scope=Scope(Reach.NOBODY)) == [(0,)]

    def stands(self, before: list[dict[str, Any]]) -> None:
        """As `migrate` ends."""
        with acting_within(OWNER):
            put_up(connection)
            make_months()
            row_security.build(connection)
        assert list(AuditEntry.objects.order_by("pk").values()) == before
        self.is_guarded()
        write(1)
        newest = AuditEntry.objects.latest("pk")
        assert newest.pk > before[-1]["id"]
        before.append(AuditEntry.objects.filter(pk=newest.pk).values().get())
        seal_all()
        assert entry_at(len(before) - 1).pk == newest.pk
        assert verify(ACCOUNT).holds


@pytest.mark.django_db(transaction=True)
class TestLocks:
    @pytest.fixture
    def other(self) -> Iterator[psycopg.Connection[Any]]:
        """A session of the owner, beside."""
        with psycopg.connect(**connection.get_connection_params()) as other:
            yield other

    @pytest.fixture
    def late(self) -> Iterator[Month]:
        month = now().later(6)
        yield month
        empty_tables()
        ask(f"DROP TABLE IF EXISTS audit_auditentry_{month.name}")

    def test_a_month_waits_for_nobody_for_long_and_is_made_the_next_time(self, late: Month, other: Any) -> None:
        """An export reads for minutes, and who waits for a lock lets nobody pass."""
        with time_machine.travel(middle(late.later(-AHEAD))):
            missing = missing_months(connection)
            other.execute(f"SELECT FROM {REST}")
            began = time.monotonic()
            make_months()
            assert time.monotonic() - began < 10
            assert missing_months(connection) == missing
            write(1)
            other.rollback()
            make_months()
            assert not missing_months(connection)
        for month in missing[:-1]:
            ask(f"DROP TABLE audit_auditentry_{month.name}")

    @pytest.mark.parametrize("work", ["read", "keys", "write"])
    def test_who_works_while_a_month_is_made_sees_all_and_writes(self, late: Month, other: Any, work: str) -> None:
        """Who has planned without the new month must not then look into the rest, out of which all has gone."""
        written(middle(late), FEW + 1)
        keys = list(AuditEntry.objects.values_list("pk", flat=True))
        works: dict[str, Callable[[], int]] = {
            "read": lambda: AuditEntry.objects.filter(account_id=ACCOUNT).count(),
            "keys": lambda: len(rows_of(keys, "pk")),
            "write": lambda: AuditEntry.objects.create(**columns(middle(late))).pk and len(keys),
        }
        other.execute("SELECT mailbot_audit_add_month(%s)", [late.first_day])
        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(beside, works[work])
            until_somebody_waits(other.execute)
            other.commit()
            assert working.result(timeout=20) == len(keys)
        assert set(places()) == {late.name}

    def test_it_kills_nobody_who_changes_the_table(self, late: Month, other: Any) -> None:
        """Both take the table first, and what is in it then."""
        other.execute("LOCK TABLE ONLY audit_auditentry IN SHARE UPDATE EXCLUSIVE MODE")
        with ThreadPoolExecutor(1) as pool:
            making = pool.submit(
                beside, lambda: refused("SELECT mailbot_audit_add_month(%s)", late.first_day, scope=EVERYBODY)
            )
            until_somebody_waits(other.execute)
            other.execute("ANALYZE audit_auditentry")
            other.commit()
            assert making.result(timeout=20) is False


def columns(moment: datetime) -> dict[str, Any]:
    about = {"object_pk": "", "object_repr": "", "action": 3, "changes_text": "", "act": "message.received"}
    return {
        **about,
        "timestamp": moment,
        "public_id": id_at("audit", moment),
        "account_id": ACCOUNT,
        "actor_kind": "system",
    }


def beside(work: Callable[[], Any]) -> Any:
    """On a connection of its own."""
    try:
        with acting_within(EVERYBODY):
            return work()
    finally:
        connection.close()
