"""GET|PATCH|DELETE /v1/inboxes/{id}, pause and resume"""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from delivery.models import InboundMail
from inboxes.expiry import sweep_expired
from inboxes.models import Inbox
from mailbot.lib.ids import new_id
from tests.cast import Caller
from tests.mailing import deliver, inbox_for, mail, store
from threads.attachments import storage_name
from threads.models import Attachment, Event, Message, Thread


class TestInbox:
    def test_it_is_there_for_a_team_mate(self, alice: Caller, bob: Caller) -> None:
        inbox = alice.create_inbox()
        assert bob.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["address"] == inbox.address

    @pytest.mark.parametrize("method", ["get", "patch", "delete", "post"])
    def test_it_is_404_for_a_stranger_as_for_an_id_that_never_was(
        self, alice: Caller, charlie: Caller, method: str
    ) -> None:
        inbox = alice.create_inbox()
        body: tuple[Any, ...]
        suffix, body = ("/pause", ({},)) if method == "post" else ("", ({},) if method == "patch" else ())
        answers = [getattr(charlie, method)(f"/v1/inboxes/{pk}{suffix}", *body) for pk in (inbox.pk, new_id("inbox"))]
        bodies = [{**answer.json()["error"], "request_id": ""} for answer in answers]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert bodies[0] == bodies[1]
        inbox.refresh_from_db()
        assert inbox.status == "active"

    def test_it_changes_what_is_given_and_nothing_else(self, alice: Caller) -> None:
        inbox = alice.create_inbox(display_name="Old", daily_send_limit=5)
        answer = alice.patch(f"/v1/inboxes/{inbox.pk}", {"name": "New"}).json()["data"]
        assert (answer["display_name"], answer["daily_send_limit"]) == ("New", 5)
        entry = alice.get("/v1/audit-log", inbox_id=inbox.pk, action="inbox.updated").json()["data"][0]
        assert entry["changes"]["display_name"] == ["Old", "New"]

    def test_it_cannot_change_the_address(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        assert alice.patch(f"/v1/inboxes/{inbox.pk}", {"username": "x"}).status_code == 400


class TestPause:
    def test_it_stops_sending_and_not_receiving(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/pause", {"reason": "looping"}).json()["data"]
        assert (answer["status"], answer["status_reason"]) == ("paused", "looping")
        refused = alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "a@example.com"})
        assert refused.status_code == 422
        assert refused.json()["error"]["reason"] == "inbox_paused"
        deliver(mail(To=inbox.address), inbox)
        assert len(alice.messages(inbox)) == 1

    def test_it_goes_on_after_resume(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        alice.post(f"/v1/inboxes/{inbox.pk}/pause", {"reason": "looping"})
        alice.post(f"/v1/inboxes/{inbox.pk}/resume")
        alice.send(inbox)
        assert alice.events(inbox_id=inbox.pk)[:3] == ["inbox.created", "inbox.paused", "inbox.resumed"]

    def test_it_says_once_what_is_asked_twice(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for _ in range(2):
            assert alice.post(f"/v1/inboxes/{inbox.pk}/pause").json()["data"]["status"] == "paused"
        assert alice.events(inbox_id=inbox.pk).count("inbox.paused") == 1


class TestDelete:
    def test_it_ends_the_address_and_keeps_the_content(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(To=inbox.address), inbox)
        answer = alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert answer.status_code == 200
        assert answer.json()["data"]["status"] == "deleted"
        assert inbox_for(inbox.address) is None
        assert len(alice.messages(inbox)) == 1
        assert (
            alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "a@example.com"}).json()["error"]["reason"]
            == "inbox_deleted"
        )

    def test_it_may_be_repeated(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        answers = [alice.delete(f"/v1/inboxes/{inbox.pk}") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert alice.events(inbox_id=inbox.pk).count("inbox.deleted") == 1

    def test_it_erases_the_content_at_once_when_asked_to(self, alice: Caller) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        deliver(mail(To=inbox.address, attachments={"a.txt": b"secret"}), inbox)
        deliver(mail(To=other.address, body="stays"), other)
        raw_of_other = alice.messages(other)[0]["id"]
        assert alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true").json()["data"]["message_count"] == 0
        assert not Message.objects.filter(inbox=inbox).exists()
        assert not Thread.objects.filter(inbox=inbox).exists()
        assert not Attachment.objects.filter(account_id=inbox.account_id).exists()
        assert alice.get(f"/v1/inboxes/{other.pk}/messages/{raw_of_other}/raw").status_code == 200
        assert Event.objects.filter(inbox=inbox, type="inbox.deleted").exists()

    def test_it_keeps_the_raw_mail_that_another_inbox_was_addressed_by_too(
        self, alice: Caller, charlie: Caller
    ) -> None:
        inbox, other = alice.create_inbox(), charlie.create_inbox()
        deliver(mail(To=f"{inbox.address}, {other.address}"), inbox, other)
        alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
        message = charlie.messages(other)[0]
        assert charlie.get(f"/v1/inboxes/{other.pk}/messages/{message['id']}/raw").status_code == 200

    def test_it_erases_raw_mail_that_became_no_message(self, alice: Caller, charlie: Caller) -> None:
        inbox, other, third = alice.create_inbox(), charlie.create_inbox(), charlie.create_inbox()
        again = mail(To=inbox.address)
        deliver(again, inbox)
        deliver(again, inbox)  # counted on the first one
        store(mail(To=inbox.address), inbox)  # not processed yet
        store(mail(To=inbox.address), inbox, other)
        deliver(mail(To=third.address), third)
        alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
        assert InboundMail.objects.count() == 2
        charlie.delete(f"/v1/inboxes/{other.pk}?purge=true")
        assert [mail.recipients[0]["inbox_id"] for mail in InboundMail.objects.all()] == [third.pk]

    def test_it_erases_files_but_none_that_another_inbox_has(
        self, alice: Caller, django_capture_on_commit_callbacks: Any
    ) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        ours, shared = secrets.token_bytes(20), secrets.token_bytes(20)
        deliver(mail(To=inbox.address, attachments={"ours": ours, "shared": shared}), inbox)
        with django_capture_on_commit_callbacks(execute=True):
            alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
            deliver(mail(To=other.address, attachments={"shared": shared}), other)  # before the files go
        names = [storage_name(inbox.account_id, hashlib.sha256(content).hexdigest()) for content in (ours, shared)]
        assert [default_storage.exists(name) for name in names] == [False, True]

    def test_it_files_what_was_accepted_before_the_end(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(To=inbox.address), inbox)
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        deliver(mail(), alice.create_inbox())
        assert len(alice.messages(inbox)) == 1


class TestExpiry:
    def test_it_can_be_put_off_and_taken_away(self, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60)
        later = alice.patch(f"/v1/inboxes/{inbox.pk}", {"expires_in": 3600}).json()["data"]["expires_at"]
        assert later > timezone.now().isoformat()
        assert alice.patch(f"/v1/inboxes/{inbox.pk}", {"expires_in": None}).json()["data"]["expires_at"] is None

    def test_it_ends_when_its_time_is_over(self, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60)
        assert inbox_for(inbox.address)
        Inbox.objects.filter(pk=inbox.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        assert inbox_for(inbox.address) is None
        assert sweep_expired() == (1, 0)
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["status"] == "deleted"
        assert sweep_expired() == (0, 0)
