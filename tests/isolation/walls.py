"""Taking the walls out, one or both, to see what the other one holds and whether the matrix would find what neither does."""

import sys
from dataclasses import replace
from typing import Any

import pytest

from audit.models import AuditEntry, Export
from delivery.models import Erasure, Suppression
from inboxes.api.audit_log import InboxAuditView
from inboxes.models import AddressRule, ApiKey, Domain, Inbox, LegalHold, Provider, RetentionClass
from mailbot.api import idempotency, views
from mailbot.api.views import TenantView
from mailbot.lib.postgresql_walls import base
from mailbot.lib.postgresql_walls.roles import ALL, SYSTEM
from mailbot.lib.tenants import TenantManager
from threads.api.views import MessageScopedView
from threads.models import Message


def take_out_the_managers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wall is gone: managers, the base view and what views narrow themselves give everything."""
    monkeypatch.setattr(TenantManager, "within_scope", lambda self, rows: rows)
    monkeypatch.setattr(TenantView, "scoped", lambda self, rows, **_: rows)
    monkeypatch.setattr(MessageScopedView, "messages", lambda self, inbox: Message.objects.filter(inbox=inbox))
    monkeypatch.setattr(
        InboxAuditView, "entries", lambda self, inbox_id="": AuditEntry.objects.filter(inbox_id__startswith=inbox_id)
    )
    for name, everything in (
        ("visible_inboxes", lambda key: Inbox.objects.all()),
        ("visible_keys", lambda key: ApiKey.objects.all()),
        ("visible_domains", lambda key: Domain.objects.all()),
        ("visible_providers", lambda key: Provider.objects.all()),
        ("visible_rules", lambda key: AddressRule.objects.all()),
        ("visible_suppressions", lambda key: Suppression.objects.all()),
        ("visible_holds", lambda key: LegalHold.objects.all()),
        ("visible_classes", lambda key: RetentionClass.objects.all()),
        ("visible_exports", lambda key: Export.objects.all()),
        ("visible_erasures", lambda key: Erasure.objects.all()),
    ):
        for module in [module for module in list(sys.modules.values()) if name in vars(module)]:
            monkeypatch.setattr(module, name, everything)


def take_out_the_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second wall is gone: whoever acts, PostgreSQL lets him see all."""
    monkeypatch.setattr(base, "session_of", lambda scope: (SYSTEM, "", ALL))


def share_idempotency_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if two callers with the same Idempotency-Key were one."""
    original = idempotency.call_of

    def shared(request: Any, principal: Any, inbox_id: str | None) -> idempotency.Call | None:
        call = original(request, principal, inbox_id)
        return call and replace(call, slot=idempotency.digest(request.headers[idempotency.HEADER]))

    monkeypatch.setattr(views, "call_of", shared)
