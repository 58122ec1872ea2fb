"""Taking work off a queue that is a table: the row is claimed by a conditional UPDATE, and held by a lease.

No lock and no transaction is held while the work is done, and it works the same on SQLite and PostgreSQL. The token fences off a
worker that was stopped past its lease: what it writes afterwards is written `WHERE lease_token = <its own>` and meets no row.
Source: Gray and Cheriton, "Leases" (1989).
"""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from mailbot.lib.clock import database_now

Row = TypeVar("Row", bound=Model)


def claim(due: QuerySet[Row], row_id: str, *, state: str, lease: timedelta) -> Row | None:
    """Take the due row `row_id` for `lease`, or None if somebody else has it or it is not due."""
    taken = claim_many(due, [row_id], state=state, lease=lease)
    return taken[0] if taken else None


def claim_many(
    due: QuerySet[Row],
    row_ids: Sequence[str],
    *,
    state: str,
    lease: timedelta,
    now: datetime | None = None,
    token: str = "",
    **columns: Any,
) -> list[Row]:
    """Take those of `row_ids` that are still due, oldest first, all under one `token`; `columns` are set with it.

    Whether they are due is decided by the UPDATE itself: of two workers that chose the same row the first one gets it.
    """
    if not row_ids:
        return []
    token = token or new_token()
    held = {"state": state, "lease_token": token, "lease_until": (now or database_now()) + lease}
    due.filter(pk__in=row_ids).update(**held, **columns)
    return list(due.model._default_manager.filter(pk__in=row_ids, lease_token=token).order_by("pk"))


def new_token() -> str:
    return secrets.token_hex(16)
