"""Conversations as PDF in a bundle: what they say, that nothing else gets in, and that no mail makes them long."""

import io
import re
import time
from typing import Any

import pytest
from pypdf import PdfReader
from pypdf.generic import DictionaryObject, IndirectObject

from inboxes.models import Inbox
from tests.audit.bundles import EXPORTS, made
from tests.cast import Caller
from tests.mailing import deliver, mail
from threads.models import Message, Thread
from threads.transcripts_pdf import transcript_pdf

pytestmark = [pytest.mark.django_db, pytest.mark.one_profile]
SCRIPTS = {
    "Latin": "Grüße aus Łódź, señor",
    "Greek": "Καλημέρα",
    "Cyrillic": "Здравствуйте",
    "Chinese": "你好世界",
    "Japanese": "こんにちは",
    "Korean": "안녕하세요",
    "Thai": "สวัสดี",
}
ACTIVE = (
    "/JS",
    "/JavaScript",
    "/AA",
    "/OpenAction",
    "/Annots",
    "/URI",
    "/Launch",
    "/EmbeddedFile",
    "/XObject",
    "/AcroForm",
)


def pdf_of(caller: Caller, inbox: Inbox) -> bytes:
    bundle = made(caller, inbox_id=inbox.pk, include=["threads_pdf"])
    (name,) = [name for name in bundle.namelist() if name.endswith(".pdf")]
    assert name.startswith(f"threads/{inbox.pk}/thread_")
    return bundle.read(name)


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def says(caller: Caller, body: str, **headers: Any) -> str:
    inbox = caller.create_inbox()
    deliver(mail(body=body, **headers), inbox)
    return text_of(pdf_of(caller, inbox))


class TestWhatItSays:
    def test_it_is_the_whole_conversation(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="Invoice 42", Message_ID="<first@example.com>", body="Where is it?\n"), inbox)
        deliver(mail(Subject="Re: Invoice 42", In_Reply_To="<first@example.com>", body="Found it.\n"), inbox)
        found = text_of(pdf_of(alice, inbox))
        assert found.index("Where is it?") < found.index("Found it.")
        assert "Customer <customer@example.com>" in found
        assert str(Thread.objects.get().pk) in found
        assert all(str(pk) in found for pk in Message.objects.values_list("pk", flat=True))

    @pytest.mark.parametrize("script", SCRIPTS)
    def test_it_has_letters_of_many_scripts(self, alice: Caller, script: str) -> None:
        assert SCRIPTS[script] in says(alice, SCRIPTS[script] + "\n")

    def test_what_is_read_from_the_right_is_joined_and_can_be_copied_as_it_was_written(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(body="السلام (abc)\n"), inbox)
        reader = PdfReader(io.BytesIO(pdf_of(alice, inbox)))
        drawn = b"".join(page.get_contents().get_data() for page in reader.pages)  # type: ignore[union-attr]
        spoken = [
            bytes.fromhex(found.decode()).decode("utf-16") for found in re.findall(rb"/ActualText <(\w+)>", drawn)
        ]
        assert spoken == ["السلام (abc)"]
        assert re.search("[\ufe70-\ufefc]", text_of(pdf_of(alice, inbox)))  # the forms in which letters are joined

    def test_what_no_font_has_is_marked(self, alice: Caller) -> None:
        assert "a \ufffd b" in says(alice, "a 😀 b\n")


class TestHostileMail:
    def test_markup_is_text(self, alice: Caller) -> None:
        body = (
            "<script>alert(1)</script> (x) Tj ET \\) /JS endstream endobj\nhttps://evil.example/ javascript:alert(1)\n"
        )
        inbox = alice.create_inbox()
        deliver(mail(Subject="(a) /AA <</JS (x)>> \\", body=body, html="<img src=https://evil.example/p.png>"), inbox)
        pdf = pdf_of(alice, inbox)
        assert "<script>alert(1)</script> (x) Tj ET \\) /JS endstream endobj" in text_of(pdf)
        names = _names(pdf)
        assert {"/Contents", "/FontFile2"} <= names
        assert not names & set(ACTIVE)

    def test_what_would_turn_text_around_or_not_be_seen_is_spelt_out(self, alice: Caller) -> None:
        found = says(alice, "invoice\u202efdp.exe\x07\x1b[2J\n")
        assert "invoice[U+202E]fdp.exe[U+0007][U+001B][2J" in found

    @pytest.mark.parametrize(
        "char", ["a\u0301\u0301\u0301", "क\u094d", "\u202e", "\u05d0 (", "\u200d", "\ue000", "a\n", "漢"]
    )
    def test_none_holds_the_worker_up(self, alice: Caller, char: str) -> None:
        inbox = alice.create_inbox()
        deliver(mail(body="short\n"), inbox)
        Message.objects.filter(inbox=inbox).update(body_text=char * (10_000_000 // len(char)))
        before = time.process_time()
        pdf = pdf_of(alice, inbox)
        assert time.process_time() - before < 30
        assert len(pdf) < 1_000_000
        assert "Cut here: this message has" in text_of(pdf)

    def test_one_that_cannot_be_drawn_keeps_no_export_from_being_made(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise ValueError("a fault of the library")

        monkeypatch.setattr("threads.transcripts_pdf.facts_of", fail)
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        assert "This conversation cannot be drawn." in text_of(pdf_of(alice, inbox)).replace("\n", " ")

    def test_a_conversation_ends_after_so_many_pages(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("threads.transcripts_pdf.MOST_PAGES", 2)
        inbox = alice.create_inbox()
        deliver(mail(body="line\n" * 500), inbox)
        pdf = pdf_of(alice, inbox)
        assert len(PdfReader(io.BytesIO(pdf)).pages) == 2
        assert "this conversation is longer than 2 pages" in text_of(pdf)


class TestBundle:
    def test_the_same_conversation_is_the_same_octets(self, alice: Caller) -> None:
        """Whatever was drawn between: joined letters are numbered as they come."""
        first, other = alice.create_inbox(), alice.create_inbox()
        deliver(mail(body="हिन्दी क्षत्रिय 漢字\n"), first)
        deliver(mail(body="தமிழ் বাংলা ক্ষ 한국어\n"), other)
        here, there = Thread.objects.get(inbox=first), Thread.objects.get(inbox=other)
        before = transcript_pdf(here, first, "export_x")
        transcript_pdf(there, other, "export_x")
        assert transcript_pdf(here, first, "export_x") == before

    def test_pages_and_pdf_come_together(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        bundle = made(alice, inbox_id=inbox.pk, include=["messages", "threads", "threads_pdf"])
        ends = sorted(name.rpartition(".")[2] for name in bundle.namelist() if name.startswith("threads/"))
        assert ends == ["html", "pdf"]
        assert "conversations as PDF" in bundle.read("README.txt").decode()

    def test_it_takes_the_right_to_read_mail(self, alice: Caller) -> None:
        auditor = alice.with_key(permissions=["audit:read"])
        assert auditor.post(EXPORTS, {"reason": "x", "include": ["threads_pdf"]}).status_code == 403


def _names(pdf: bytes) -> set[str]:
    """The keys of all dictionaries in it."""
    reader = PdfReader(io.BytesIO(pdf))
    found: set[str] = set()
    for number in reader.xref[0]:
        one = reader.get_object(IndirectObject(number, 0, reader))
        found |= {str(key) for key in one} if isinstance(one, DictionaryObject) else set()
    return found
