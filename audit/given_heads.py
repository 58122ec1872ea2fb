"""Heads that somebody may have kept, which an export shows to be of the same trail.

Whoever may read the trail can ask for any head, so not all that were given out are known. These are: what anchors were told last, what
earlier exports are as of, what the apps above have given out (certificates of erasures), and the last one of each day.
"""

from datetime import UTC

from django.db.models import Max, Q
from django.db.models.functions import TruncDate

from audit import export_sources
from audit.export_models import Export
from audit.models import AuditHead, AuditTree

DAYS = 400
MOST = 1000


def given_heads(account_id: str, before: int) -> list[AuditHead]:
    """Of an account, smaller than `before`, the smallest first; where there are too many, the newest of them."""
    heads = AuditHead.objects.filter(account_id=account_id, size__lt=before)
    sizes = AuditTree.objects.filter(pk=account_id).values_list("in_file", "in_webhook", "in_mail").first() or ()
    exports = Export.objects.filter(account_id=account_id).exclude(head_id=None).order_by("-pk").values("head_id")
    wanted = Q(pk__in=_of_days(account_id)) | Q(pk__in=list(exports.values_list("head_id", flat=True)[:MOST]))
    wanted |= Q(size__in={*sizes, *export_sources.head_sizes_of(account_id)})
    return list(heads.filter(wanted).order_by("-size", "-pk")[:MOST])[::-1]


def _of_days(account_id: str) -> list[int]:
    days = AuditHead.objects.filter(account_id=account_id).annotate(day=TruncDate("time", tzinfo=UTC)).values("day")
    return list(days.annotate(last=Max("pk")).order_by("-day").values_list("last", flat=True)[:DAYS])
