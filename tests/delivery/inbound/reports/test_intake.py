"""A report becomes an event of the thread that it speaks of, and no conversation; a forged one becomes nothing."""

import base64
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from delivery.inbound.reports import read_report
from delivery.inbound.reports.matching import Arrived, match_reports
from delivery.models import InboundMail, OutboundMail
from inboxes.models import Inbox
from tests.cast import Caller, run_workers
from tests.delivery.inbound.reports.bounces import DAEMON, away, bounce, complaint, words
from tests.mailing import deliver, mail
from threads.conversation import note_final_message_ids
from threads.models import Message, Thread
from threads.wanted import Wanted, first_match

ANN = "ann@example.org"


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox()


@pytest.fixture
def sent(alice: Caller, inbox: Inbox) -> dict[str, Any]:
    return send(alice, inbox, ANN)


def send(caller: Caller, inbox: Inbox, *recipients: str) -> dict[str, Any]:
    message = caller.send(inbox, to=list(recipients), subject="Hello", body_text="Hello")
    run_workers()
    return message


def return_path(sent: dict[str, Any]) -> str:
    return OutboundMail.objects.get(message_id=sent["id"]).envelope_sender


def come_back(raw: bytes, to: Inbox | str) -> None:
    deliver(raw, to, envelope_sender="")


def now(caller: Caller, message: dict[str, Any]) -> dict[str, Any]:
    return dict(caller.get(f"/v1/inboxes/{message['inbox_id']}/messages/{message['id']}").json()["data"])


