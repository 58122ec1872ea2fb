"""Which months are asked for entries of a time, of an id, or of keys"""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.db.models import QuerySet

from audit.lookups import FEW, rows_of, within
from audit.models import AuditEntry
from audit.sealing import seal_all
from audit.verifying import verify
from mailbot.lib.ids import id_at
from tests.audit.calendar import middle, now, start, written
from tests.audit.trail import ACCOUNT

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps the trail in one table"),
    pytest.mark.usefixtures("month_of_the_database"),
]


def parts_asked(rows: "QuerySet[AuditEntry]") -> set[str]:
    """The partitions in the plan."""
    (plan,) = json.loads(rows.explain(format="json"))
    return {name.removeprefix("audit_auditentry_") for name in relations(plan["Plan"])}


def relations(plan: dict[str, Any]) -> Iterator[str]:
    if "Relation Name" in plan:
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from relations(part)


class TestLookups:
    def test_who_asks_for_a_time_is_answered_out_of_its_months(self, db: None) -> None:
        rows = AuditEntry.objects.filter(account_id=ACCOUNT)
        first, second = now().later(1), now().later(2)
        # An id of before 0.9 may be of a clock that was set since, so that a month on each side is looked into.
        assert parts_asked(rows.filter(within(middle(second), middle(second) + timedelta(days=7)))) == {
            first.name,
            second.name,
            now().later(3).name,
        }
        asked = parts_asked(rows.filter(within(until=start(first))))
        assert asked == {f"before_{first.name}", first.name}
        assert parts_asked(rows) > asked

    def test_an_entry_is_looked_for_in_the_month_of_its_id(self, db: None) -> None:
        rows = AuditEntry.objects.filter(public_id=id_at("audit", middle(now().later(1))))
        assert parts_asked(rows) == {now().later(1).name}

    def test_the_log_of_a_month_has_what_was_done_in_it(self, alice: Any) -> None:
        with time_machine.travel(middle(now().later(1))):
            inbox = alice.create_inbox()
        month = {"from": start(now().later(1)).isoformat(), "to": start(now().later(2)).isoformat()}
        found = alice.get("/v1/audit-log", inbox_id=inbox.pk, **month).json()["data"]
        assert [entry["action"] for entry in found] == ["inbox.created"]
        assert not alice.get("/v1/audit-log", inbox_id=inbox.pk, to=start(now()).isoformat()).json()["data"]

    def test_keys_are_found_wherever_their_entries_are(self, db: None) -> None:
        """In an order of keys that is not that of the months, too: a long transaction took its key before."""
        for n in (1, 0, 2, 1):
            written(middle(now().later(n)), FEW // 2)
        keys = list(AuditEntry.objects.values_list("pk", flat=True))
        assert {row[0] for row in rows_of(keys, "pk")} == set(keys)
        assert len(rows_of([*keys, max(keys) + 1], "pk")) == len(keys)
        assert rows_of([max(keys) + n for n in range(1, FEW + 2)], "pk") == []
        assert seal_all() == len(keys)
        assert verify(ACCOUNT).holds
