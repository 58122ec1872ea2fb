"""Taking work off a queue that is a table: the row is claimed by a conditional UPDATE, and held by a lease.

No lock and no transaction is held while the work is done, and it works the same on SQLite and PostgreSQL. The token fences off a
worker that was stopped past its lease: what it writes afterwards is written `WHERE lease_token = <its own>` and meets no row.
Source: Gray and Cheriton, "Leases" (1989).
"""

import secrets
from datetime import timedelta
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from mailbot.lib.clock import database_now

Row = TypeVar("Row", bound=Model)


def claim(due: QuerySet[Row], row_id: str, *, state: str, lease: timedelta) -> Row | None:
    """Take the due row `row_id` for `lease`, or None if somebody else has it or it is not due.

    Whether it is due is decided by the UPDATE itself: of two workers that chose the same row the first one gets it.
    """
    token = new_token()
    taken = due.filter(pk=row_id).update(state=state, lease_token=token, lease_until=database_now() + lease)
    return due.model._default_manager.filter(pk=row_id, lease_token=token).first() if taken else None


def release(row: Model, **columns: Any) -> bool:
    """Write `columns` to a row that was claimed, and let it go. False: somebody else has it by now, and nothing is written."""
    assert row.lease_token  # type: ignore[attr-defined]  # of what can be claimed; who has none would meet all that nobody holds
    ours = type(row)._default_manager.filter(pk=row.pk, lease_token=row.lease_token)  # type: ignore[attr-defined]
    return bool(ours.update(lease_token="", lease_until=None, **columns))


def new_token() -> str:
    return secrets.token_hex(16)
