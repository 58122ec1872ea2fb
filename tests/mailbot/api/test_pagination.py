"""Paging through lists: every item once, whatever is written meanwhile, and deep pages at the cost of the first."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import AuditEntry
from inboxes.models import Inbox
from mailbot.api.pagination import EXACT_TOTAL, encoded
from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail
from threads.models import Event, Message, Thread

DEPTH = 20_000
FIRST_NUMBER = 10_000_000


def make_inboxes(alice: Caller, count: int, prefix: str) -> list[str]:
    """Oldest first, without an HTTP request for each."""
    made = [
        Inbox(
            account=alice.account,
            mode="test",
            address=f"{prefix}-{n}@mailbot.localhost",
            local_part=f"{prefix}-{n}",
            domain="mailbot.localhost",
        )
        for n in range(count)
    ]
    return [inbox.pk for inbox in Inbox.objects.bulk_create(made)]


PLAN = st.lists(st.integers(min_value=0, max_value=3), max_size=6)
PER_EXAMPLE = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    # The list of each example is an account's own: `fresh` makes one.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def fresh(acme: Any) -> Callable[[], Caller]:
    """A caller whose account has nothing yet."""

    def make() -> Caller:
        acme.pk = None
        acme._state.adding = True
        acme.id = acme._meta.pk.get_default()
        acme.save(force_insert=True)
        return Caller(acme, "Alice")

    return make


def read_by_cursor(alice: Caller, limit: int, between: Callable[[], Any]) -> list[str]:
    seen: list[str] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        answer = alice.get("/v1/inboxes", **query).json()
        seen += [inbox["id"] for inbox in answer["data"]]
        if answer["meta"]["next_cursor"] is None:
            return seen
        query["cursor"] = answer["meta"]["next_cursor"]
        between()


def read_by_page(alice: Caller, limit: int, between: Callable[[], Any]) -> list[str]:
    seen: list[str] = []
    page = 1
    while data := alice.get("/v1/inboxes", limit=limit, page=page).json()["data"]:
        seen += [inbox["id"] for inbox in data]
        page += 1
        between()
    return seen


class Writer:
    """Makes so many new inboxes at each turn as the plan says."""

    def __init__(self, alice: Caller, plan: list[int]) -> None:
        self.alice, self.plan, self.turn = alice, plan, 0

    def __call__(self) -> None:
        if self.turn < len(self.plan):
            make_inboxes(self.alice, self.plan[self.turn], f"late-{self.alice.account.pk[-6:]}-{self.turn}")
        self.turn += 1


class TestEveryItemOnce:
    @PER_EXAMPLE
    @given(count=st.integers(0, 25), limit=st.integers(1, 10), plan=PLAN)
    def test_by_cursor_under_concurrent_inserts(
        self, fresh: Callable[[], Caller], count: int, limit: int, plan: list[int]
    ) -> None:
        alice = fresh()
        made = make_inboxes(alice, count, f"first-{alice.account.pk[-6:]}")
        assert read_by_cursor(alice, limit, Writer(alice, plan)) == made[::-1]

    @PER_EXAMPLE
    @given(count=st.integers(0, 25), limit=st.integers(1, 10))
    def test_by_page(self, fresh: Callable[[], Caller], count: int, limit: int) -> None:
        alice = fresh()
        made = make_inboxes(alice, count, f"first-{alice.account.pk[-6:]}")
        assert read_by_page(alice, limit, lambda: None) == made[::-1]

    @PER_EXAMPLE
    @given(count=st.integers(0, 25), limit=st.integers(1, 10), plan=PLAN)
    def test_by_page_none_is_missed_under_concurrent_inserts(
        self, fresh: Callable[[], Caller], count: int, limit: int, plan: list[int]
    ) -> None:
        """New ones come first and push the others back: a page may show one again, and that is all that pages can promise."""
        alice = fresh()
        made = make_inboxes(alice, count, f"first-{alice.account.pk[-6:]}")
        assert set(made) <= set(read_by_page(alice, limit, Writer(alice, plan)))

    @PER_EXAMPLE
    @given(groups=st.lists(st.integers(1, 4), max_size=8), limit=st.integers(1, 5))
    def test_threads_whose_last_activity_is_the_same_moment(
        self, fresh: Callable[[], Caller], groups: list[int], limit: int
    ) -> None:
        """Two columns order them: none is lost or doubled where the first is equal."""
        alice = fresh()
        inbox = Inbox.objects.get(pk=make_inboxes(alice, 1, f"threads-{alice.account.pk[-6:]}")[0])
        moments = [f"2026-11-24T10:{minute:02}:00Z" for minute, size in enumerate(groups) for _ in range(size)]
        made = Thread.objects.bulk_create(
            [Thread(account=alice.account, inbox=inbox, last_message_at=moment, message_count=1) for moment in moments]
        )
        seen: list[str] = []
        query: dict[str, Any] = {"limit": limit}
        while query:
            answer = alice.get(f"/v1/inboxes/{inbox.pk}/threads", **query).json()
            seen += [thread["id"] for thread in answer["data"]]
            cursor = answer["meta"]["next_cursor"]
            query = {"limit": limit, "cursor": cursor} if cursor else {}
        assert len(seen) == len(set(seen))
        assert set(seen) == {thread.pk for thread in made}


class TestTotal:
    def test_it_is_exact_as_far_as_it_says(self, alice: Caller) -> None:
        make_inboxes(alice, 3, "few")
        meta = alice.get("/v1/inboxes", limit=2).json()["meta"]
        assert (meta["page"], meta["limit"], meta["total"]) == (1, 2, 3)
        assert "total_is_exact" not in meta

    def test_it_says_when_there_are_more_than_it_counts(self, alice: Caller) -> None:
        copies(Inbox.objects.get(pk=make_inboxes(alice, 1, "many")[0]), EXACT_TOTAL, address="address")
        meta = alice.get("/v1/inboxes").json()["meta"]
        assert (meta["total"], meta["total_is_exact"]) == (EXACT_TOTAL, False)


# --- Depth ----------------------------------------------------------------------------------------------------------------


EARLIER = {
    "sqlite": "datetime({column}, '-' || n || ' seconds')",
    "postgresql": "{column} - n * interval '1 second'",
}


def copies(row: Model, count: int, **unlike: str) -> None:
    """So many rows like this one, by one statement. `unlike` names the columns that differ, and how: "id", "address", …"""
    columns = [field.column for field in row._meta.concrete_fields]
    number = f"CAST({FIRST_NUMBER} + n AS TEXT)"
    prefix = str(getattr(row, "public_id", row.pk)).rpartition("_")[0]
    values = {
        "id": f"'{prefix}_000000000000000000' || {number}",
        "address": f"'copy-' || {number} || '@mailbot.localhost'",
        "number": f"{FIRST_NUMBER} + n",
        "moment": EARLIER[connection.vendor].format(
            column=next((c for c, how in unlike.items() if how == "moment"), "")
        ),
    }
    pk = row._meta.pk.column or "id"
    unlike = {pk: "id", **unlike}
    chosen = [values[unlike[column]] if column in unlike else f'"{column}"' for column in columns]
    table = row._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
            f" INSERT INTO {table} ({', '.join(f'{chr(34)}{column}{chr(34)}' for column in columns)})"
            f' SELECT {", ".join(chosen)} FROM {table}, numbers WHERE "{pk}" = %s',
            [row.pk],
        )
        cursor.execute(f"ANALYZE {table}" if connection.vendor == "postgresql" else "ANALYZE")


@contextmanager
def counted_work() -> Iterator[list[int]]:
    """What the database does meanwhile, in units that do not depend on the machine: on SQLite instructions of its virtual machine, on
    PostgreSQL rows that the plans of the SELECTs read."""
    work = [0]
    if connection.vendor == "sqlite":

        def count() -> int:
            work[0] += 1
            return 0

        connection.ensure_connection()
        connection.connection.set_progress_handler(count, 10)
        yield work
        connection.connection.set_progress_handler(None, 0)
        return
    with CaptureQueriesContext(connection) as captured:
        yield work
    for query in list(captured.captured_queries):
        if query["sql"].startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + query["sql"].replace("%", "%%"), [])
                found = cursor.fetchone()[0]
            work[0] += rows_read((found if isinstance(found, list) else json.loads(found))[0]["Plan"])


def rows_read(plan: dict[str, Any]) -> int:
    here = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return int(here) + sum(rows_read(inner) for inner in plan.get("Plans", []))


def cursor_at(rows: Any, order: tuple[str, ...]) -> str:
    return encoded(rows.order_by(*order)[DEPTH - 100], order)


class TestDepth:
    """Both pages count up to 10,000 for the total; behind that, a deep page must read what the first one reads."""

    def assert_deep_is_as_cheap(self, alice: Caller, path: str, cursor: str) -> None:
        alice.get(path)  # what is only done once
        with counted_work() as first:
            answer = alice.get(path, limit=20)
        assert len(answer.json()["data"]) == 20
        with counted_work() as deep:
            answer = alice.get(path, limit=20, cursor=cursor)
        assert len(answer.json()["data"]) == 20
        assert deep[0] < first[0] * 1.1 + 500

    @pytest.fixture
    def inbox(self, alice: Caller) -> Inbox:
        inbox = alice.create_inbox()
        deliver(mail(Subject="Hello"), inbox)
        run_workers()
        return inbox

    def test_of_inboxes(self, alice: Caller, inbox: Inbox) -> None:
        copies(inbox, DEPTH, address="address")
        self.assert_deep_is_as_cheap(alice, "/v1/inboxes", cursor_at(Inbox.objects.all(), ("-id",)))

    def test_of_messages(self, alice: Caller, inbox: Inbox) -> None:
        copies(Message.objects.get(inbox=inbox), DEPTH, sequence="number")
        cursor = cursor_at(Message.objects.all(), ("-sequence",))
        self.assert_deep_is_as_cheap(alice, f"/v1/inboxes/{inbox.pk}/messages", cursor)

    def test_of_threads(self, alice: Caller, inbox: Inbox) -> None:
        copies(Thread.objects.get(inbox=inbox), DEPTH, last_message_at="moment")
        cursor = cursor_at(Thread.objects.all(), ("-last_message_at", "-id"))
        self.assert_deep_is_as_cheap(alice, f"/v1/inboxes/{inbox.pk}/threads", cursor)

    def test_of_events(self, alice: Caller, inbox: Inbox) -> None:
        copies(Event.objects.filter(inbox=inbox)[0], DEPTH)
        cursor = cursor_at(Event.objects.all(), ("-id",))
        self.assert_deep_is_as_cheap(alice, "/v1/events", cursor)

    def test_of_the_audit_log(self, alice: Caller, inbox: Inbox) -> None:
        entry = AuditEntry.objects.filter(account_id=alice.account.pk)[0]
        copies(entry, DEPTH, id="number", public_id="id", timestamp="moment")
        cursor = cursor_at(AuditEntry.objects.all(), ("-timestamp", "-public_id"))
        self.assert_deep_is_as_cheap(alice, "/v1/audit-log", cursor)


def test_a_cursor_tells_nothing_but_a_place(alice: Caller) -> None:
    made = make_inboxes(alice, 2, "place")
    cursor = alice.get("/v1/inboxes", limit=1).json()["meta"]["next_cursor"]
    assert json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))) == [made[1]]
