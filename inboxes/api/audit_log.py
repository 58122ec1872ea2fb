"""The trail, within what a key may see."""

from django.db.models import Q, QuerySet

from audit.api.views import AuditLogView
from audit.models import AuditEntry
from inboxes.api.views import visible_inboxes


class InboxAuditLogView(AuditLogView):
    """Entries of the key's inboxes, and those of the account itself unless the key is limited to one inbox."""

    def entries(self) -> QuerySet[AuditEntry]:
        visible = Q(inbox_id__in=visible_inboxes(self.key).values("pk"))
        return super().entries().filter(visible if self.key.inbox_id else visible | Q(inbox_id=""))
