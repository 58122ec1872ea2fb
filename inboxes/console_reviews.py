"""Who may read what a mail says in the console: by his role, or as a reviewer who said why, in one inbox and for a while (inboxes.reviews).

The console asks here wherever a page or a download has words of a mail.
"""

from typing import Any, NamedTuple

from django import forms
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from inboxes.console_roles import Can, Rows, accounts_where, is_superuser, may_in, visible
from inboxes.models import ContentReview, Inbox, Membership
from inboxes.reviews import open_reviews
from mailbot.lib.scope import acting_for_everybody
from mailbot.lib.stray_keys import refuse_key


class ReviewForm(forms.Form):
    reason = forms.CharField(
        min_length=5,
        max_length=500,
        widget=forms.TextInput(attrs={"size": 70, "autofocus": True}),
        validators=[refuse_key],
        help_text="Which question you answer, or which case it is for. Kept in the audit trail, with each mail that you read.",
    )


def open_review(request: HttpRequest) -> ContentReview | None:
    """The review that the user has open, read once a request. He has one at most, and only as a reviewer under the same membership."""
    if not hasattr(request, "content_review"):
        request.content_review = _open_review(request)  # type: ignore[attr-defined]
    review: ContentReview | None = request.content_review  # type: ignore[attr-defined]
    return review if review and review.is_open(timezone.now()) else None


def _open_review(request: HttpRequest) -> ContentReview | None:
    if is_superuser(request) or not (accounts := accounts_where(request, Can.REVIEW)):
        return None
    mine = open_reviews().filter(reviewer_id=str(request.user.pk), account_id__in=accounts)
    review = mine.order_by("-pk").first()
    return review if review and _membership(review.account_id, request, pk=review.membership_id) else None


class Banner(NamedTuple):
    """What stands on every page while a review is open."""

    review: ContentReview
    address: str
    url: str


def banner_of(request: HttpRequest) -> Banner | None:
    if not request.user.is_authenticated or (review := open_review(request)) is None:
        return None
    address = Inbox.objects.filter(pk=review.inbox_id).values_list("address", flat=True).first()
    return Banner(review, address or review.inbox_id, reverse("admin:inboxes_compliance_inbox", args=[review.inbox_id]))


def membership_of(request: HttpRequest, inbox: Inbox) -> Membership | None:
    """Under which he may begin one here; None: he may not, or reads without."""
    return _membership(inbox.account_id, request) if may_in(request, Can.REVIEW, inbox.account_id) else None


def _membership(account_id: str, request: HttpRequest, **also: Any) -> Membership | None:
    with acting_for_everybody("under which membership does he act"):
        rows = Membership.objects.filter(account_id=account_id, user=request.user.pk, role=Membership.Role.REVIEWER)
        return rows.filter(**also).first()


def review_in(request: HttpRequest, inbox_id: str) -> ContentReview | None:
    review = open_review(request)
    return review if review and review.inbox_id == inbox_id else None


def may_read(request: HttpRequest, account_id: str, inbox_id: str) -> bool:
    """What a mail of this inbox says."""
    return may_in(request, Can.READ, account_id) or review_in(request, inbox_id) is not None


def readable(request: HttpRequest, rows: Rows) -> Rows:
    """Among rows that have `account_id` and `inbox_id`."""
    if (review := open_review(request)) is None:
        return visible(request, rows, what=Can.READ)
    return visible(request, rows, what=Can.READ) | visible(request, rows.filter(inbox_id=review.inbox_id))


def told_of_read(request: HttpRequest, account_id: str, inbox_id: str) -> dict[str, str]:
    """What the entry about a page of mail says beyond the mail: that it was without words, or why a reviewer read them."""
    if may_in(request, Can.READ, account_id):
        return {}
    review = review_in(request, inbox_id)
    return {"review": review.entry_id, "reason": review.reason} if review else {"without": "words"}
