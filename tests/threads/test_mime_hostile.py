"""Mail made to break a parser: nothing may raise, take long, or leave text that a database refuses."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threads.mime import Address, ParsedAttachment, ParsedMail, parse_mail

pytestmark = pytest.mark.one_profile

# Seconds of CPU. The slowest takes a few tenths of one; quadratic time on these sizes takes minutes.
PATIENCE = 5.0
MEGABYTE = 1_000_000


def nested(depth: int) -> bytes:
    opening = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
    return opening + b"Content-Type: text/plain\n\ninnermost\n"


def header(name: str, value: bytes) -> bytes:
    return name.encode() + b": " + value + b"\nSubject: still read\n\nbody\n"


def part_of_type(content_type: bytes, body: bytes) -> bytes:
    return b"Subject: still read\nContent-Type: " + content_type + b"\n\n" + body


MULTIPART = b"Subject: still read\nContent-Type: multipart/mixed; boundary=b\n\n"

HOSTILE = {
    "nothing": b"",
    "only line breaks": b"\r\n" * 1000,
    "NUL": b"\x00" * 1000,
    "100,000 parts": MULTIPART + b"--b\n\nx\n" * 100_000,
    "100,000 delimiters in a row": MULTIPART + b"--b\n" * 100_000,
    "delimiters that are none": MULTIPART + b"x--b" * 250_000,
    "delimiters with a tail": MULTIPART + b"--bx\n" * 200_000,
    "delimiter with endless blanks": MULTIPART + b"--b" + b" " * MEGABYTE + b"x",
    "delimiters separated by CR": MULTIPART + b"--b x\r" * 200_000,
    "nested 5,000 deep": nested(5_000),
    "nested 40 deep around a megabyte": nested(40) + b"x\n" * 500_000,
    "messages in messages": b"Content-Type: message/rfc822\n\n" * 50_000,
    "100,000 headers": b"X-A: b\n" * 100_000 + b"\nbody",
    "100,000 To fields": b"To: a@b.example\n" * 100_000 + b"\nbody",
    "one header of 10 MB": header("X-Long", b"a" * 10 * MEGABYTE),
    "10 MB of headers": b"X-Header: some value\n" * 500_000 + b"\nbody",
    "10 MB of folds": header("X-Fold", b"a\n " * 3_000_000),
    "comments opened": header("To", b"(" * 100_000),
    "comments opened early": b"To: ((((\nFrom: ((((\nSubject: ((((\n\n",
    "quotes opened": header("To", b'"\\' * 100_000),
    "quotes": header("To", b'"' * 100_001),
    "angles opened": header("To", b"<" * 100_000),
    "brackets opened": header("To", b"[" * 100_000),
    "commas": header("To", b"," * 100_000),
    "colons": header("To", b":" * 100_000),
    "at signs": header("To", b"@" * 100_000),
    "blanks": header("To", b"a" + b" " * 100_000 + b"b"),
    "blanks before folds": header("Subject", b"a" + b" " * 100_000 + b"b" + b" " * 100_000 + b"\n c"),
    "words without an address": header("To", b"a" * 100_000 + b" @ " + b"b" * 50_000),
    "50,000 addresses": header("To", b"a@b.example, " * 50_000),
    "encoded words never closed": header("Subject", b"=?utf-8?q?" * 20_000),
    "encoded words half closed": header("Subject", b"=?utf-8?q?a?" * 20_000),
    "encoded words": header("Subject", b"=?utf-8?q?=C3?= " * 10_000),
    "encoded words of many charsets": header("Subject", b"".join(b"=?x-%d?b?/w==?= " % n for n in range(10_000))),
    "encoded words opened in addresses": header("To", b"=?a?q" * 40_000),
    "message ids": header("References", b"<" + b"<a@b> " * 40_000),
    "a date of digits": header("Date", b"1" * 200_000),
    "parameters": part_of_type(b"text/plain" + b"; a=b" * 50_000, b"x"),
    "parameters opened": part_of_type(b"text/plain" + b'; a="' * 50_000, b"x"),
    "parameter blanks": part_of_type(b"text/plain;" + b" " * 200_000 + b";" + b"a" * 50_000, b"x"),
    "parameter segments": part_of_type(b"text/plain" + b"".join(b"; name*%d*=%%C3" % n for n in range(20_000)), b"x"),
    "type of blanks": part_of_type(b" " * 200_000, b"x"),
    "punycode": part_of_type(b"text/plain; charset=punycode", b"a-" + b"9" * 200_000),
    "idna": part_of_type(b"text/plain; charset=idna", b"xn--" + b"a" * 200_000),
    "escapes": part_of_type(b"text/plain; charset=unicode_escape", b"\\ud800\\q\\N{DIGIT ONE}"),
    "lone surrogates by UTF-7": part_of_type(b"text/plain; charset=utf-7", b"+2AA-"),
    "no text encoding": part_of_type(b"text/plain; charset=zlib", b"x\xff"),
    "all bytes": part_of_type(b"text/plain", bytes(range(256)) * 4_000),
    "deep HTML": part_of_type(b"text/html", b"<div>" * 200_000),
    "deep tables": part_of_type(b"text/html", b"<table><tr><td>" * 20_000),
    "tags opened": part_of_type(b"text/html", b"<" * MEGABYTE),
    "styles opened": part_of_type(b"text/html", b"<style>" * 150_000),
    "flowed": part_of_type(b"text/plain; format=flowed", b"> a \n" * 200_000),
    "flowed quotes": part_of_type(b"text/plain; format=flowed", b">" * MEGABYTE),
    "bad base64": part_of_type(b"text/plain\nContent-Transfer-Encoding: base64", b"=" * MEGABYTE),
    "bad quoted-printable": part_of_type(b"text/plain\nContent-Transfer-Encoding: quoted-printable", b"=" * MEGABYTE),
    "bad uuencode": part_of_type(b"text/plain\nContent-Transfer-Encoding: x-uuencode", b"begin 644 x\n" * 80_000),
    "a name of dots": part_of_type(b'application/x; name="' + b"../" * 50_000 + b'"', b"x"),
    "line breaks in an encoded subject": b"Subject: =?utf-8?q?a=0D=0ABcc:_x=40y?=\n\n",
    "surrogates in an encoded subject": b"Subject: =?utf-7?q?+2AA-?= =?utf-16?b?2AAAAA==?=\n\n",
    "raw bytes everywhere": b"\xff\xfe: \xff\nFrom: \xc3\x28 <\xff@\xff>\nMessage-ID: <\xff\x00>\n\n\xff\x00",
}


def texts(value: object) -> list[str]:
    """Every text in a parsed mail, however deep."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, (ParsedMail, Address, ParsedAttachment)):
        return [text for one in dataclasses.fields(value) for text in texts(getattr(value, one.name))]
    return [text for one in value for text in texts(one)] if isinstance(value, tuple) else []


