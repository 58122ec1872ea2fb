"""Who may do what in the console: roles as data, and the rows that they open.

A superuser may do everything everywhere. Whoever else is staff has a role in each account in which he is a member, and nothing elsewhere.
The console asks here and nowhere else.
"""

from enum import StrEnum
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from inboxes.models import Membership
from mailbot.lib.scope import acting_for_everybody, narrow_to, widen_to_everybody

Rows = QuerySet[Any]
Role = Membership.Role


class Can(StrEnum):
    """What a role opens in an account."""

    SEE = "see"  # that there is an inbox, a thread, a mail, who wrote to whom and when, what became of it; the trail
    READ = "read"  # what a mail says: bodies, headers, attachments, raw mail
    OPERATE = "operate"  # make, pause and delete inboxes; settle mail that is stuck
    SEE_KEYS = "see_keys"
    MANAGE = "manage"  # keys, members, legal holds and retention


ROLES: dict[str, frozenset[Can]] = {
    Role.OWNER: frozenset(Can),
    Role.OPERATOR: frozenset({Can.SEE, Can.READ, Can.OPERATE, Can.SEE_KEYS}),
    Role.REVIEWER: frozenset({Can.SEE}),
}


def roles_of(request: HttpRequest) -> dict[str, str]:
    """The user's role by account id, read once a request."""
    if not hasattr(request, "console_roles"):
        with acting_for_everybody("in which accounts is this user"):
            mine = Membership.objects.filter(user=request.user.pk).values_list("account_id", "role")
            request.console_roles = dict(mine)  # type: ignore[attr-defined]
    roles: dict[str, str] = request.console_roles  # type: ignore[attr-defined]
    return roles


def enter_scope(request: HttpRequest) -> None:
    """From here on the request acts for the accounts of its user; for everybody when that is a superuser."""
    if is_superuser(request):
        widen_to_everybody()
    elif request.user.is_authenticated:
        narrow_to(roles_of(request))


def is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def is_member(request: HttpRequest) -> bool:
    """Whether there is anything to see for the user."""
    return is_superuser(request) or bool(roles_of(request))


def may(request: HttpRequest, what: Can) -> bool:
    """Whether there is any account in which the user may do this."""
    return is_superuser(request) or bool(accounts_where(request, what))


def may_in(request: HttpRequest, what: Can, account_id: str) -> bool:
    return is_superuser(request) or account_id in accounts_where(request, what)


def accounts_where(request: HttpRequest, what: Can) -> list[str]:
    """The ids of the accounts in which the user has a role that opens this. A role that is not known opens nothing."""
    return [account_id for account_id, role in roles_of(request).items() if what in ROLES.get(role, frozenset())]


def visible(request: HttpRequest, rows: Rows, path: str | None = "account_id", what: Can = Can.SEE) -> Rows:
    """The rows of the accounts in which the user may do this. `path` leads to the account's id; None: rows of no account, for
    superusers only."""
    if is_superuser(request):
        return rows
    return rows.filter(**{f"{path}__in": accounts_where(request, what)}) if path else rows.none()
