"""What is written out for a row: the same as Django REST framework's own serializer writes"""

from typing import Any

import pytest
from rest_framework import serializers

from audit.api.views import AuditEntrySerializer
from audit.models import AuditEntry
from mailbot.api.renderers import dumps
from mailbot.api.shapes import RowSerializer
from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail
from threads.api.serializers import AttachmentSerializer, EventSerializer, MessageSerializer, ThreadSerializer
from threads.models import Attachment, Event, Message, Thread

SHAPES = [
    (MessageSerializer, Message),
    (ThreadSerializer, Thread),
    (EventSerializer, Event),
    (AttachmentSerializer, Attachment),
    (AuditEntrySerializer, AuditEntry),
]


@pytest.fixture
def mails(alice: Caller) -> None:
    """In and out, with and without files, threaded and tagged, sent, scheduled and failed."""
    inbox = alice.create_inbox()
    deliver(mail(Message_ID="<one@example.com>", Cc="A <a@example.com>", Reply_To="b@example.com"), inbox)
    deliver(mail(In_Reply_To="<one@example.com>", html="<p>Code 123456</p>", attachments={"a.txt": b"x"}), inbox)
    deliver(mail(Date="yesterday"), inbox.address.replace("@", "+tag@"))
    alice.send(inbox, to=["c@example.com"], bcc="d@example.com", labels=["urgent"], metadata={"order": [1, None]})
    alice.send(inbox, send_at="2099-01-01T00:00:00Z")
    run_workers()
    alice.send(inbox, to="Name <e@example.com>")


class TestRepresentation:
    @pytest.mark.parametrize(("shape", "model"), SHAPES)
    def test_it_is_what_the_framework_writes(self, mails: None, shape: type[RowSerializer[Any]], model: Any) -> None:
        rows = list(model.objects.all())
        assert rows
        usual = [serializers.ModelSerializer.to_representation(shape(), row) for row in rows]
        assert dumps(shape(rows, many=True).data) == dumps(usual)
        assert dumps(shape(rows[0]).data) == dumps(usual[0])

    @pytest.mark.parametrize(("shape", "model"), SHAPES)
    def test_it_is_what_the_framework_writes_of_a_row_that_is_new(
        self, shape: type[RowSerializer[Any]], model: Any
    ) -> None:
        """Such a row has enums where a stored one has strings."""
        row = model(
            **({"direction": Message.Direction.OUTBOUND, "status": Message.Status.QUEUED} if model is Message else {})
        )
        row._prefetched_objects_cache = {"attachments": []}
        usual = serializers.ModelSerializer.to_representation(shape(), row)
        assert dumps(shape(row).data) == dumps(usual)
