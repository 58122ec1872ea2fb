"""Reading what mail says, by a reviewer: of one inbox, for a reason, for a while. One at a time.

A row and no note in the session: an owner sees it and can end it, and it ends with the membership, the role, a sign-out, or its time.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit.actors import current
from audit.record import Act, record
from inboxes.models import ContentReview, Inbox, Membership

ANOTHER, SIGNED_OUT, NO_REVIEWER, ENDED = "another began", "signed out", "no reviewer any more", "ended by hand"


def open_reviews() -> QuerySet[ContentReview]:
    now = timezone.now()
    return ContentReview.objects.filter(ended_at=None, until__gt=now, started_at__lte=now)


@transaction.atomic
def start_review(inbox: Inbox, membership: Membership, reason: str) -> ContentReview:
    """From now on whoever has this membership may read the mail of this inbox. What he had open elsewhere ends."""
    membership = Membership.objects.select_for_update().select_related("user").get(pk=membership.pk)
    end_reviews_of(str(membership.user_id), ANOTHER)
    review = ContentReview(
        account_id=inbox.account_id,
        inbox_id=inbox.pk,
        reviewer_id=str(membership.user_id),
        reviewer=membership.user.get_username(),
        membership_id=membership.pk,
        reason=reason,
        until=timezone.now() + timedelta(minutes=settings.REVIEW_MINUTES),
    )
    changes = {"reason": reason, "until": review.until.isoformat(), "address": inbox.address}
    entry = record(Act.REVIEW_STARTED, review, account_id=inbox.account_id, inbox_id=inbox.pk, changes=changes)
    review.entry_id = str(entry.public_id)
    review.save(force_insert=True)
    return review


@transaction.atomic
def end_review(review: ContentReview, reason: str = ENDED) -> bool:
    """False when it was over before."""
    actor = current().actor
    columns = {"ended_at": timezone.now(), "ended_by": actor.name or actor.id, "end_reason": reason}
    if not open_reviews().filter(pk=review.pk).update(**columns):
        return False
    changes = {"reviewer": review.reviewer, "review": review.entry_id, "reason": reason}
    record(Act.REVIEW_ENDED, review, account_id=review.account_id, inbox_id=review.inbox_id, changes=changes)
    return True


def end_reviews_of(reviewer_id: str, reason: str) -> int:
    return sum(end_review(review, reason) for review in open_reviews().filter(reviewer_id=reviewer_id))


def end_reviews_under(membership: Membership) -> int:
    """It is gone, or another role than that of a reviewer."""
    return sum(end_review(review, NO_REVIEWER) for review in open_reviews().filter(membership_id=membership.pk))
