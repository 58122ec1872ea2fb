"""What ends a review of content beside its time: a sign-out, and whatever becomes of the membership, by whichever way."""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from inboxes.models import Membership
from inboxes.reviews import SIGNED_OUT, end_reviews_of, end_reviews_under
from mailbot.lib.scope import acting_for_everybody


@receiver(user_logged_out, dispatch_uid="inboxes.end_reviews_with_session")
def end_reviews_with_session(sender: object, *, user: AbstractUser | None, **_: Any) -> None:
    if user is not None:
        with acting_for_everybody("in which accounts he reads"):
            end_reviews_of(str(user.pk), SIGNED_OUT)


@receiver(post_save, sender=Membership, dispatch_uid="inboxes.end_reviews_with_role")
def end_reviews_with_role(sender: object, *, instance: Membership, created: bool, **_: Any) -> None:
    if not created and instance.role != Membership.Role.REVIEWER:
        with acting_for_everybody("whatever its account is"):
            end_reviews_under(instance)


@receiver(post_delete, sender=Membership, dispatch_uid="inboxes.end_reviews_with_membership")
def end_reviews_with_membership(sender: object, *, instance: Membership, **_: Any) -> None:
    with acting_for_everybody("whatever its account is"):
        end_reviews_under(instance)
