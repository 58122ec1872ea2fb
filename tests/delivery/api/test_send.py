"""POST /v1/inboxes/{id}/messages, …/reply, …/forward"""

import base64
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from django.utils import timezone

from delivery.models import OutboundMail
from inboxes.models import Inbox
from tests.cast import Caller
from tests.mailing import deliver, mail
from threads.models import Message


def raw_of(caller: Caller, inbox: Inbox, message: dict[str, Any]) -> EmailMessage:
    raw = caller.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    return message_from_bytes(raw, policy=default)


def body_of(raw: EmailMessage, kind: str) -> str:
    part = raw.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


class TestSend:
    def test_it_queues_the_mail_under_the_inboxs_own_address(self, alice: Caller) -> None:
        inbox = alice.create_inbox(username="billing", display_name="Jörg, Billing")
        message = alice.send(inbox, to=["Ann <ann@example.com>", "ben@example.com"], cc="c@example.com", bcc="d@example.com",
                             subject="Invoice ü 42", body_text="Hi\n.\nß", body_html="<p>Hi</p>", labels=["x"])  # fmt: skip
        assert (message["status"], message["direction"]) == ("queued", "outbound")
        assert message["to_addresses"] == ["ann@example.com", "ben@example.com"]
        assert [recipient["status"] for recipient in message["recipients"]] == ["queued"] * 4
        raw = raw_of(alice, inbox, message)
        assert raw["From"] == '"Jörg, Billing" <billing@mailbot.localhost>'
        assert raw["To"] == "Ann <ann@example.com>, ben@example.com"
        assert raw["Subject"] == "Invoice ü 42"
        assert raw["Message-ID"] == message["message_id_header"]
        assert raw["Bcc"] is None
        assert body_of(raw, "plain") == "Hi\n.\nß\n"
        assert body_of(raw, "html") == "<p>Hi</p>\n"

    def test_it_sends_files(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        content = bytes(range(256)) * 10
        file = {
            "filename": "Übersicht.pdf",
            "content_type": "application/pdf",
            "content": base64.b64encode(content).decode(),
        }
        message = alice.send(inbox, attachments=[file])
        (attached,) = raw_of(alice, inbox, message).iter_attachments()
        assert (attached.get_filename(), attached.get_content_type(), attached.get_content()) == (
            "Übersicht.pdf",
            "application/pdf",
            content,
        )
        path = f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/attachments/{message['attachments'][0]['id']}"
        assert alice.get(path).content == content

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"to": []},
            {"to": "nobody"},
            {"to": "a@example.com, b@example.com"},
            {"to": "a@example.com\r\nBcc: x@example.com"},
            {"to": ["a@example.com"] * 101},
            {"to": "a@example.com", "subject": "a\r\nBcc: x@example.com"},
            {"to": "a@example.com", "headers": {"X-A": "a\nBcc: x@example.com"}},
            {"to": "a@example.com", "headers": {"X-A\r\nBcc": "a"}},
            {"to": "a@example.com", "headers": {"From": "ceo@example.com"}},
            {"to": "a@example.com", "headers": {"Resent-Bcc": "x@example.com"}},
            {"to": "a@example.com", "headers": {"X-MC-BccAddress": "x@example.com"}},
            {"to": "a@example.com", "headers": {"x-smtpapi": "{}"}},
            {"to": "a@example.com", "headers": {"x-metadata": '{"mailbot_id": "outmail_01m8ec93r3eagb5zhv7tvbx1nw"}'}},
            {"to": "a@example.com", "headers": {"Idempotencykey": "outmail_01m8ec93r3eagb5zhv7tvbx1nw"}},
            {"to": "(" * 990},
            {"to": "a@example.com", "attachments": [{"filename": "a", "content": "%%%"}]},
            {"to": "a@example.com", "attachments": [{"filename": "a", "url": "http://127.0.0.1/"}]},
            {"to": "a@example.com", "attachments": [{"filename": "a\r\nX: y", "content": ""}]},
            {"to": "a@example.com", "attachments": [{"filename": "a", "content": "", "content_type": "a/b\r\nX: y"}]},
            {"to": "a@example.com", "subject": "\0"},
            {"to": "a@example.com", "bodytext": "x"},
            {"to": "a@example.com", "metadata": []},
            {"to": "a@example.com", "send_at": "tomorrow"},
            {"to": 7},
        ],
        ids=str,
    )  # fmt: skip
    def test_it_refuses_with_a_reason_and_queues_nothing(self, alice: Caller, body: dict[str, Any]) -> None:
        inbox = alice.create_inbox()
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", body)
        assert answer.status_code == 400
        assert answer.json()["error"]["fields"]
        assert not Message.objects.exists()
        assert not OutboundMail.objects.exists()

    def test_it_takes_null_for_absent(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        alice.send(
            inbox, cc=None, subject=None, body_text=None, attachments=None, headers=None, metadata=None, send_at=None
        )

    def test_it_encodes_what_a_header_cannot_hold(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        message = alice.send(inbox, subject="ü" * 300, body_text="x" * 5000, headers={"X-Long": "word " * 300})
        raw = raw_of(alice, inbox, message)
        assert raw["Subject"] == "ü" * 300
        assert raw.get_content().strip() == "x" * 5000

    def test_it_counts_recipients_against_the_daily_limit(self, alice: Caller) -> None:
        inbox = alice.create_inbox(daily_send_limit=3)
        alice.send(inbox, to=["a@example.com", "b@example.com"])
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": ["c@example.com", "d@example.com"]})
        assert answer.status_code == 422
        assert answer.json()["error"]["reason"] == "daily_send_limit"
        alice.send(inbox, to=["c@example.com"])
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["sends_today"] == 3

    def test_it_sends_one_copy_to_who_is_named_twice(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        message = alice.send(inbox, to="a@example.com", cc=["A@Example.com", "b@example.com"])
        assert [recipient["address"] for recipient in message["recipients"]] == ["a@example.com", "b@example.com"]

    def test_it_puts_a_text_beside_html(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        message = alice.send(inbox, body_html="<p>Hello <b>Ann</b></p>")
        assert body_of(raw_of(alice, inbox, message), "plain").strip() == "Hello Ann"
        assert message["preview"] == "Hello Ann"

    def test_it_is_dated_when_it_leaves(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        tomorrow = timezone.now().replace(microsecond=0) + timedelta(days=1)
        message = alice.send(inbox, send_at=tomorrow.isoformat())
        assert raw_of(alice, inbox, message)["Date"].datetime == tomorrow
        yesterday = {"to": "a@example.com", "send_at": (timezone.now() - timedelta(days=1)).isoformat()}
        assert alice.post(f"/v1/inboxes/{inbox.pk}/messages", yesterday).status_code == 400

    def test_it_takes_no_more_than_the_server_itself_would(self, alice: Caller, settings: Any) -> None:
        settings.SMTP_MAX_SIZE = 10_000
        inbox = alice.create_inbox()
        file = {"filename": "a.bin", "content": base64.b64encode(b"x" * 7_400).decode()}
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "a@example.com", "attachments": [file]})
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "payload_too_large"

    @pytest.mark.parametrize(
        ("columns", "reason"),
        [({"expires_at": timezone.now() - timedelta(seconds=1)}, "inbox_deleted"), ({"local_part": "jürgen"}, "address_not_ascii")],
    )  # fmt: skip
    def test_it_says_why_an_inbox_cannot_send(self, alice: Caller, columns: dict[str, Any], reason: str) -> None:
        inbox = alice.create_inbox()
        Inbox.objects.filter(pk=inbox.pk).update(**columns)
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "a@example.com"})
        assert (answer.status_code, answer.json()["error"].get("reason")) == (422, reason)

    def test_it_is_404_for_a_stranger(self, alice: Caller, charlie: Caller) -> None:
        inbox = alice.create_inbox()
        assert charlie.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "a@example.com"}).status_code == 404
        assert not Message.objects.exists()


