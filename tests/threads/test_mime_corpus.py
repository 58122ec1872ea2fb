"""Our reading of mail that nobody here wrote: against expected answers, and against the standard library."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.threads.compat32 import our_headers, our_leaves, their_headers, their_leaves
from tests.threads.corpus import corpus_files, needs_corpus
from tests.threads.stalwart import FIELDS, Comparison, comparisons
from tests.threads.test_mime_hostile import assert_sound
from threads.mime import parse_mail

pytestmark = needs_corpus

ANSWERS = corpus_files("stalwart", pattern="*.json")
MAILS = corpus_files("stalwart", "mikel", "bounces", "reply_quoting", pattern="*.eml")

# Measured. Every miss below 128 of 128 is explained in docs/mime-agreement.md: none of them is a fault of ours.
FLOORS = {
    "subject": 118,
    "from": 128,
    "to": 116,
    "text": 126,
    "html": 128,
    "attachment names": 116,
    "attachment bytes": 120,
}

# Where ours is meant to differ from the standard library's reading.
DIFFERENT_ON_PURPOSE = {
    "example13.eml": "blanks before the colon of a header field (RFC 5322 section 4.5): read, not taken for the body",
    "raw_email4.eml": "cut off: the last line break of an unclosed part is its own, not that of a missing delimiter",
    "lhost-apachejames-01.eml": "a multipart without boundary: the outer delimiter owns the line break before it",
}


def compared() -> list[Comparison]:
    return [one for answer in ANSWERS for one in comparisons(answer)]


def line_endings(raw: bytes) -> list[bytes]:
    lf = raw.replace(b"\r\n", b"\n")
    return [raw, lf, lf.replace(b"\n", b"\r\n")]


class TestStalwartAnswers:
    def test_it_agrees_field_by_field(self, capsys):
        agreed = Counter(one.field for one in compared() if one.agrees)
        with capsys.disabled():
            print("", *(f"{field:18}{agreed[field]:4} of {len(ANSWERS)}" for field in FIELDS), sep="\n")
        assert len(ANSWERS) == 128
        assert {field: agreed[field] for field in FIELDS if agreed[field] < FLOORS[field]} == {}

    def test_it_misses_only_where_the_answer_has_lost_a_character_or_is_no_safe_name(self):
        """The suite marks unlabelled bytes as U+FFFD, leaves uuencoded bytes encoded, and keeps paths in names."""
        for one in compared():
            if one.agrees or one.field == "attachment bytes":
                continue
            lost = "\ufffd" in str(one.expected)
            unsafe = one.field == "attachment names" and any(mark in str(one.expected) for mark in (":", "/"))
            assert lost or unsafe, (one.name, one.field)


class TestEveryFile:
    @pytest.mark.parametrize(
        "path", corpus_files("stalwart", "mikel", "bounces", "reply_quoting"), ids=lambda path: path.name
    )
    def test_it_is_read_soundly(self, path: Path):
        for raw in line_endings(path.read_bytes()):
            assert_sound(parse_mail(raw))

    @pytest.mark.parametrize("path", MAILS, ids=lambda path: path.name)
    def test_it_is_read_as_the_standard_library_reads_it(self, path: Path):
        for raw in line_endings(path.read_bytes()):
            theirs = [leaf if not leaf[0].startswith("message/") else (leaf[0], b"") for leaf in their_leaves(raw)]
            same = our_leaves(raw) == theirs and our_headers(raw) == their_headers(raw)
            assert same != (path.name in DIFFERENT_ON_PURPOSE)

    @pytest.mark.parametrize("path", MAILS, ids=lambda path: path.name)
    def test_it_shows_every_part_as_body_or_attachment(self, path: Path):
        raw = path.read_bytes()
        mail = parse_mail(raw)
        shown = [content for kind, content in our_leaves(raw) if not kind.startswith("message/")]
        attached = [one.content for one in mail.attachments if not one.content_type.startswith("message/")]
        assert Counter(attached) <= Counter(shown)
        assert all(attached.count(content) or mail.body_text or mail.body_html for content in shown if content.strip())
