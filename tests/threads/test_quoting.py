"""The new words of a reply: by cases of our own, and by a corpus of what mail programs send."""

from __future__ import annotations

import time
from typing import Any

import pytest
from lxml import html as lxml_html

from tests.threads.corpus import CORPUS, corpus_files, needs_corpus
from threads import quoting, quoting_html
from threads.extraction import find_codes
from threads.mime import parse_mail
from threads.quoting import extract_new_html, extract_new_text

pytestmark = pytest.mark.one_profile
PATIENCE = 5.0  # seconds of CPU; quadratic time on these sizes takes minutes

REPLIES = [
    "Hello\n\nOn Mon, Apr 2, 2012 at 6:26 PM, Ann <ann@example.com> wrote:\n\n> Hi\n",
    "Hello\n\nOn Mon, Apr 2, 2012 at 6:26 PM, Ann Example <ann.example@example.com>\nwrote:\n\n> Hi\n",
    "Hello\n\nAm 02.04.2012 um 18:26 schrieb Ann <ann@example.com>:\n\n> Hi\n",
    "Hello\n\nAm Mo., 2. Apr. 2012 um 18:26 Uhr schrieb Ann <ann@example.com>:\n> Hi\n",
    "Hello\n\nLe lun. 2 avr. 2012 à 18:26, Ann <ann@example.com> a écrit :\n\n> Hi\n",
    "Hello\n\nEl 2 abr 2012, a las 18:26, Ann <ann@example.com> escribió:\n\n> Hi\n",
    "Hello\n\n02.04.2012 14:20 пользователь Ann <ann@example.com> написал:\n\n> Hi\n",
    "Hello\n\n-----Original Message-----\nFrom: Ann <ann@example.com>\nSent: Monday\nTo: Bob\nSubject: Test\n\nHi\n",
    "Hello\n\nFrom: Ann <ann@example.com>\nSent: Monday, April 2, 2012 5:44 PM\nTo: Bob\nSubject: Test\n\nHi\n",
    "Hello\n\nVon: Ann <ann@example.com>\nGesendet: Montag, 2. April 2012\nAn: Bob\nBetreff: Test\n\nHi\n",
    "Hello\n\n________________________________\nDe : Ann\nEnvoyé : lundi\nÀ : Bob\nObjet : Test\n\nHi\n",
    "Hello\n\n-- \nBob\nExample Ltd\n",
    "Hello\n\nSent from my iPhone\n\nOn Apr 3, 2012, at 4:19 PM, Ann <ann@example.com> wrote:\n\n> Hi\n",
    "Hello\n\nGesendet von Outlook für Android\n",
    "On 04/02/2012 06:26 PM, Ann wrote:\n> Hi\nHello\n",
    "> Hi\n\nHello\n",
    "Hello\r\n\r\n> Hi\r\n",
]

PAGES = [
    '<p>Hello</p><div class="gmail_quote">On Monday Ann wrote:<blockquote class="gmail_quote">Hi</blockquote></div>',
    '<p>Hello</p><p>On Monday, Ann &lt;ann@example.com&gt; wrote:</p><blockquote type="cite">Hi</blockquote>',
    '<p>Hello</p><div class="moz-cite-prefix">On Monday Ann wrote:</div><blockquote type="cite">Hi</blockquote>',
    '<p>Hello</p><div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> Ann</div><div>Hi</div>',
    '<p>Hello</p><div><div style="border:none;border-top:solid #E1E1E1 1.0pt"><p><b>From:</b> Ann</p>'
    "</div></div><p>Hi</p>",
    '<p>Hello</p><div class="yahoo_quoted"><div>On Monday Ann wrote:</div>Hi</div>',
    "<p>Hello</p><p><b>From:</b> Ann<br><b>Sent:</b> Monday<br><b>To:</b> Bob<br><b>Subject:</b> Test</p><p>Hi</p>",
    '<p>Hello</p><div class="gmail_signature">Bob, Example Ltd</div>',
    "<p>Hello</p><div>-- </div><div>Bob, Example Ltd</div>",
]


class TestNewText:
    @pytest.mark.parametrize("text", REPLIES)
    def test_it_keeps_the_new_words_only(self, text):
        assert extract_new_text(text) == "Hello"

    @pytest.mark.parametrize("line", ["On {:05d}:", "On " + "On " * 80 + "{:05d}:", "On a@b" + " " * 250 + "{:05d}:"])
    def test_it_takes_no_time_over_lines_that_might_announce_a_quote(self, line):
        text = "\n".join(line.format(number) for number in range(5_000))
        began = time.thread_time()
        assert extract_new_text(text)
        assert time.thread_time() - began < PATIENCE

    def test_it_keeps_answers_between_quotes(self):
        text = "On Monday, Ann <ann@example.com> wrote:\n> One?\nYes.\n\n> Two?\nNo.\n"
        assert extract_new_text(text) == "Yes.\n\nNo."

    def test_it_keeps_a_forwarded_mail_without_words_of_its_own(self):
        text = "From: Ann\nSent: Monday\nTo: Bob\nSubject: Test\n\nThe forwarded words\n"
        assert "The forwarded words" in extract_new_text(text)

    @pytest.mark.parametrize(
        "text",
        [
            "One question I had:\n\nLocally, when I run it, it fails.",
            "Sent from my desk, this is much easier.",
            "Stuff happened -- this is no signature.",
            "Things to do:\n- one\n- two",
            "On Monday I wrote:\nnothing at all",
            "To: be or not\nto be",
        ],
    )
    def test_it_cuts_nothing_that_only_looks_alike(self, text):
        assert extract_new_text(text) == text

    def test_it_is_empty_for_nothing(self):
        assert extract_new_text("") == ""