class TestReply:
    def test_it_goes_to_the_sender_with_the_whole_chain(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(
            mail(
                Message_ID="<3@x.com>", In_Reply_To="<2@x.com>", References="<1@x.com> <2@x.com>", Subject="Re: Hello"
            ),
            inbox,
        )
        parent = alice.messages(inbox)[0]
        reply = alice.post(f"/v1/inboxes/{inbox.pk}/messages/{parent['id']}/reply", {"body_text": "Yes"}).json()["data"]
        assert reply["to_addresses"] == ["customer@example.com"]
        assert reply["thread_id"] == parent["thread_id"]
        raw = raw_of(alice, inbox, reply)
        assert raw["Subject"] == "Re: Hello"
        assert raw["In-Reply-To"] == "<3@x.com>"
        assert raw["References"].split() == ["<1@x.com>", "<2@x.com>", "<3@x.com>"]

    def test_it_prefers_reply_to(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Reply_To="Desk <desk@example.com>"), inbox)
        parent = alice.messages(inbox)[0]
        reply = alice.post(f"/v1/inboxes/{inbox.pk}/messages/{parent['id']}/reply", {"body_text": "Yes"}).json()["data"]
        assert reply["to_addresses"] == ["desk@example.com"]

    @pytest.mark.parametrize(
        ("name", "body"), [("Reply_To", {}), ("To", {"reply_all": True}), ("Cc", {"reply_all": True})]
    )
    def test_it_goes_to_no_thousand_people_that_a_stranger_names(
        self, alice: Caller, name: str, body: dict[str, Any]
    ) -> None:
        inbox = alice.create_inbox()
        deliver(mail(**{name: ", ".join(f"a{number}@example.com" for number in range(101))}), inbox)
        path = f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/reply"
        assert alice.post(path, body).status_code == 400
        assert not OutboundMail.objects.exists()

    @pytest.mark.parametrize("sender", ["jürgen@example.com", '"a b"@example.com', "a@[127.0.0.1]", "=?q?b@x"])
    def test_it_goes_to_no_address_that_nothing_can_be_sent_to(self, alice: Caller, sender: str) -> None:
        inbox = alice.create_inbox()
        deliver(f"Subject: x\r\nFrom: {sender}\r\n\r\nx".encode(), inbox)
        path = f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/reply"
        assert alice.post(path).status_code == 400

    def test_it_cuts_what_is_very_long_in_what_it_answers(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(f'Subject: {"ä" * 50_000}\r\nFrom: "{"ä(" * 40_000}" <a@example.com>\r\n\r\nx'.encode(), inbox)
        path = f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/reply"
        assert len(alice.post(path).json()["data"]["subject"]) == 990

    def test_it_reaches_everybody_but_us_when_asked_to(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(
            mail(
                To=f"{inbox.address}, Ann <ann@example.com>",
                Cc=f"ben@example.com, {inbox.address}, customer@example.com",
            ),
            inbox,
        )
        path = f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/reply"
        reply = alice.post(path, {"body_text": "Yes", "reply_all": True, "cc": "eve@example.com"}).json()["data"]
        assert reply["to_addresses"] == ["customer@example.com"]
        assert reply["cc"] == ["eve@example.com", "ann@example.com", "ben@example.com"]

    def test_it_caps_and_folds_a_chain_of_a_thousand(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        chain = [f"<{number}-{'x' * 60}@example.com>" for number in range(1000)]
        deliver(mail(Message_ID="<last@x.com>", References=" ".join(chain)), inbox)
        parent = alice.messages(inbox)[0]
        reply = alice.post(f"/v1/inboxes/{inbox.pk}/messages/{parent['id']}/reply", {"body_text": "Yes"}).json()["data"]
        references = raw_of(alice, inbox, reply)["References"].split()
        assert (references[0], references[-1], len(references)) == (chain[0], "<last@x.com>", 50)

    def test_it_repeats_no_id_that_no_header_can_hold(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver("Subject: x\r\nFrom: a@example.com\r\nMessage-ID: <ü@x.com>\r\n\r\nx".encode(), inbox)
        parent = alice.messages(inbox)[0]
        reply = alice.post(f"/v1/inboxes/{inbox.pk}/messages/{parent['id']}/reply", {"body_text": "Yes"}).json()["data"]
        assert raw_of(alice, inbox, reply)["References"] is None
        assert reply["thread_id"] == parent["thread_id"]

    def test_it_keeps_a_very_long_id_whole(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        long_id = f"<{'a' * 300}@example.com>"
        deliver(mail(Message_ID=None).replace(b"Subject:", b"Message-ID: " + long_id.encode() + b"\r\nSubject:"), inbox)
        parent = alice.messages(inbox)[0]
        reply = alice.post(f"/v1/inboxes/{inbox.pk}/messages/{parent['id']}/reply", {"body_text": "Yes"}).json()["data"]
        assert (
            f"\r\nIn-Reply-To: {long_id}\r\n".encode()
            in alice.get(f"/v1/inboxes/{inbox.pk}/messages/{reply['id']}/raw").content
        )

    def test_it_goes_on_after_ones_own_mail(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        sent = alice.send(inbox, to="ann@example.com", subject="Hello")
        reply = alice.post(
            f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}/reply", {"body_text": "One more thing"}
        ).json()["data"]
        assert (reply["to_addresses"], reply["subject"], reply["thread_id"]) == (
            ["ann@example.com"],
            "Re: Hello",
            sent["thread_id"],
        )

    def test_it_says_so_when_there_is_nobody_to_reply_to(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(b"Subject: nobody\r\n\r\nhi\r\n", inbox)
        answer = alice.post(
            f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/reply", {"body_text": "Yes"}
        )
        assert answer.status_code == 400

    def test_it_is_404_for_a_stranger(self, alice: Caller, charlie: Caller) -> None:
        inbox = alice.create_inbox()
        sent = alice.send(inbox)
        for action in ("reply", "forward"):
            answer = charlie.post(f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}/{action}", {"to": "a@example.com"})
            assert answer.status_code == 404


class TestForward:
    def test_it_carries_the_message_and_its_files(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="Contract", body="See the file.", attachments={"contract.pdf": b"%PDF"}), inbox)
        path = f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/forward"
        forwarded = alice.post(path, {"to": "legal@example.com", "body_text": "Please check."}).json()["data"]
        raw = raw_of(alice, inbox, forwarded)
        assert raw["Subject"] == "Fwd: Contract"
        text = body_of(raw, "plain")
        assert text.startswith("Please check.\n\n---------- Forwarded message")
        assert "From: Customer <customer@example.com>" in text
        assert "See the file." in text
        assert [part.get_filename() for part in raw.iter_attachments()] == ["contract.pdf"]

    def test_it_keeps_the_html_of_both_and_runs_nothing_foreign(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(html="<p>Theirs<script>alert(1)</script></p>"), inbox)
        path = f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/forward"
        forwarded = alice.post(path, {"to": "legal@example.com", "body_html": "<p>Ours</p>"}).json()["data"]
        page = body_of(raw_of(alice, inbox, forwarded), "html")
        assert page.startswith("<p>Ours</p>")
        assert "<p>Theirs</p>" in page
        assert "&lt;customer@example.com&gt;" in page
        assert "script" not in page
