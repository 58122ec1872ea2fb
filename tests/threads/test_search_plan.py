"""That PostgreSQL answers a search from its index, and reads nothing of other tenants for it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.cast import Caller
from tests.mailing import deliver, mail
from threads.models import SearchDocument
from threads.search import search
from threads.search_engines import Entry, Every, Wanted, tsquery
from threads.search_index import index_batch, scope_of
from threads.search_query import parse


def plan_of(query: str) -> dict[str, Any]:
    """What the function that asks the index does, with the query put in for its argument."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = 'threads_search_found'")
        statement = cursor.fetchone()[0].replace("(queries)", "(%s::text[]::tsquery[])")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", [[query]])
        found = cursor.fetchone()[0]
    plan: dict[str, Any] = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return plan


@pytest.mark.parametrize(
    ("entries", "rows"),
    [
        (Entry("invoice", False), 2),
        (Entry("inv", True), 2),
        (Every((Entry("invoice", False), Entry("mine", False))), 2),
        (Entry("theirs", False), 0),
    ],
)
def test_it_asks_the_index_and_visits_only_rows_of_the_inbox(
    alice: Caller, charlie: Caller, entries: Wanted, rows: int
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("This is about a plan of PostgreSQL.")
    inbox, stranger = alice.create_inbox(), charlie.create_inbox()
    for _ in range(2):
        deliver(mail(Subject="Invoice", body="mine\n"), inbox)
    for _ in range(30):
        deliver(mail(Subject="Invoice", body="theirs\n"), stranger)
    while index_batch():
        pass
    assert SearchDocument.objects.count() == 32
    plan = plan_of(tsquery(entries, scope_of(inbox.pk)))
    assert plan["Node Type"] == "Bitmap Heap Scan"
    assert plan["Actual Rows"] == rows
    assert plan["Plans"][0]["Index Name"] == "search_words"
    assert plan["Plans"][0]["Actual Rows"] == rows


def test_it_asks_the_index_once_for_all_documents(alice: Caller) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("This is about a plan of PostgreSQL.")
    inbox = alice.create_inbox()
    for _ in range(20):
        deliver(mail(Subject="Invoice"), inbox)
    while index_batch():
        pass
    with CaptureQueriesContext(connection) as captured:
        search([inbox.pk], parse("invoice"), 20)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {captured[0]['sql']}")
        found = cursor.fetchone()[0]
    asked = [node for node in nodes(found[0]["Plan"]) if node["Node Type"] == "ProjectSet"]
    assert [(node["Actual Loops"], node["Actual Rows"]) for node in asked] == [(1, 20)]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)
