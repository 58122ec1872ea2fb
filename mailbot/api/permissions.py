"""Whether the key that calls may do what the view needs."""

from typing import Any, Protocol

from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated, PermissionDenied
from rest_framework.permissions import BasePermission


class Principal(Protocol):
    """What the kernel has to know of an API key (inboxes.models.ApiKey is one)."""

    @property
    def pk(self) -> Any: ...
    @property
    def account_id(self) -> str: ...
    @property
    def inbox_ids(self) -> list[str] | None:
        """None: all inboxes of the account in this mode. A list: only those; an empty one: none."""

    @property
    def mode(self) -> str: ...
    @property
    def permissions(self) -> Any: ...


def require(principal: Principal | None, right: str) -> None:
    """Raises NotAuthenticated without a key and PermissionDenied without the right."""
    if principal is None:
        raise NotAuthenticated("This path needs an API key.")
    if right not in principal.permissions:
        raise PermissionDenied(f"This key lacks the right “{right}”.")


class HasRight(BasePermission):
    """Each view says in `needs` which right a call takes, as one name or by method. HEAD is a GET without its body."""

    def has_permission(self, request: Any, view: Any) -> bool:
        method = "GET" if request.method == "HEAD" else request.method
        needs = view.needs if isinstance(view.needs, str) else view.needs.get(method)
        if needs is None:
            raise MethodNotAllowed(request.method)
        require(request.auth, needs)
        return True
