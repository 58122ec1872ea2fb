"""From raw bytes to what they report: many senders, no database."""

import base64
import json
from itertools import pairwise
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from delivery.inbound.reports import Kind, read_report
from delivery.inbound.reports.codes import better_status, find_reply, find_status, own_status
from delivery.inbound.reports.engine import _read
from delivery.inbound.reports.signs import may_report
from delivery.inbound.reports.text import decoded
from tests.delivery.inbound.reports.bounces import DAEMON, away, bounce, complaint, words
from tests.mailing import mail

FIXTURES = Path(__file__).parents[3] / "fixtures" / "reports"
EXPECTED: dict[str, list[list[str]]] = json.loads((FIXTURES / "expected.json").read_text())

pytestmark = pytest.mark.one_profile


def read(name: str) -> list[list[str]]:
    report = _read(decoded((FIXTURES / name).read_bytes()))
    return [[r.address, r.action, r.status, r.smtp_code, r.reason] for r in (report.recipients if report else ())]


def test_it_reads_what_many_servers_write() -> None:
    assert {name: read(name) for name in EXPECTED} == EXPECTED


class TestBounces:
    def test_it_tells_all_of_a_report(self) -> None:
        report = read_report(bounce("Ann@example.org", message_id="<1@us.example>"))
        assert report is not None
        assert (report.kind, report.message_id, report.reporting_mta) == (
            *(Kind.BOUNCE, "<1@us.example>", "mx.example.net"),
        )
        assert (report.returned["subject"], report.returned["message-id"]) == ("Hello", "<1@us.example>")
        (recipient,) = report.recipients
        assert (recipient.address, recipient.remote_mta, recipient.diagnostic) == (
            *("ann@example.org", "mx.example.org", "550 5.1.1 user unknown"),
        )
        assert recipient.hard_bounce

    def test_a_report_of_internationalised_mail_is_one(self) -> None:
        raw = bounce("ann@example.org").replace(b"message/delivery-status", b"message/global-delivery-status")
        report = read_report(raw)
        assert report is not None
        assert report.recipients[0].reason == "userunknown"

    @pytest.mark.parametrize(
        ("said", "status", "reason", "is_hard"),
        [
            ("550 5.1.1 user unknown", "5.1.1", "userunknown", True),
            ("550 5.1.2 Host unknown", "5.1.2", "hostunknown", True),
            ("551 5.1.6 has been replaced by bob@example.org", "5.1.6", "hasmoved", True),
            ("552 5.2.2 Mailbox full", "5.2.2", "mailboxfull", False),
            ("552 5.3.4 Message too big for system", "5.3.4", "mesgtoobig", False),
            ("554 5.7.1 This message appears to be spam", "5.7.1", "spamdetected", False),
            ("550 5.7.26 unauthenticated mail", "5.7.26", "authfailure", False),
            ("556 5.1.10 null MX", "5.1.10", "notaccept", True),
            ("550 5.7.1 Client host blocked using zen.example", "5.7.1", "blocked", False),
            ("421 4.7.0 too many connections", "4.7.0", "toomanyconn", False),
            ("550 5.7.25 no PTR record found.", "5.7.25", "requireptr", False),
        ],
    )
    def test_the_reason_is_what_the_server_says(self, said: str, status: str, reason: str, is_hard: bool) -> None:
        report = read_report(bounce("ann@example.org", said=said, status=status))
        assert report is not None
        assert (report.recipients[0].reason, report.recipients[0].hard_bounce) == (reason, is_hard)

    def test_nothing_is_reported_by_what_is_none(self) -> None:
        for raw in (mail(), mail(Subject="About mail", body="write to: foo@example.com\n"), b"", b"\0", b"\n\n"):
            assert read_report(raw) is None


class TestOthers:
    def test_a_complaint_names_who_complained(self) -> None:
        report = read_report(complaint("ann@example.org", message_id="<1@us.example>"))
        assert report is not None
        assert (report.kind, report.complained, report.message_id) == (
            *(Kind.COMPLAINT, ("ann@example.org",), "<1@us.example>"),
        )

    def test_an_answer_of_a_program_is_none_of_a_server(self) -> None:
        report = read_report(away("Ann <ann@example.org>", In_Reply_To="<1@us.example>"))
        assert report is not None
        assert (report.kind, report.recipients[0].address, report.message_ids) == (
            *(Kind.AUTO_REPLY, "ann@example.org", ("<1@us.example>",)),
        )

    def test_words_alone_do(self) -> None:
        report = read_report(words("ann@example.org"))
        assert report is not None
        assert (report.dialect, report.recipients[0].status) == ("qmail", "5.1.1")


class TestSigns:
    @pytest.mark.parametrize(
        ("envelope", "source", "headers", "looks"),
        [
            ("", "smtp", [], True),
            ("", "postmark", [], False),  # not every ESP tells the envelope
            ("ann@example.org", "smtp", [("From", "Ann <ann@example.org>"), ("Subject", "Undelivered")], False),
            ("ann@example.org", "smtp", [("From", DAEMON)], True),
            ("ann@example.org", "smtp", [("Content-Type", "multipart/report; report-type=feedback-report")], True),
            ("", "postmark", [("Return-Path", "<>")], True),
        ],
    )
    def test_it_looks_like_a_report(self, envelope: str, source: str, headers: Any, looks: bool) -> None:
        assert may_report(envelope, source, headers) is looks


