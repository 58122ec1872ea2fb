"""A verification within a time, whose result is kept: what the console shows as a seal, and goes on with where time was over."""

from datetime import timedelta
from time import monotonic
from typing import Any

from django.db import transaction
from django.utils import timezone

from audit.actors import current
from audit.findings import Verdict, as_json
from audit.models import AuditTree, Verification
from audit.record import Act, record
from audit.tree import BLOCK
from audit.verifying import verify

AT_ONCE = 32 * BLOCK  # leaves between two looks at the clock
EVERY = timedelta(days=1)


def last_verification(account_id: str) -> Verification | None:
    return Verification.objects.filter(pk=account_id).first()


def verify_within(account_id: str, seconds: float) -> Verification:
    """Look at as many entries as there is time for, from where the last one stopped where it was not at the end. Kept, and told in the
    trail. A trail that is broken is looked at from its beginning each time."""
    ends_at, before = monotonic() + seconds, last_verification(account_id)
    goes_on = before is not None and _is_unfinished(before)
    at, removed, replaced = (before.verified, before.removed, before.replaced) if before and goes_on else (0, 0, 0)
    while True:
        verdict = verify(account_id, at, at + AT_ONCE)
        at, removed, replaced = verdict.stop, removed + verdict.removed, replaced + verdict.replaced
        if verdict.findings or verdict.stop >= verdict.size or monotonic() > ends_at:
            return _keep(account_id, verdict, removed, replaced)


def verify_trails(seconds: float) -> int:
    """The trails whose last verification is a day ago or not at its end, those never looked at first; how many there was time for."""
    ends_at, number = monotonic() + seconds, 0
    for account_id in _due():
        if (left := ends_at - monotonic()) <= 0:
            break
        verify_within(account_id, left)
        number += 1
    return number


def _due() -> list[str]:
    """Those of accounts; the server's own is for whoever has a shell."""
    known = {row.pk: row for row in Verification.objects.all()}
    before = timezone.now() - EVERY
    trees = AuditTree.objects.filter(size__gt=0).exclude(pk="").values_list("pk", flat=True)
    due = [pk for pk in trees if pk not in known or known[pk].at <= before or _is_unfinished(known[pk])]
    return sorted(due, key=lambda pk: known[pk].at.timestamp() if pk in known else 0)


def _is_unfinished(found: Verification) -> bool:
    return found.holds and not found.is_whole


@transaction.atomic
def _keep(account_id: str, verdict: Verdict, removed: int, replaced: int) -> Verification:
    actor, head = current().actor, verdict.head
    columns: dict[str, Any] = {
        "at": timezone.now(),
        "by": actor.name or actor.id,
        "verified": verdict.stop,
        "size": verdict.size,
        "head_time": head.time if head else None,
        "head_key": head.key_id if head else "",
        "head_root": bytes(head.root).hex() if head else "",
        "removed": removed,
        "replaced": replaced,
        "findings": as_json(verdict)["findings"],
    }
    found, _ = Verification.objects.update_or_create(pk=account_id, defaults=columns)
    told = {"verified": verdict.stop, "size": verdict.size, "root": columns["head_root"], "holds": verdict.holds}
    first = {"first_finding": columns["findings"][0]} if verdict.findings else {}
    record(Act.TRAIL_VERIFIED, None, account_id=account_id, changes={**told, **first})
    return found
