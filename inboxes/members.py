"""People of an account: added, given another role, removed. An account that has an owner keeps one."""

import secrets

from auditlog.context import disable_auditlog
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import transaction

from audit.record import Act, record
from inboxes.models import Account, Membership


class NameTaken(Exception):
    """Somebody signs in by this name already, here or in another account."""


class LastOwner(Exception):
    """Without this one, nobody could manage the account's keys and members."""

    def __init__(self) -> None:
        super().__init__("An account keeps at least one owner: make somebody else an owner first.")


@transaction.atomic
def add_new_member(account: Account, username: str, role: str) -> tuple[Membership, str]:
    """A new console user with a place in the account, and a password, which is returned here once. Raises NameTaken."""
    users = get_user_model()
    username = users.normalize_username(username)  # as signing in does: two that look the same are one
    if users._default_manager.filter(username__iexact=username).exists():
        raise NameTaken
    password = secrets.token_urlsafe(15)
    user = users(username=username, is_staff=True)
    user.set_password(password)
    user.save()
    return Membership.objects.create(account=account, user=user, role=role), password


def add_member(account: Account, user: User, role: str) -> Membership:
    """A place in the account for somebody who signs in already; one who has a place there keeps it as it is."""
    return Membership.objects.get_or_create(account=account, user=user, defaults={"role": role})[0]


@transaction.atomic
def change_role(membership: Membership, role: str, reason: str = "") -> None:
    """Effective on the user's next request. Raises LastOwner."""
    mine = _keeping_an_owner(membership, role)
    _record(Act.MEMBER_ROLE_CHANGED, mine, [mine.role, role], reason)
    mine.role = role
    with disable_auditlog():  # the entry above says it, with the reason
        mine.save(update_fields=["role"])


@transaction.atomic
def remove_member(membership: Membership, reason: str = "") -> None:
    """Effective on the user's next request. The user stays, so that the trail can name him. Raises LastOwner."""
    mine = _keeping_an_owner(membership, "")
    _record(Act.MEMBER_REMOVED, mine, [mine.role, None], reason)
    with disable_auditlog():
        mine.delete()


def _record(act: Act, membership: Membership, role: list[str | None], reason: str) -> None:
    changes = {"username": membership.user.get_username(), "role": role, "reason": reason}
    record(act, membership, account_id=membership.account_id, changes=changes)


def _keeping_an_owner(membership: Membership, becomes: str) -> Membership:
    """The row as it is now, with all owners of its account locked: two owners cannot remove each other at the same moment."""
    owners = Membership.objects.select_for_update().filter(account_id=membership.account_id, role=Membership.Role.OWNER)
    others = [owner for owner in owners.order_by("pk") if owner.pk != membership.pk]
    mine = Membership.objects.get(pk=membership.pk)
    if mine.role == Membership.Role.OWNER and becomes != Membership.Role.OWNER and not others:
        raise LastOwner
    return mine
