"""Entries to seal, and ways to tamper with what is sealed that pass by all that the product itself allows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from audit.anchors import outside_head
from audit.findings import Finding, OutsideHead
from audit.models import AuditEntry, AuditLeaf
from audit.record import Act, Entry, record_many
from audit.sealing import seal_all
from audit.verifying import verify
from mailbot.lib.scope import OWNER, acting_within

ACCOUNT = "account_of_the_trail"
TABLES = (
    "audit_auditentry",
    "audit_auditleaf",
    "audit_auditnode",
    "audit_audithead",
    "audit_auditkey",
    "audit_audittree",
)


def write(number: int, account_id: str = ACCOUNT) -> None:
    """So many entries, which wait for the sealer."""
    changes = [{"to": [f"carol{n}@shop.example"], "subject": f"Invoice {n}", "size": n * 1.5} for n in range(number)]
    record_many(
        [
            Entry(Act.MESSAGE_RECEIVED, None, account_id, "", one, "192.0.2.7", f"req_{n}")
            for n, one in enumerate(changes)
        ]
    )


def sealed(number: int, account_id: str = ACCOUNT) -> None:
    write(number, account_id)
    seal_all()


def first_finding(account_id: str = ACCOUNT, **options: Any) -> Finding:
    verdict = verify(account_id, **options)
    assert verdict.findings, "it holds"
    return verdict.findings[0]


def outside_of(head: dict[str, Any]) -> OutsideHead:
    return outside_head(head, "a reviewer")


def entry_at(seq: int, account_id: str = ACCOUNT) -> AuditEntry:
    return AuditEntry.objects.get(pk=AuditLeaf.objects.get(account_id=account_id, seq=seq).pk)


@contextmanager
def unguarded() -> Iterator[Any]:
    """A cursor of the owner's, for whom there are no triggers."""
    with acting_within(OWNER), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET session_replication_role = replica")
            yield cursor
            cursor.execute("SET session_replication_role = origin")
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'mailbot_%%'")
            triggers = cursor.fetchall()
            for name, _ in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
            yield cursor
            for _, sql in triggers:
                cursor.execute(sql)


def tamper(statement: str, *parameters: Any) -> None:
    with unguarded() as cursor:
        cursor.execute(statement, parameters)
        assert cursor.rowcount, "nothing was tampered with"
