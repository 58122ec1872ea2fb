"""Entries of an inbox whose time is over: which they are, and taking them out of the trail (audit.removal).

What the trail says of itself, and what was held or erased on request, stays for good: it is what explains the rest.
"""

from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet

from audit.lookups import within
from audit.models import AuditEntry, AuditLeaf
from audit.removal import remove_entries
from mailbot.lib.scope import acting_for_everybody

STAY = ("trail.", "hold.", "erasure.")
_STAYS = reduce(or_, (Q(act__startswith=prefix) for prefix in STAY))


def old_entries(account_id: str, inbox_id: str, before: datetime) -> QuerySet[AuditEntry]:
    """Oldest first."""
    rows = AuditEntry.objects.filter(within(until=before), account_id=account_id, inbox_id=inbox_id)
    return rows.exclude(_STAYS).order_by("timestamp", "public_id")


def remove_old_entries(account_id: str, inbox_id: str, before: datetime, limit: int, about: dict[str, Any]) -> int:
    """At most so many of those that are sealed; how many. Whoever calls it has seen that no legal hold stands against it."""
    with acting_for_everybody("the tree is the sealer's"):
        keys = list(old_entries(account_id, inbox_id, before).values_list("pk", flat=True)[:limit])
        seqs = list(AuditLeaf.objects.filter(pk__in=keys, account_id=account_id).values_list("seq", flat=True))
    if seqs:
        said = {**about, "entries": len(seqs)}
        remove_entries(account_id, seqs, reason="retention", inbox_id=inbox_id, about=said)
    return len(seqs)
