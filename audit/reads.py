"""Reads in the trail: an entry for each answer that shows mail, or the trail itself, written before the answer goes out.

An entry is a statement of its own, committed as durably as any other: what was answered is in the trail, whatever dies afterwards. Where
none can be written nothing is answered. Whether the answer arrived nobody knows. What is recorded and what is not: docs/audit/recorded.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from audit.actors import ActContext, current
from audit.models import AuditEntry, of_now
from audit.record import Act
from mailbot.lib.bulk import bulk_insert, new_row

MOST_NAMED = 200  # objects in an entry; no answer shows more


class OfAnInbox(Protocol):
    """What rows that are read have in common."""

    pk: Any
    account_id: str
    inbox_id: str


@dataclass(frozen=True, slots=True)
class Read:
    """What one answer shows, before it is written down. `object_id` is empty where it is a list, which `told` names."""

    act: Act
    object_type: str
    object_id: str
    account_id: str
    inbox_id: str = ""
    told: dict[str, Any] = field(default_factory=dict)
    reader: ActContext | None = None  # where that is another than who acts now


def record_read(
    act: Act, object_type: str, object_id: str, *, account_id: str, inbox_id: str = "", **told: Any
) -> None:
    """Write down that one object is shown to whoever acts now. `told` holds no words of a mail."""
    write_reads([Read(act, object_type, object_id, account_id, inbox_id, told)])


def record_listed(
    act: Act, object_type: str, ids: Sequence[str], *, account_id: str, inbox_id: str = "", **told: Any
) -> None:
    """The same for a list of objects of one inbox, which may be empty."""
    write_reads([Read(act, object_type, "", account_id, inbox_id, {**told, **named(object_type, ids)})])


def record_found(act: Act, object_type: str, rows: Iterable[OfAnInbox], *, account_id: str = "", **told: Any) -> None:
    """The same for rows of whatever inboxes: an entry for each inbox, so that the trail of each tells of its own rows and of no others.
    Where there is no row, one in the trail of `account_id`, whose rows they are where it is given."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        found[account_id or row.account_id, row.inbox_id or ""].append(str(row.pk))
    if not found and account_id:
        found[account_id, ""] = []
    write_reads(
        [
            Read(act, object_type, "", account, inbox, {**told, **named(object_type, ids)})
            for (account, inbox), ids in found.items()
        ]
    )


def record_trail_read(entries: Sequence[AuditEntry], *, account_id: str, inbox_id: str = "", **told: Any) -> None:
    """The same for a page of the trail itself: the newest and the oldest that it shows, and how many."""
    ends = {"newest": entries[0].public_id, "oldest": entries[-1].public_id} if entries else {}
    told |= {**ends, "count": len(entries)}
    write_reads([Read(Act.AUDIT_READ, "entry", "", account_id, inbox_id, told)])


def named(object_type: str, ids: Sequence[str]) -> dict[str, Any]:
    return {f"{object_type}s": list(ids[:MOST_NAMED]), "count": len(ids)}


def write_reads(reads: Sequence[Read]) -> None:
    """All of them or none, committed when this returns unless a transaction is open."""
    if not reads:
        return
    here = current()
    bulk_insert([_row(read, read.reader or here) for read in reads])


def _row(read: Read, reader: ActContext) -> AuditEntry:
    return new_row(
        AuditEntry,
        **of_now(),
        act=read.act,
        action=AuditEntry.Action.ACCESS,
        object_pk=read.object_id,
        object_repr="",
        object_type=read.object_type,
        account_id=read.account_id,
        inbox_id=read.inbox_id,
        mode=reader.actor.mode,
        changes=read.told,
        actor_kind=reader.actor.kind,
        actor_id=reader.actor.id,
        actor_name=reader.actor.name,
        cid=reader.request_id,
        remote_addr=reader.remote_addr,
    )