class TestNewHtml:
    @pytest.mark.parametrize("page", PAGES)
    def test_it_keeps_the_new_words_only(self, page):
        assert extract_new_html(page).startswith("<p>Hello</p>")
        assert not any(word in extract_new_html(page) for word in ("Hi", "Ann", "Bob"))

    def test_it_keeps_what_stands_below_the_quote(self):
        page = '<blockquote type="cite">Hi</blockquote><p>Hello</p>'
        assert extract_new_html(page) == "<p>Hello</p>"

    def test_it_lets_no_script_through(self):
        page = '<p onclick="x()">Hello</p><script>x()</script><a href="javascript:x()">y</a><img src=x onerror=x()>'
        cleaned = extract_new_html(page)
        assert "Hello" in cleaned
        assert not any(word in cleaned for word in ("script", "onclick", "onerror", "x()"))

    def test_it_keeps_inline_images(self):
        assert 'src="cid:logo@example.org"' in extract_new_html('<p>Hello</p><img src="cid:logo@example.org">')

    @pytest.mark.parametrize(
        "page", ["", "  ", "<", "just words", "<?xml version='1.0' encoding='x'?><p>a</p>", "\x00"]
    )
    def test_it_takes_anything(self, page):
        assert isinstance(extract_new_html(page), str)


HOSTILE_TEXTS = [
    "\n" * 200_000,
    "On " * 60_000,
    "On x wrote\n" * 20_000,
    "> " * 100_000,
    "a:\n> q\n" * 30_000,
    "From: a\n" * 25_000,
    "_" * 200_000,
    "\n\n".join("On " * 85 + f"{n} wrote:" for n in range(700)),
    "\n\n".join("1 " * 140 + f"{n}:" for n in range(700)),
    "Sent from my x\n" * 12_000,
    (("_" * 30) + "\n") * 6_000,
]
HOSTILE_PAGES = [
    "<div>" * 60_000,
    "<blockquote>" * 25_000,
    "<b>From:</b>" * 25_000,
    "<br>" * 70_000 + "x",
    "<" * 300_000,
    "<a " + "b " * 140_000,
    "<p>a@b 1:</p><blockquote>x</blockquote>" * 8_000,
    "x" + "<br>" * 60_000 + "<blockquote>a</blockquote>" * 2_000,
    "<table><tr><td>" * 20_000,
    "<b><i><font>" * 20_000,
    "<svg><math>" * 25_000,
    "a<br>" * 60_000,
]


class TestHostileReplies:
    @pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=lambda text: repr(text[:12]))
    def test_it_takes_bounded_time_for_texts(self, text):
        began = time.thread_time()
        extract_new_text(text)
        assert time.thread_time() - began < PATIENCE

    @pytest.mark.parametrize("page", HOSTILE_PAGES, ids=lambda page: repr(page[:12]))
    def test_it_takes_bounded_time_for_pages(self, page):
        began = time.thread_time()
        extract_new_html(page)
        assert time.thread_time() - began < PATIENCE


@needs_corpus
class TestReplyCorpus:
    @pytest.mark.parametrize(
        "path", corpus_files("reply_quoting/standard_replies", pattern="*.eml"), ids=lambda path: path.stem
    )
    def test_it_finds_the_new_words_of_every_mail_program(self, path):
        """All of these replies say Hello; what the answers keep beyond it is the signature, which is cut here."""
        mail = parse_mail(path.read_bytes())
        assert extract_new_text(mail.body_text) == "Hello"
        answer = path.with_name(f"{path.stem}_reply_text")
        assert not answer.exists() or answer.read_text().split()[0] == "Hello"

    @pytest.mark.parametrize(
        "path", corpus_files("reply_quoting/html_replies", pattern="*.html"), ids=lambda path: path.stem
    )
    def test_it_cuts_the_quote_of_every_html_program(self, path):
        page = extract_new_html(path.read_text(errors="replace"))
        assert "Hi. I am fine." in page
        assert "Alex" in page
        assert "How are you" not in page

    @pytest.mark.parametrize("folder", ["github", "zapier"])
    def test_it_shows_no_quote_mark_in_any_text(self, folder):
        for path in corpus_files(f"reply_quoting/{folder}", pattern="email_*.txt"):
            new = extract_new_text(path.read_text())
            assert new, path
            assert not any(line.startswith(">") for line in new.split("\n")), path

    def test_it_raises_on_no_file_of_the_corpus(self):
        for path in corpus_files("reply_quoting", "stalwart", "mikel", "bounces"):
            mail = parse_mail(path.read_bytes())
            find_codes(mail.subject, extract_new_text(mail.body_text))
            extract_new_html(mail.body_html)
        assert CORPUS.is_dir()


class TestSigns:
    """Most mails are done with one search; what it lets pass must have nothing to cut."""

    @needs_corpus
    def test_it_cuts_nothing_where_no_sign_is_found(self) -> None:
        texts = html_pages = 0
        for file in corpus_files("stalwart", "mikel", "bounces", "reply_quoting"):
            mail = parse_mail(file.read_bytes())
            if not quoting._may_hold_older_words(mail.body_text):
                lines = [line.strip() for line in mail.body_text.split("\n")]
                assert quoting._without_signature(quoting._without_quotes(lines)) == lines, file
                texts += 1
            if mail.body_html.strip() and not quoting_html._may_hold_older_words(mail.body_html):
                body: Any = lxml_html.document_fromstring(mail.body_html).find("body")
                whole = body.text_content()
                quoting_html._cut_quotes(body)
                assert body.text_content() == whole, file
                html_pages += 1
        assert texts > 50
        assert html_pages > 5
