"""GET /v1/inboxes/{id}/messages and what is below one message"""

from datetime import timedelta

import pytest
import time_machine
from django.core.files.storage import default_storage
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailbot.lib.ids import new_id
from tests.cast import Caller
from tests.mailing import deliver, mail
from threads.models import Attachment


class TestList:
    def test_it_is_newest_first_with_the_whole_message(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="one"), inbox)
        deliver(mail(Subject="two", body="Your code is 482913.\n\nhttps://example.com/verify\n"), inbox)
        newest, oldest = alice.messages(inbox)
        assert (newest["subject"], oldest["subject"]) == ("two", "one")
        assert newest["codes"] == ["482913"]
        assert newest["links"] == ["https://example.com/verify"]
        assert newest["from_address"] == "customer@example.com"
        assert newest["direction"] == "inbound"
        assert newest["status"] == "received"
        assert {"name": "Subject", "value": "two"} in newest["headers"]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, ["out", "file", "plain"]),
            ({"direction": "inbound"}, ["file", "plain"]),
            ({"from": "other@"}, ["file"]),
            ({"subject": "PLA"}, ["plain"]),
            ({"has_attachment": "true"}, ["file"]),
            ({"has_attachment": "false"}, ["out", "plain"]),
            ({"to": "boss@example.com"}, ["out"]),
            ({"status": "received"}, ["file", "plain"]),
            ({"label": "ü"}, ["plain"]),
            ({"label": "urg"}, []),
            ({"after": "2020-01-01T00:00:00Z"}, ["out", "file", "plain"]),
            ({"before": "2020-01-01"}, []),
            ({"direction": "", "label": ""}, ["out", "file", "plain"]),
        ],
    )
    def test_it_filters(self, alice: Caller, query: dict[str, str], found: list[str]) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="plain"), inbox)
        alice.put(
            f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/labels", {"labels": ["urgent", "ü"]}
        )
        deliver(mail(Subject="file", From="other@example.com", attachments={"a.txt": b"x"}), inbox)
        alice.send(inbox, subject="out", to=["boss@example.com"])
        assert [message["subject"] for message in alice.messages(inbox, **query)] == found

    @pytest.mark.parametrize("text", ["\n", " \u00a0\n", "Please view this mail as HTML.\n"])
    def test_it_reads_a_code_that_stands_in_the_html_only(self, alice: Caller, text: str) -> None:
        inbox = alice.create_inbox()
        deliver(mail(body=text, html="<p>Your verification code is <b>777888</b></p>"), inbox)
        (message,) = alice.messages(inbox)
        assert message["codes"] == ["777888"]
        if not text.strip():
            assert "777888" in message["body_text"]
            assert "777888" in message["preview"]

    @pytest.mark.parametrize(
        ("to", "found"),
        [("bücher", 1), ("a@bücher.example", 1), ("boss@example.com", 1), ("name", 0), ("{", 0), ('"', 0), ("%", 0)],
    )
    def test_it_looks_for_recipients_in_their_addresses_only(self, alice: Caller, to: str, found: int) -> None:
        inbox = alice.create_inbox()
        alice.send(inbox, to="Name <a@bücher.example>", cc="boss@example.com")
        assert len(alice.messages(inbox, to=to)) == found

    def test_it_does_not_repeat_the_message_whose_time_is_given(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        assert alice.messages(inbox, after=alice.messages(inbox)[0]["created_at"]) == []

    def test_it_cuts_long_bodies_in_lists_only(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(body="word " * 20_000), inbox)
        (listed,) = alice.messages(inbox)
        whole = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{listed['id']}").json()["data"]
        thread = alice.get(f"/v1/inboxes/{inbox.pk}/threads/{listed['thread_id']}").json()["data"]
        assert len(whole["body_text"]) >= 99_999
        for cut in (listed, thread["messages"][0]):
            assert len(cut["body_text"]) == 50_000
            assert cut["trust"]["flags"] == ["body_truncated"]
        assert whole["trust"]["flags"] == []

    def test_it_lists_what_came_after_a_message(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for subject in ("one", "two", "three"):
            deliver(mail(Subject=subject), inbox)
        two = alice.messages(inbox)[1]["id"]
        assert [message["subject"] for message in alice.messages(inbox, after=two)] == ["three"]
        assert [message["subject"] for message in alice.messages(inbox, before=two)] == ["one"]

    @pytest.mark.parametrize(
        "query",
        [{"limit": "0"}, {"limit": "101"}, {"page": "0"}, {"page": "1000000000"}, {"page": "x"}, {"after": "yesterday"},
         {"after": "0001-01-01T00:00:00+14:00"}, {"before": "9999-12-31T23:59:59-14:00"}, {"cursor": "!"},
         {"direction": "up"}, {"frm": "a"}, {"cursor": "WyJhIiwiYiJd"}, {"label": "x" * 101}, {"subject": "\0"}],
    )  # fmt: skip
    def test_it_says_what_is_wrong_with_a_query(self, alice: Caller, query: dict[str, str]) -> None:
        inbox = alice.create_inbox()
        answer = alice.get(f"/v1/inboxes/{inbox.pk}/messages", **query)
        assert answer.status_code == 400
        assert answer.json()["error"]["fields"]

    def test_it_costs_the_same_number_of_queries_for_any_number_of_rows(
        self, alice: Caller, django_assert_num_queries
    ) -> None:
        inbox = alice.create_inbox()
        for number in range(5):
            deliver(mail(attachments={"a.txt": b"%d" % number, "b.txt": b"b"}), inbox)
        alice.messages(inbox)
        with django_assert_num_queries(5):  # key, inbox, rows, attachments, the entry
            alice.messages(inbox)


class TestPaging:
    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(limit=st.integers(1, 8), arrivals=st.integers(0, 3))
    def test_it_gives_every_message_once_while_others_arrive(self, alice: Caller, limit: int, arrivals: int) -> None:
        inbox = alice.create_inbox()
        for _ in range(6):
            deliver(mail(), inbox)
        there = {message["id"] for message in alice.messages(inbox)}
        seen: list[str] = []
        cursor = ""
        while True:
            answer = alice.get(f"/v1/inboxes/{inbox.pk}/messages", limit=limit, cursor=cursor).json()
            seen += [message["id"] for message in answer["data"]]
            for _ in range(arrivals if len(seen) < 6 else 0):
                deliver(mail(), inbox)
            if not (cursor := answer["meta"]["next_cursor"]):
                break
        assert len(seen) == len(set(seen))
        assert there <= set(seen)

    def test_it_keeps_the_order_of_arrival_when_the_clock_steps_back(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="first"), inbox)
        first = alice.messages(inbox)[0]["id"]
        with time_machine.travel(timezone.now() - timedelta(hours=1)):
            deliver(mail(Subject="second"), inbox)
        assert [message["subject"] for message in alice.messages(inbox)] == ["second", "first"]
        assert [message["subject"] for message in alice.messages(inbox, after=first)] == ["second"]

    def test_it_pages_by_number_too(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for number in range(5):
            deliver(mail(Subject=str(number)), inbox)
        answer = alice.get(f"/v1/inboxes/{inbox.pk}/messages", page=2, limit=2).json()
        assert [message["subject"] for message in answer["data"]] == ["2", "1"]
        assert (answer["meta"]["page"], answer["meta"]["limit"], answer["meta"]["total"]) == (2, 2, 5)


class TestMessage:
    @pytest.mark.parametrize("suffix", ["", "/raw", "/explain"])
    def test_it_is_404_for_a_stranger_and_under_another_inbox(
        self, alice: Caller, charlie: Caller, suffix: str
    ) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        deliver(mail(), inbox)
        message = alice.messages(inbox)[0]["id"]
        assert alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message}{suffix}").status_code == 200
        assert charlie.get(f"/v1/inboxes/{inbox.pk}/messages/{message}{suffix}").status_code == 404
        assert alice.get(f"/v1/inboxes/{other.pk}/messages/{message}{suffix}").status_code == 404
        for unheard_of in (new_id("msg"), "%00", "x" * 1000, "%F0%9F%92%A9"):
            assert alice.get(f"/v1/inboxes/{inbox.pk}/messages/{unheard_of}{suffix}").status_code == 404

    def test_it_gives_the_raw_bytes_as_they_came(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        raw = b"Subject: odd\nFrom: a@example.com\r\n\r\n\0\xff bare\rreturns\nand feeds\r\n"
        deliver(raw, inbox)
        answer = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/raw")
        assert answer.content == raw
        assert answer.headers["Content-Type"] == "message/rfc822"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

    def test_it_shows_a_mail_that_cannot_be_read_with_the_reason(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(b"To: " + b"(" * 100_000 + b"\r\n\r\nbody\0\r\n", inbox)
        message = alice.messages(inbox)[0]
        assert message["body_text"].startswith("body�")
        if message["degraded_reason"]:
            assert "degraded" in message["trust"]["flags"]


class TestAttachments:
    def test_it_gives_the_bytes_as_a_download(self, alice: Caller, charlie: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(attachments={"Rechnung ü.html": b"<script>alert(1)</script>"}), inbox)
        message = alice.messages(inbox)[0]
        (attachment,) = message["attachments"]
        path = f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/attachments/{attachment['id']}"
        answer = alice.get(path)
        assert answer.content == b"<script>alert(1)</script>"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert "filename*=UTF-8''Rechnung%20%C3%BC.html" in answer.headers["Content-Disposition"]
        assert charlie.get(path).status_code == 404

    def test_it_says_that_a_file_is_gone(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(attachments={"a.bin": b"lost from the storage"}), inbox)
        message = alice.messages(inbox)[0]
        default_storage.delete(Attachment.objects.get().storage_name)
        path = f"/v1/inboxes/{inbox.pk}/messages/{message['id']}"
        assert alice.get(f"{path}/attachments/{message['attachments'][0]['id']}").status_code == 410
        assert alice.post(f"{path}/forward", {"to": "a@example.com"}).status_code == 410

    def test_it_stores_one_content_once_within_an_account(self, alice: Caller, tmp_path: object) -> None:
        inbox = alice.create_inbox()
        for _ in range(2):
            deliver(mail(attachments={"a.bin": b"the same"}), inbox)
        names = {(a["sha256"], a["id"]) for message in alice.messages(inbox) for a in message["attachments"]}
        assert len({sha for sha, _ in names}) == 1
        assert len(names) == 2


class TestLabels:
    def test_it_replaces_them(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        path = f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/labels"
        assert alice.put(path, {"labels": ["a", "b", "a"]}).json()["data"]["labels"] == ["a", "b"]
        assert alice.put(path, {"labels": []}).json()["data"]["labels"] == []
        assert alice.get("/v1/audit-log", action="message.labelled").json()["meta"]["total"] == 2

    @pytest.mark.parametrize("labels", ["a", [1, None], ["x" * 10_000], ["a"] * 101, [""], ["a\0"], None])
    def test_it_refuses_what_are_no_labels(self, alice: Caller, labels: object) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        path = f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/labels"
        assert alice.put(path, {"labels": labels}).status_code == 400

    def test_it_is_404_for_a_stranger(self, alice: Caller, charlie: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        message = alice.messages(inbox)[0]
        assert (
            charlie.put(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/labels", {"labels": ["x"]}).status_code == 404
        )
        assert alice.messages(inbox)[0]["labels"] == []
