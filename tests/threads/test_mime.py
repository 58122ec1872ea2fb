"""One mail, one promise: what `parse_mail` makes of ordinary and less ordinary mail."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from threads.mime import Address, ParsedMail, parse_mail
from threads.mime_names import MAX_NAME, safe_name

pytestmark = pytest.mark.one_profile

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "mail"


def parsed(name: str) -> ParsedMail:
    return parse_mail((FIXTURES / f"{name}.eml").read_bytes())


class TestHeaders:
    def test_it_reads_the_envelope_of_a_reply(self):
        mail = parsed("alternative")
        assert mail.message_id == "<one@example.org>"
        assert mail.in_reply_to == ("<zero@example.com>",)
        assert mail.references == ("<root@example.com>", "<zero@example.com>")
        assert mail.sent_at == datetime(2025, 2, 3, 10, 0, tzinfo=UTC)
        assert mail.subject == "Grüße aus Köln"
        assert mail.degraded == ""

    def test_it_reads_addresses(self):
        mail = parsed("alternative")
        assert mail.sender == Address("Ann Example", "ann@example.org")
        assert mail.to == (Address("Bob", "bob@example.com"),)
        assert mail.cc == (Address("Carl, the third", "carl@example.com"), Address("", "dora@example.com"))
        assert mail.reply_to == (Address("Support", "support@example.org"),)

    def test_it_keeps_all_headers_in_order_and_unfolded(self):
        headers = parsed("alternative").headers
        assert [name for name, _ in headers][:4] == ["From", "To", "Date", "Message-ID"]
        assert ("References", "<root@example.com> <zero@example.com> <zero@example.com>") in headers

    def test_it_reads_raw_utf8_and_groups(self):
        mail = parsed("raw_utf8")
        assert mail.sender == Address("Jürgen Müller", "jürgen@müller.example")
        assert mail.to == (Address("Zoë", "zoe@example.com"), Address("", "max@example.com"))
        assert mail.subject == "Grüße 👋"
        assert mail.body_text == "blå\n"

    def test_it_puts_brackets_around_a_bare_message_id(self):
        assert parsed("raw_utf8").message_id == "<one-without-brackets@example.org>"

    def test_it_has_no_time_for_an_impossible_date(self):
        assert parsed("raw_utf8").sent_at is None

    def test_it_reads_broken_encoded_words_as_far_as_they_go(self):
        mail = parsed("broken_words")
        assert mail.subject == "äöää a=?b why? and not"
        assert mail.sender == Address("Foo, Bar", "foo@example.org")

    def test_it_reads_old_and_odd_addresses(self):
        assert parsed("broken_words").to == (
            Address("Jürgen", "j@example.com"),
            Address('Quoted "Nick" Name', "q@example.com"),
            Address("Old Style", "old@example.com"),
        )

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("a@b.example", [("", "a@b.example")]),
            (" <a@b.example>", [("", "a@b.example")]),
            ('"O\'Hara, J" <a@b.example>', [("O'Hara, J", "a@b.example")]),
            ("a@b.example <c@d.example>", [("a@b.example", "c@d.example")]),
            ('"joe blow"@b.example', [("", '"joe blow"@b.example')]),
            ("A <@relay.example,@x.example:a@b.example>", [("A", "a@b.example")]),
            ("a@[192.0.2.1], b@[IPv6:2001:db8::1]", [("", "a@[192.0.2.1]"), ("", "b@[IPv6:2001:db8::1]")]),
            ("undisclosed-recipients:;", []),
            ("mailto:a@b.example", [("", "a@b.example")]),
            ("a@b.example; c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
            ('"Unclosed <a@b.example>, c@d.example', [("Unclosed", "a@b.example"), ("", "c@d.example")]),
            ("Just a Name", [("Just a Name", "")]),
            ("Nested (one (two) three) <a@b.example>", [("Nested", "a@b.example")]),
            ("[List] A <a@b.example>", [("[List] A", "a@b.example")]),
            ("a@b.example A Name", [("A Name", "a@b.example")]),
            (",,, a@b.example ,", [("", "a@b.example")]),
            ("", []),
        ],
    )
    def test_it_reads_addresses_as_they_are_written(self, written: str, read: list[tuple[str, str]]):
        assert parse_mail(f"To: {written}\n\n".encode()).to == tuple(Address(*one) for one in read)

    def test_it_joins_repeated_address_fields(self):
        mail = parse_mail(b"To: a@b.example\nTo: c@d.example\nFrom: \nFrom: x@y.example\n\n")
        assert [one.address for one in mail.to] == ["a@b.example", "c@d.example"]
        assert mail.sender.address == "x@y.example"

    @pytest.mark.parametrize("name", ["In-Reply-To", "References"])
    def test_it_finds_message_ids_in_prose(self, name: str):
        mail = parse_mail(f"{name}: Your mail of Monday <a@b.example> (was: <c\n d@e.example>)\n\n".encode())
        assert (mail.in_reply_to or mail.references) == ("<a@b.example>", "<cd@e.example>")

    def test_it_skips_mbox_lines(self):
        assert parse_mail(b"From a@b.example Mon Feb  3 11:00:00 2025\nSubject: x\n\n").subject == "x"


class TestBodies:
    def test_it_reads_both_alternatives(self):
        mail = parsed("alternative")
        assert mail.body_text == "Grüße aus Köln\n"
        assert mail.body_html == "<p>Grüße aus Köln</p>"
        assert mail.attachments == ()

    def test_it_shows_further_texts_in_both_bodies(self):
        mail = parsed("mixed_related")
        assert mail.body_text == "See the logo.\nA footer of the mailing list."
        assert mail.body_html.endswith("<pre>A footer of the mailing list.\n</pre>")

    def test_it_renders_html_when_there_is_no_text(self):
        mail = parsed("html_only")
        assert mail.body_text.split() == "Hello Two words & a link a b".split()
        assert mail.body_html.startswith("<html>")

    def test_it_undoes_flowed_text(self):
        expected = "This paragraph goes on to here.\n>not a quote\n> quoted words\n-- \nAnn\n"
        assert parsed("flowed").body_text == expected

    def test_it_reads_undeclared_latin1(self):
        mail = parsed("latin1_undeclared")
        assert (mail.subject, mail.sender.name) == ("Die Frösche", "Jürgen")
        assert "saßen am Teich" in mail.body_text

    def test_it_detects_an_undeclared_charset(self):
        assert "Привет" in parsed("koi8_undeclared").body_text

    @pytest.mark.parametrize("charset", ["no-such-charset", "zlib", "punycode", ""])
    def test_it_detects_when_the_declared_charset_is_none(self, charset: str):
        mail = parse_mail(f"Content-Type: text/plain; charset={charset}\n\nGrüße\n".encode())
        assert mail.body_text == "Grüße\n"

    def test_it_reads_windows_quotes_labelled_latin1(self):
        mail = parse_mail(b"Content-Type: text/plain; charset=iso-8859-1\n\n\x93so\x94\n")
        assert mail.body_text == "\u201cso\u201d\n"

    def test_it_marks_a_few_broken_bytes_only(self):
        mail = parse_mail(b"Content-Type: text/plain; charset=utf-8\n\n" + "ä".encode() * 50 + b"\xff\n")
        assert mail.body_text == "ä" * 50 + "\ufffd\n"


class TestAttachments:
    def test_it_reads_inline_images_and_encoded_names(self):
        logo, report = parsed("mixed_related").attachments
        assert (logo.filename, logo.content_id, logo.disposition) == ("logo.png", "logo@example.org", "inline")
        assert (report.filename, report.disposition) == ("Übersicht für Bob.pdf", "attachment")
        assert report.content == b"%PDF-1.4\n"
        assert report.sha256 == hashlib.sha256(report.content).hexdigest()

    def test_it_keeps_forwarded_messages_whole(self):
        first, second, report = parsed("forwarded").attachments
        assert first.filename == "Is 1_2 enough_.eml"
        assert first.content.startswith(b"From: Carl")
        assert first.content.endswith(b"--inner--\n")
        assert (second.filename, second.content) == ("message.eml", b"To: nobody\n\nNo subject here.")
        assert (report.filename, report.content_type) == ("attachment-3.txt", "message/delivery-status")

    def test_it_decodes_uuencode(self):
        (attached,) = parsed("uuencoded").attachments
        assert attached.content == b"hello world"

    def test_it_makes_names_safe(self):
        names = [one.filename for one in parsed("names").attachments]
        assert names == [
            "passwd",
            "notes.txt",
            "attachment-3.pdf",
            "htaccess",
            "_con.txt",
            "a" * 145 + ".docx",
            "attachment-7.jpg",
            "fdp.exe",
            "two words.txt",
            "attachment-10.bin",
        ]

    @pytest.mark.parametrize("name", ["", ".", "..", "/", "...", "\\", " . ", "\u202e", "\u200b"])
    def test_it_has_no_name_where_nothing_is_left(self, name: str):
        assert safe_name(name) == ""

    @pytest.mark.parametrize("name", ["NUL", "com1.txt", "Lpt9.tar.gz", "aux."])
    def test_it_renames_what_windows_reserves(self, name: str):
        assert safe_name(name).startswith("_")

    def test_it_caps_names_without_extension(self):
        assert len(safe_name("x" * 1000)) == MAX_NAME
