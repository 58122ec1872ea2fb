"""Files of messages, downloaded in the console."""

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.http import content_disposition_header

from audit.reads import record_read
from audit.record import Act
from inboxes.console_reviews import may_read, told_of_read
from inboxes.console_roles import visible
from threads.attachments import ContentGone, content_of
from threads.models import Attachment


def attachment(request: HttpRequest, attachment_id: str) -> HttpResponse:
    """The octets, as a download that no browser opens by itself. 404 when they are gone, or not the user's to read."""
    rows = visible(request, Attachment.objects.select_related("message"))
    found = rows.filter(pk=attachment_id.replace("\0", "")).first()
    if found is None or not may_read(request, found.account_id, found.message.inbox_id):
        raise Http404("There is no such file.")
    try:
        content = content_of(found)
    except ContentGone as error:
        raise Http404("The file is no longer kept.") from error
    place = {"account_id": found.account_id, "inbox_id": found.message.inbox_id}
    record_read(
        Act.ATTACHMENT_READ, "attachment", found.pk, **place, message=found.message_id, **told_of_read(request, **place)
    )
    response = HttpResponse(content, content_type="application/octet-stream")
    response["Content-Disposition"] = content_disposition_header(True, found.filename) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response