def assert_sound(mail: ParsedMail) -> None:
    assert "unreadable" not in mail.flags
    for text in texts(mail):
        assert "\x00" not in text
        text.encode("utf-8")  # raises on a lone surrogate
    for line in (mail.subject, mail.message_id, mail.degraded, *texts(mail.headers), *texts((mail.sender, mail.to))):
        assert not set("\r\n") & set(line)
    assert all(one.filename and not set("/\\") & set(one.filename) for one in mail.attachments)
    assert mail.sent_at is None or mail.sent_at.tzinfo is UTC


class TestHostileMail:
    @pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
    def test_it_is_read_soundly_and_soon(self, raw):
        began = time.thread_time()
        mail = parse_mail(raw)
        assert time.thread_time() - began < PATIENCE
        assert_sound(mail)

    @pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
    def test_it_is_read_with_crlf_too(self, raw):
        assert_sound(parse_mail(raw[:200_000].replace(b"\n", b"\r\n")))

    def test_it_caps_parts_and_says_so(self):
        mail = parse_mail(HOSTILE["100,000 parts"])
        assert "parts_capped" in mail.flags
        assert "too many parts" in mail.degraded
        assert mail.subject == "still read"

    def test_it_caps_depth_and_keeps_the_innermost_as_text(self):
        mail = parse_mail(nested(5_000))
        assert "depth_capped" in mail.flags
        assert "innermost" in mail.body_text

    def test_it_caps_headers_and_still_finds_the_body(self):
        mail = parse_mail(HOSTILE["10 MB of headers"])
        assert "headers_capped" in mail.flags
        assert len(mail.headers) == 1_000
        assert mail.body_text == "body"

    def test_it_caps_addresses_and_says_so(self):
        mail = parse_mail(HOSTILE["50,000 addresses"])
        assert len(mail.to) == 1_000
        assert "addresses_capped" in mail.flags

    def test_it_keeps_the_first_and_the_last_references(self):
        ids = [f"<{n}@example.org>" for n in range(500)]
        mail = parse_mail(header("References", " ".join(ids).encode()))
        assert mail.references == (ids[0], *ids[-99:])

    def test_it_lets_no_header_in_through_an_encoded_word(self):
        mail = parse_mail(HOSTILE["line breaks in an encoded subject"])
        assert mail.subject == "a Bcc: x@y"
        assert mail.bcc == ()

    def test_it_is_degraded_without_a_header(self):
        mail = parse_mail(b"just words, and nothing else\n")
        assert mail.flags == ("no_headers",)
        assert mail.body_text == "just words, and nothing else\n"

    def test_it_shows_the_text_of_a_multipart_without_boundary(self):
        mail = parse_mail(part_of_type(b"multipart/mixed", b"what is left\n"))
        assert mail.body_text == "what is left\n"
        assert "boundary" in mail.degraded

    def test_it_says_when_base64_is_damaged(self):
        mail = parse_mail(part_of_type(b"text/plain\nContent-Transfer-Encoding: base64", b"aGVs*bG8=\n"))
        assert mail.body_text == "hello"
        assert "encoding_broken" in mail.flags

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=2_000))
    def test_it_survives_any_bytes(self, raw):
        assert_sound(parse_mail(raw))

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"\n",
                    b"\r\n",
                    b"\r",
                    b" ",
                    b"\x00",
                    b"\xff",
                    b"\xc3\xa4",
                    b"=?utf-8?q?",
                    b"?=",
                    b"=?x?b?gA==?=",
                    b"(",
                    b")",
                    b'"',
                    b"\\",
                    b"<",
                    b">",
                    b",",
                    b";",
                    b":",
                    b"=",
                    b"*0*",
                    b"a",
                    b"--b",
                    b"--",
                    b"From: ",
                    b"To: ",
                    b"Subject: ",
                    b"Date: ",
                    b"Message-ID: ",
                    b"References: ",
                    b"Content-Type: ",
                    b"multipart/mixed; boundary=b",
                    b"multipart/digest; boundary=b",
                    b"multipart/alternative; boundary=b",
                    b"message/rfc822",
                    b"text/html",
                    b"text/plain; format=flowed",
                    b"; charset=",
                    b"utf-16",
                    b"utf-7",
                    b"iso-2022-jp",
                    b"hz",
                    b"big5",
                    b"\x1b$B",
                    b"Content-Transfer-Encoding: ",
                    b"base64",
                    b"quoted-printable",
                    b"x-uuencode",
                    b"Content-Disposition: ",
                    b"attachment; filename=",
                    b"begin 644 x",
                    b"<p>",
                    b"a@b",
                ]
            ),
            max_size=60,
        ).map(b"".join)
    )
    def test_it_survives_any_order_of_pieces(self, raw):
        assert_sound(parse_mail(raw))
