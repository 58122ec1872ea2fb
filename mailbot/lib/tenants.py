"""The first wall between tenants: managers that find only what the current scope may see.

What a view forgets to narrow is narrowed here, and who has not said for whom it acts gets an exception instead of rows.
"""

from typing import Any, TypeVar

from django.db import models
from django.db.models import Q, QuerySet

from mailbot.lib.scope import Reach, Scope, current

Row_co = TypeVar("Row_co", bound=models.Model, covariant=True)


class Unscoped(RuntimeError):
    """A query on a tenant model by code that has not said for whom it acts (mailbot.lib.scope)."""


class TenantManager(models.Manager[Row_co]):
    """`account` and `inbox` are the lookups that lead from a row to the ids of its account and inbox; no `inbox`: it belongs to none.
    `whole_account`: who is limited to some inboxes sees none of these rows. `none_is_shared`: rows without an inbox, where there can be
    such, belong to each of its account; otherwise they too are for who is not limited."""

    def __init__(
        self,
        *,
        account: str = "account_id",
        inbox: str | None = "inbox_id",
        whole_account: bool = False,
        none_is_shared: bool = True,
    ) -> None:
        super().__init__()
        self.account, self.inbox, self.whole_account = account, inbox, whole_account
        self.none_is_shared = none_is_shared

    def get_queryset(self) -> QuerySet[Row_co]:
        return self.within_scope(super().get_queryset())

    def none(self) -> QuerySet[Row_co]:
        """Asks nothing, so nobody has to be named: forms are declared with it."""
        return super().get_queryset().none()

    def within_scope(self, rows: QuerySet[Row_co]) -> QuerySet[Row_co]:
        scope = current()
        if scope.reach is Reach.NOBODY:
            raise Unscoped(f"{self.model.__name__}: say first for whom this acts (mailbot.lib.scope).")
        if scope.reach is not Reach.TENANT:
            return rows
        if scope.inbox_ids is not None and self._declared().whole_account:
            return rows.none()
        return rows.filter(self._condition(scope))

    def _condition(self, scope: Scope) -> Q:
        told, accounts = self._declared(), scope.account_ids
        condition = Q((told.account, accounts[0])) if len(accounts) == 1 else Q((f"{told.account}__in", accounts))
        if scope.inbox_ids is not None and told.inbox:
            condition &= Q((f"{told.inbox}__in", scope.inbox_ids)) | told._of_no_inbox(told.inbox)
        return condition

    def _declared(self) -> "TenantManager[Any]":
        """The model's own manager: that of a relation (`message.attachments`) is made by Django, without what was said here."""
        manager = self.model._default_manager
        return manager if isinstance(manager, TenantManager) else self

    def _of_no_inbox(self, inbox: str) -> Q:
        """Rows that bind all inboxes of their account, where there can be such, belong to each of them."""
        if "__" in inbox or inbox == "pk":
            return Q()
        field = self.model._meta.get_field(inbox)
        if not self.none_is_shared:
            return Q()
        if field.null:
            return Q((f"{inbox}__isnull", True))
        return Q((inbox, "")) if getattr(field, "blank", False) else Q()
