"""What the trail hears from Django: who signed in to the console, who could not, and that tables were made or altered."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.db import connections
from django.dispatch import receiver

from audit import append_only, months
from audit.actors import Actor, ActorKind, acting_in, current
from audit.record import Act, record
from mailbot.lib.scope import acting_for_everybody


@receiver(user_logged_in, dispatch_uid="audit.record_sign_in")
def record_sign_in(sender: object, *, user: AbstractUser, **_: Any) -> None:
    actor = Actor(ActorKind.USER, str(user.pk), user.get_username())  # the middleware has seen nobody yet
    with acting_in(replace(current(), actor=actor)), acting_for_everybody("a sign-in belongs to no account"):
        record(Act.CONSOLE_SIGNED_IN, user, account_id="")


@receiver(user_login_failed, dispatch_uid="audit.record_failed_sign_in")
def record_failed_sign_in(sender: object, *, credentials: Mapping[str, Any], **_: Any) -> None:
    """The name is kept when there is such a user: what else is typed there is often a password."""
    users = get_user_model()._default_manager
    tried = str(credentials.get("username", ""))[:150].replace("\0", "")
    known = users.filter(**{get_user_model().USERNAME_FIELD: tried}).exists()
    changes = {"username": tried if known else "no such user"}
    with acting_for_everybody("a sign-in belongs to no account"):
        record(Act.CONSOLE_SIGN_IN_FAILED, None, account_id="", changes=changes)


def put_up_append_only(sender: object, *, using: str, **_: Any) -> None:
    """After `migrate` and `flush`."""
    append_only.put_up(connections[using])
    months.make_months(connections[using])