class TestCodes:
    def test_a_status_is_no_address_and_no_version(self) -> None:
        assert find_status("host 5.1.1.7 says: 550 5.2.2 full") == "5.2.2"
        assert find_status("ESMTP v5.1.1 ready") == ""

    def test_a_vague_one_is_taken_where_there_is_no_other(self) -> None:
        assert (find_status("550 5.0.0 no; 5.1.1"), find_status("550 5.0.0 no")) == ("5.1.1", "5.0.0")

    def test_a_reply_stands_by_itself(self) -> None:
        assert (find_reply("port 5500: 421 later"), find_reply("192.0.2.550 said")) == ("421", "")

    def test_the_words_win_over_a_field_that_says_little(self) -> None:
        assert better_status("5.0.0", "5.1.1") == "5.1.1"
        assert better_status("5.1.1", "5.0.0") == "5.1.1"

    def test_our_own_say_the_reason(self) -> None:
        assert (own_status("userunknown"), own_status("expired", temporary=True), own_status("feedback")) == (
            *("5.0.911", "4.0.947", ""),
        )


HEAD = f"From: {DAEMON}\nSubject: %s\nContent-Type: %s\nDate: Thu, 26 Nov 2026 10:00:00 +0000\n\n"
HOSTILE = {
    "recipients": ("Undelivered Mail Returned to Sender", "text/plain", "The mail system\n", "Final-Recipient: rfc822; a@b.example\n"),
    "diagnosis": ("failure notice", "text/plain", "Hi. This is the qmail\n\n<a@b.example>:\n", "550 no such user here\n"),
    "parts": ("failure notice", 'multipart/report; boundary="x"', "", "--x\nContent-Type: text/plain\n\nhello hello\n"),
    "nested": ("failure notice", 'multipart/mixed; boundary="x"', "", '--x\nContent-Type: multipart/mixed; boundary="x"\n\n'),
    "images": ("failure notice", "text/plain", "", "Content-Type: image/png\n\n" + "a" * 40 + "--\n"),
    "tags": ("failure notice", "text/html; charset=utf-8", "<html>", "<a href='http://x"),
    "heads": ("failure notice", "text/html; charset=utf-8", "<html>", "<head><style "),
    "angles": ("failure notice", "text/plain", "Hi. This is the qmail\n", "<<<<@@@>>>: \n"),
    "long line": ("failure notice", "text/plain", "Hi. This is the qmail\n\n<a@b.example>:\n", "550 5.1.1 "),
    "ids": ("failure notice", "text/plain", "", "Message-ID: <"),
    "spaces": ("Postfix SMTP server: errors from x", "text/plain", "", "\n" + " " * 50),
    "words": ("=?utf-8?q?" * 150, "text/plain", "", "=?utf-8?q?x"),
    "office": ("Undeliverable: x", "text/plain", "Delivery has failed to these recipients or groups:\n", "a@b<mailto:"),
    "embedded": ("x", "text/plain", "", "Content-Type: message/rfc822\n\n"),
    "digits": ("failure notice", "text/plain", "Hi. This is the qmail\n\n<a@b.example>:\n", "5.1.1.1.1"),
}  # fmt: skip


class TestHostile:
    """In linear time: ten times the mail takes no more than some twenty times as long."""

    @pytest.mark.parametrize("name", HOSTILE)
    def test_it_comes_to_an_end(self, name: str) -> None:
        subject, kind, start, piece = HOSTILE[name]
        seconds = []
        for size in (60_000, 600_000):
            raw = (HEAD % (subject, kind) + start + piece * (size // len(piece)) + "\n").encode()
            began = thread_time()
            read_report(raw)
            seconds.append(thread_time() - began)
        for small, large in pairwise(seconds):
            assert large < max(0.5, 25 * small)
        assert seconds[-1] < 5

    def test_no_charset_of_a_part_takes_it_long(self) -> None:
        """Python's own punycode takes seconds for this."""
        part = "--x\nContent-Type: text/plain; charset=punycode\nContent-Transfer-Encoding: base64\n\n"
        body = base64.b64encode(b"b9a" * 200_000).decode()
        raw = (HEAD % ("failure notice", 'multipart/report; boundary="x"') + part + body + "\n--x--\n").encode()
        began = thread_time()
        read_report(raw)
        assert thread_time() - began < 2

    def test_no_report_has_recipients_without_end(self) -> None:
        report = read_report((HEAD % HOSTILE["recipients"][:2] + "The mail system\n" + "".join(
            f"Final-Recipient: rfc822; a{n}@b.example\n" for n in range(5000))).encode())  # fmt: skip
        assert report is not None
        assert len(report.recipients) == 500

    def test_nor_has_a_complaint(self) -> None:
        many = "".join(f"Original-Rcpt-To: a{n}@b.example\r\n" for n in range(5000)).encode()
        report = read_report(complaint().replace(b"Feedback-Type: abuse\r\n", b"Feedback-Type: abuse\r\n" + many))
        assert report is not None
        assert len(report.complained) == 500

    def test_what_is_too_long_is_no_address(self) -> None:
        assert read_report(bounce("a" * 100_000 + "@b.example")) is None

    def test_it_never_raises(self) -> None:
        for path in sorted(FIXTURES.glob("*.eml"))[::6]:
            raw = path.read_bytes()
            for cut in range(0, len(raw), 97):
                read_report(raw[:cut] + b"\xff\0" + raw[cut + 3 :])
