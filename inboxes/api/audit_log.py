"""The trail, within what a key may see."""

from django.db.models import Exists, Q, QuerySet

from audit.api.views import AuditEntryView, AuditLogView, AuditStreamView, AuditVerifyView, AuditView
from audit.models import AuditEntry
from inboxes.api.views import visible_inboxes


class InboxAuditView(AuditView):
    """Entries of the key's inboxes. A key that is not limited to some sees those of no inbox too: of its own mode (keys, and what
    keys do), and of the account as a whole (its name, its members), which are of neither mode."""

    def entries(self, inbox_id: str = "") -> QuerySet[AuditEntry]:
        inboxes = visible_inboxes(self.key)
        if inbox_id:
            return super().entries(inbox_id).filter(Exists(inboxes.filter(pk=inbox_id)))
        visible = Q(inbox_id__in=inboxes.values("pk"))
        if self.key.inbox_ids is None:
            visible |= Q(inbox_id="", mode__in=["", self.key.mode])
        return super().entries().filter(visible)


class InboxAuditLogView(InboxAuditView, AuditLogView):
    pass


class InboxAuditEntryView(InboxAuditView, AuditEntryView):
    pass


class InboxAuditVerifyView(InboxAuditView, AuditVerifyView):
    pass


class InboxAuditStreamView(InboxAuditView, AuditStreamView):
    pass
