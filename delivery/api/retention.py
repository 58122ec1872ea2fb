"""/v1/inboxes/{inbox_id}/retention: how long an inbox keeps what it has, and what the next sweep would remove."""

from dataclasses import asdict
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from delivery.api.retention_shapes import InboxRetentionSerializer
from delivery.retention_sweep import Preview, preview
from inboxes.api.views import InboxScopedView
from inboxes.permissions import RETENTION_READ
from mailbot.api.schema import described
from mailbot.api.views import data


class InboxRetentionView(InboxScopedView):
    """GET /inboxes/{inbox_id}/retention"""

    needs = RETENTION_READ

    @described("See what of an inbox is over", answer=InboxRetentionSerializer, name="get_inbox_retention")
    def get(self, request: Request, inbox_id: str) -> Response:
        """The class that counts for it and its times, what is over by them and would go with the next sweep, and what holds keep it.
        Each part is counted up to 10,000. Nothing is removed."""
        return data(represent(preview(self.get_inbox(inbox_id))))


def represent(found: Preview) -> dict[str, Any]:
    return InboxRetentionSerializer(
        {
            "inbox_id": found.inbox.pk,
            "retention_class_id": found.retention.pk if found.retention else None,
            "source": found.source,
            **{f"{name}_days": days for name, days in found.periods._asdict().items()},
            "over": {name: asdict(over) for name, over in found.over.items()},
            "next_sweep_at": found.next_at,
            "holds": [{"id": hold.pk, "inbox_id": hold.inbox_id, "matter": hold.matter} for hold in found.holds],
        }
    ).data