def events(caller: Caller, message: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [e for e in caller.get("/v1/events", message_id=message["id"]).json()["data"] if e["type"] == kind]


def report_of(caller: Caller, inbox: Inbox) -> dict[str, Any]:
    (message,) = caller.messages(inbox, label="report")
    return message


class TestBounces:
    def test_it_moves_the_recipient_and_tells_why(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        come_back(bounce(ANN), return_path(sent))
        assert now(alice, sent)["status"] == "bounced"
        (recipient,) = now(alice, sent)["recipients"]
        assert recipient == {"address": ANN, "status": "bounced", "reason": "550 5.1.1 user unknown"}
        (event,) = events(alice, sent, "message.bounced")
        assert event["thread_id"] == sent["thread_id"]
        assert event["data"] == {
            "reason": "userunknown",
            "status": "5.1.1",
            "smtp_code": "550",
            "diagnostic": "550 5.1.1 user unknown",
            "bounce_type": "hard",
            "reporting_mta": "mx.example.net",
            "matched_by": "verp",
            "report_id": report_of(alice, inbox)["id"],
        }

    def test_the_mail_itself_is_kept_beside_the_thread(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        raw = bounce(ANN)
        come_back(raw, return_path(sent))
        report = report_of(alice, inbox)
        assert (report["status"], report["thread_id"]) == ("report", sent["thread_id"])
        assert report["labels"] == ["report"]
        assert Message.objects.get(pk=report["id"]).flags == ["sender_unverified", "automatic", "report"]
        path = f"/v1/inboxes/{inbox.pk}/messages/{report['id']}"
        assert alice.get(f"{path}/raw").content == raw
        told = alice.get(f"{path}/explain").json()["data"]
        assert (told["thread"]["rule"], told["report"]["matched_by"], told["report"]["counts"]) == (
            *("report", "verp", True),
        )
        (entry,) = alice.get("/v1/audit-log", action="message.report_received").json()["data"]
        assert (entry["inbox_id"], entry["changes"]["matched_by"]) == (inbox.pk, "verp")

    def test_nobody_is_reached_by_it(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        before = Thread.objects.get(pk=sent["thread_id"])
        come_back(bounce(ANN), return_path(sent))
        after = Thread.objects.get(pk=sent["thread_id"])
        assert Thread.objects.filter(inbox=inbox).count() == 1
        assert (after.participants, after.message_count, after.last_message_at) == (
            *(before.participants, before.message_count, before.last_message_at),
        )
        assert [message["id"] for message in alice.messages(inbox)] == [sent["id"]]
        assert alice.messages(inbox, direction="inbound") == []
        assert first_match(Wanted(inbox.pk, seen=0, since=None, after=""), Inbox.objects.get(pk=inbox.pk)) is None
        assert alice.events(inbox_id=inbox.pk).count("message.received") == 0

    def test_an_answer_to_it_begins_a_thread_of_its_own(
        self, alice: Caller, inbox: Inbox, sent: dict[str, Any]
    ) -> None:
        raw = bounce(ANN).replace(b"Subject: Undelivered\r\n", b"Subject: x\r\nMessage-ID: <report@mx.example.net>\r\n")
        come_back(raw, return_path(sent))
        deliver(mail(From=ANN, In_Reply_To="<report@mx.example.net>"), inbox)
        assert alice.messages(inbox)[0]["thread_id"] != sent["thread_id"]

    def test_what_waits_is_deferred_and_what_arrived_is_delivered(
        self, alice: Caller, inbox: Inbox, sent: dict[str, Any]
    ) -> None:
        Message.objects.filter(pk=sent["id"]).update(status="sent")
        OutboundMail.objects.get(message_id=sent["id"]).recipients.update(status="sent")
        late = bounce(ANN, said="451 4.4.1 no answer from host", action="delayed", status="4.4.1")
        come_back(late, return_path(sent))
        assert now(alice, sent)["status"] == "deferred"
        come_back(bounce(ANN, said="250 2.1.5 ok", action="delivered", status="2.1.5"), return_path(sent))
        assert now(alice, sent)["status"] == "delivered"
        come_back(late + b"\r\n", return_path(sent))  # late is what it says
        assert now(alice, sent)["status"] == "delivered"

    def test_a_full_mailbox_is_a_soft_bounce(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        come_back(bounce(ANN, said="552 5.2.2 mailbox full", status="5.2.2"), return_path(sent))
        (event,) = events(alice, sent, "message.bounced")
        assert (event["data"]["reason"], event["data"]["bounce_type"]) == ("mailboxfull", "soft")

    def test_the_same_report_twice_is_one(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        for _ in range(2):
            come_back(bounce(ANN), return_path(sent))
        assert len(events(alice, sent, "message.bounced")) == 1
        assert Message.objects.get(status="report").repeat_count == 1

    def test_only_those_who_are_named_have_bounced(self, alice: Caller, inbox: Inbox) -> None:
        sent = send(alice, inbox, ANN, "ben@example.org")
        come_back(bounce("Ben@Example.org"), return_path(sent))
        assert {r["address"]: r["status"] == "bounced" for r in now(alice, sent)["recipients"]} == {
            ANN: False,
            "ben@example.org": True,
        }

    def test_a_list_that_blocks_the_daemon_blocks_no_report(
        self, alice: Caller, inbox: Inbox, sent: dict[str, Any]
    ) -> None:
        alice.post("/v1/lists/receive/block", {"pattern": "mx.example.net", "inbox_id": None})
        come_back(bounce(ANN), return_path(sent))
        assert now(alice, sent)["status"] == "bounced"


class TestMatching:
    def test_by_the_message_id_where_the_tag_is_lost(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        come_back(bounce(ANN, message_id=sent["message_id_header"]), inbox)
        (event,) = events(alice, sent, "message.bounced")
        assert event["data"]["matched_by"] == "message_id"

    def test_by_the_message_id_that_a_provider_gave(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        note_final_message_ids({sent["id"]: "<0102@email.amazonses.com>"})
        come_back(bounce(ANN, message_id="<0102@email.amazonses.com>"), inbox)
        assert now(alice, sent)["status"] == "bounced"

    def test_by_the_recipient_it_is_put_beside_the_thread_and_nothing_follows(
        self, alice: Caller, inbox: Inbox, sent: dict[str, Any]
    ) -> None:
        come_back(words(ANN), inbox)
        assert now(alice, sent)["status"] != "bounced"
        report = report_of(alice, inbox)
        assert report["thread_id"] == sent["thread_id"]
        told = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{report['id']}/explain").json()["data"]["report"]
        assert (told["matched_by"], told["counts"]) == ("recipient", False)

    def test_a_report_of_nothing_of_ours_is_mail_with_a_flag(self, alice: Caller, inbox: Inbox) -> None:
        come_back(bounce("who@example.org"), inbox)
        message = Message.objects.get(inbox=inbox)
        assert (message.status, message.flags) == ("received", ["automatic", "report"])
        assert len(alice.messages(inbox)) == 1

    def test_with_the_tag_it_need_not_be_readable(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        come_back(b"From: x@mx.example.net\r\nSubject: ?\r\n\r\nnothing\r\n", return_path(sent))
        (event,) = events(alice, sent, "message.bounced")
        assert (event["recipient"], event["data"]["reason"], event["data"]["bounce_type"]) == (ANN, "undefined", "soft")

    def test_with_the_tag_the_address_may_have_changed_on_the_way(
        self, alice: Caller, inbox: Inbox, sent: dict[str, Any]
    ) -> None:
        come_back(bounce("ann.forwarded@elsewhere.example"), return_path(sent))
        assert now(alice, sent)["status"] == "bounced"

    def test_a_report_names_nothing_of_another_inbox(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        other = alice.create_inbox()
        _, _, tag = return_path(sent).partition("@")[0].partition("+")
        local_part, _, domain = other.address.partition("@")
        come_back(bounce(ANN, message_id=sent["message_id_header"]), f"{local_part}+{tag}@{domain}")
        assert now(alice, sent)["status"] != "bounced"
        assert alice.messages(other)[0]["thread_id"] != sent["thread_id"]

    def test_many_reports_are_matched_by_as_many_queries_as_one(self, alice: Caller, inbox: Inbox) -> None:
        def asked(number: int) -> int:
            arrived = [
                Arrived((f"{n}", inbox.pk), inbox.pk, "", read_report(bounce(f"u{n}@example.org")), True)
                for n in range(number)
            ]
            with transaction.atomic(), CaptureQueriesContext(connection) as queries:
                match_reports(arrived)
            return len(queries)

        assert 0 < asked(8) <= asked(1)


class TestForgeries:
    def test_a_known_message_id_closes_no_other_address(
        self, alice: Caller, inbox: Inbox, sent: dict[str, Any]
    ) -> None:
        come_back(bounce("victim@example.org", message_id=sent["message_id_header"]), inbox)
        assert events(alice, sent, "message.bounced") == []
        assert now(alice, sent)["status"] != "bounced"

    @pytest.mark.parametrize(
        "spoil", [lambda tag: tag[:-1] + ("a" if tag[-1] != "a" else "b"), lambda tag: "b." + "a" * 25]
    )
    def test_a_made_up_tag_is_none(self, alice: Caller, inbox: Inbox, sent: dict[str, Any], spoil: Any) -> None:
        local_part, _, domain = return_path(sent).partition("@")
        name, _, tag = local_part.partition("+")
        come_back(bounce("who@example.org"), f"{name}+{spoil(tag)}@{domain}")
        assert events(alice, sent, "message.bounced") == []

    @pytest.mark.parametrize(
        "tag", ["b.aaaaaaaaaaaaaaaaaaaaaaaaé", "r.aaaaaaaaaaaaéaaaaaaaaaaaa", "b.éaaaaaaaaaaaaaaaaaaaaaaa"]
    )
    def test_a_tag_may_be_of_any_letters(self, alice: Caller, tag: str) -> None:
        inbox = alice.create_inbox(username="news")
        come_back(bounce("who@example.org"), f"news+{tag}@{inbox.domain}")
        assert unfiled() == []
        assert Message.objects.get(inbox=inbox).status == "received"

    def test_what_a_person_sends_is_no_report(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        raw = words(ANN).replace(DAEMON.encode(), b"Eve <eve@example.org>")
        deliver(raw, inbox, envelope_sender="eve@example.org")
        message = Message.objects.get(inbox=inbox, direction="inbound")
        assert (message.status, message.flags) == ("received", [])


class TestOctets:
    """A stranger writes them, and PostgreSQL holds no NUL: mail that we took must be filed all the same."""

    @pytest.mark.parametrize(
        ("named", "spoilt"),
        [
            (b"rfc822; ann@", b"rfc822; an\0n@"),
            (b"user unknown", b"user\0unknown"),
            (b"dns; mx.example.net", b"dns; mx.example.net\0"),
            (b"Status: 5.1.1", b"Status: 5.1.1\0"),
            (b"Message-ID: <", b"Message-ID: <\0"),
            (b"Undelivered", b"=?utf-8?q?Undelivered=00?="),
            (b"user unknown", b"user unknown \xed\xa0\x80"),
        ],
    )
    def test_no_octet_keeps_a_bounce_from_being_filed(
        self, alice: Caller, inbox: Inbox, sent: dict[str, Any], named: bytes, spoilt: bytes
    ) -> None:
        raw = bounce(ANN, message_id=sent["message_id_header"])
        assert named in raw
        come_back(raw.replace(named, spoilt), return_path(sent))
        assert unfiled() == []
        assert now(alice, sent)["status"] == "bounced"

    @pytest.mark.parametrize("charset", ["utf-7", "unicode_escape"])
    def test_nor_does_one_behind_an_encoding(
        self, alice: Caller, inbox: Inbox, sent: dict[str, Any], charset: str
    ) -> None:
        words_of_it = b"Your mail could not be delivered."
        raw = bounce(ANN).replace(
            b"Content-Type: text/plain\r\n\r\n" + words_of_it,
            f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
            + base64.b64encode(b"<ann@example.org>: 550 5.1.1 \\ud800 \\x00 +2AA- +AAA- \0"),
        )
        come_back(raw, return_path(sent))
        assert unfiled() == []
        assert now(alice, sent)["status"] == "bounced"

    def test_nor_one_of_a_complaint(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        raw = complaint(ANN, message_id=sent["message_id_header"])
        come_back(raw.replace(b"Feedback-Type: abuse", b"Feedback-Type: ab\0use"), inbox)
        assert unfiled() == []
        assert now(alice, sent)["status"] == "complained"


def unfiled() -> list[tuple[str, str]]:
    return list(InboundMail.objects.exclude(state="processed").values_list("state", "error"))


@pytest.mark.one_profile
class TestComplaints:
    def test_it_moves_who_complained(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        deliver(complaint(ANN, message_id=sent["message_id_header"]), inbox, envelope_sender="fbl@mailbox.example")
        assert now(alice, sent)["status"] == "complained"
        (event,) = events(alice, sent, "message.complained")
        assert (event["recipient"], event["data"]["feedback_type"]) == (ANN, "abuse")

    def test_who_is_blacked_out_is_who_the_mail_was_to(self, alice: Caller, inbox: Inbox) -> None:
        sent = send(alice, inbox, ANN, "ben@example.org")
        raw = complaint(message_id=sent["message_id_header"], to="Ben <ben@example.org>")
        deliver(raw, inbox, envelope_sender="fbl@mailbox.example")
        assert [event["recipient"] for event in events(alice, sent, "message.complained")] == ["ben@example.org"]

    def test_nobody_complained_of_whom_nothing_is_known(self, alice: Caller, inbox: Inbox) -> None:
        sent = send(alice, inbox, ANN, "ben@example.org")
        deliver(complaint(message_id=sent["message_id_header"]), inbox, envelope_sender="fbl@mailbox.example")
        assert events(alice, sent, "message.complained") == []
        assert report_of(alice, inbox)["thread_id"] == sent["thread_id"]


@pytest.mark.one_profile
class TestAutomaticAnswers:
    def test_one_is_a_message_of_its_thread(self, alice: Caller, inbox: Inbox, sent: dict[str, Any]) -> None:
        come_back(away(ANN, In_Reply_To=sent["message_id_header"]), return_path(sent))
        assert alice.messages(inbox)[0]["thread_id"] == sent["thread_id"]
        assert alice.messages(inbox)[0]["status"] == "received"
        assert now(alice, sent)["status"] != "bounced"

    def test_the_tag_leads_to_the_thread_where_headers_do_not(
        self, alice: Caller, inbox: Inbox, sent: dict[str, Any]
    ) -> None:
        come_back(away(ANN), return_path(sent))
        assert alice.messages(inbox)[0]["thread_id"] == sent["thread_id"]


@pytest.mark.one_profile
class TestReplyTags:
    @pytest.fixture(autouse=True)
    def switched_on(self, settings: Any) -> None:
        settings.REPLY_TAGS = True

    def reply_to(self, sent: dict[str, Any]) -> str:
        return str(Message.objects.get(pk=sent["id"]).reply_to[0]["address"])

    def test_an_answer_without_headers_finds_its_thread(self, alice: Caller, inbox: Inbox) -> None:
        sent = send(alice, inbox, ANN)
        assert b"Reply-To: " in bytes(OutboundMail.objects.get(message_id=sent["id"]).raw)
        deliver(mail(From=ANN, Subject="Lost"), self.reply_to(sent))
        (answer,) = alice.messages(inbox, direction="inbound")
        assert answer["thread_id"] == sent["thread_id"]
        told = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{answer['id']}/explain").json()["data"]
        assert told["thread"]["rule"] == "reply_by_tag"

    def test_a_stranger_gets_into_no_thread_by_it(self, alice: Caller, inbox: Inbox) -> None:
        sent = send(alice, inbox, ANN)
        deliver(mail(From="eve@example.net"), self.reply_to(sent))
        assert alice.messages(inbox)[0]["thread_id"] != sent["thread_id"]

    def test_an_author_s_own_reply_to_stays(self, alice: Caller, inbox: Inbox) -> None:
        body = {"to": [ANN], "subject": "x", "body_text": "y", "reply_to": ["desk@example.com"]}
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", body)
        if answer.status_code == 400:
            pytest.skip("the API takes no reply_to")
        assert [person["address"] for person in Message.objects.latest("sequence").reply_to] == ["desk@example.com"]


@pytest.mark.one_profile
class TestReturnPaths:
    def test_it_is_the_inbox_with_a_tag(self, inbox: Inbox, sent: dict[str, Any]) -> None:
        local_part, _, domain = inbox.address.partition("@")
        assert return_path(sent).startswith(f"{local_part}+b.")
        assert return_path(sent).endswith(f"@{domain}")

    def test_it_can_be_switched_off(self, alice: Caller, inbox: Inbox, settings: Any) -> None:
        settings.BOUNCE_TAGS = False
        assert return_path(send(alice, inbox, ANN)) == inbox.address

    def test_a_long_name_has_no_room_for_one(self, alice: Caller) -> None:
        inbox = alice.create_inbox(username="a" * 40)
        assert return_path(send(alice, inbox, ANN)) == inbox.address

    def test_mail_that_is_not_read_twice_is_all_mail(self, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("delivery.inbound.process.read_report", lambda raw: pytest.fail("it was read again"))
        deliver(mail(), inbox)
        assert InboundMail.objects.get().state == "processed"
