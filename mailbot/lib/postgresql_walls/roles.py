"""What a scope is in a session of PostgreSQL."""

from mailbot.lib.scope import Reach, Scope

TENANT, SYSTEM = "mailbot_tenant", "mailbot_system"
ROLES = {Reach.NOBODY: TENANT, Reach.TENANT: TENANT, Reach.EVERYBODY: SYSTEM, Reach.OWNER: "none"}
ALL = "*"


def session_of(scope: Scope) -> tuple[str, str, str]:
    """Role, accounts and inboxes; the role `none` is that of the login itself."""
    inboxes = ALL if scope.inbox_ids is None else ",".join(scope.inbox_ids)
    return ROLES[scope.reach], ",".join(scope.account_ids), inboxes
