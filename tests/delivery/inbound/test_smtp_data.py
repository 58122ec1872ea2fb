"""What is stored is what was sent, octet for octet, and nothing but CRLF.CRLF ends it."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.inbound.smtp_data import MailText, OctetBudget, read_mail_text
from tests.delivery.inbound.conftest import stored_mails

NOT_THE_END = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CRLF.CR": b"\r\n.\r",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "CR.LF": b"\r.\n",
    "LF.CR": b"\n.\r",
    "CRLFNUL.CRLF": b"\r\n\x00.\r\n",
    "CRLF.NULCRLF": b"\r\n.\x00\r\n",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRCRLF..CRLF": b"\r\r\n..\r\n",
    "CRLFspace.CRLF": b"\r\n .\r\n",
    "CRLF.spaceCRLF": b"\r\n. \r\n",
}
SECOND_MAIL = (
    b"MAIL FROM:<admin@example.com>\r\nRCPT TO:<support@mailbot.localhost>\r\nDATA\r\nSubject: smuggled\r\n\r\nin\r\n"
)


def stuffed(raw: bytes) -> bytes:
    """As a sender sends it: RFC 5321 4.5.2. `raw` ends with CRLF or is empty."""
    return (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:]


class TestEndOfData:
    @pytest.mark.parametrize("not_the_end", NOT_THE_END.values(), ids=NOT_THE_END.keys())
    def test_it_lets_no_second_mail_be_smuggled_in(self, smtp_server, inbox, not_the_end):
        client = smtp_server.client()
        sent = b"Subject: one\r\n\r\nbefore" + not_the_end + SECOND_MAIL
        assert client.deliver(inbox.address, sent) == "250 2.0.0 OK"
        assert client.command("NOOP") == "250 2.0.0 OK"  # and no reply to a command inside the mail came before this
        assert stored_mails() == [sent.replace(b"\r\n.", b"\r\n")]

    def test_it_does_not_end_in_a_dot_that_begins_with_a_bare_line_feed(self, smtp_server, inbox):
        client = smtp_server.client()
        client.begin(inbox.address)
        client.send(b".\n")
        client.send(b"still the mail\r\n.\r\n")
        assert client.reply() == "250 2.0.0 OK"
        assert stored_mails() == [b"\nstill the mail\r\n"]

    def test_it_takes_an_empty_mail(self, smtp_server, inbox):
        assert smtp_server.client().deliver(inbox.address, b"") == "250 2.0.0 OK"
        assert stored_mails() == [b""]

    def test_it_keeps_commands_behind_the_end_for_later(self, smtp_server, inbox):
        client = smtp_server.client()
        client.begin(inbox.address)
        client.send(b"first\r\n.\r\n" + SECOND_MAIL + b".\r\nQUIT\r\n")
        assert [client.reply()[:3] for _ in range(6)] == ["250", "250", "250", "354", "250", "221"]
        assert stored_mails() == [b"first\r\n", b"Subject: smuggled\r\n\r\nin\r\n"]

    def test_it_takes_data_that_was_pipelined_before_the_354(self, smtp_server, inbox):
        client = smtp_server.client()
        client.send(SECOND_MAIL + b".\r\nQUIT\r\n")
        assert [client.reply()[:3] for _ in range(5)] == ["250", "250", "354", "250", "221"]
        assert stored_mails() == [b"Subject: smuggled\r\n\r\nin\r\n"]

    def test_it_stores_nothing_of_a_mail_without_an_end(self, smtp_server, inbox):
        client = smtp_server.client()
        client.begin(inbox.address)
        client.send(b"half a mail\r\n.")
        client.close()
        assert smtp_server.client().deliver(inbox.address, b"whole\r\n") == "250 2.0.0 OK"
        assert stored_mails() == [b"whole\r\n"]


class TestContent:
    @pytest.mark.parametrize(
        "raw",
        [
            b".\r\n",
            b"..\r\n",
            b".hidden\r\n..\r\n...\r\n",
            b"a\r\n.\r\n.\r\nb\r\n",
            b"\x00\xff\xfe bare \r and \n kept\r\n",
            b"\r\n\r\n\r\n",
            b"x" * 90_000 + b"\r\n",
            b".\r\n" * 20_000,
        ],
        ids=lambda raw: repr(raw[:20]),
    )
    def test_it_keeps_every_octet(self, smtp_server, inbox, raw):
        assert smtp_server.client().deliver(inbox.address, stuffed(raw)) == "250 2.0.0 OK"
        assert stored_mails() == [raw]

    def test_it_does_not_care_how_the_octets_were_cut(self, smtp_server, inbox):
        raw = b".a\r\n\r\n.\r\n.b\r\n"
        client = smtp_server.client()
        client.begin(inbox.address)
        for octet in stuffed(raw) + b".\r\n":
            client.send(bytes([octet]))
        assert client.reply() == "250 2.0.0 OK"
        assert stored_mails() == [raw]


# Octets that mean something to the reader come up often enough to meet in every order.
LINES = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"\r\n.", b"\x00", b"\xff", b"text"]), max_size=60
)


class TestReader:
    """The same reader without a socket, so that thousands of mails and cuts can be tried."""

    @settings(max_examples=400, deadline=None)
    @given(
        lines=LINES,
        anything=st.binary(max_size=40),
        behind=st.binary(max_size=20),
        cuts=st.lists(st.integers(0, 200), max_size=8),
        limit=st.integers(8, 64),
    )
    def test_it_gives_back_what_was_sent_for_any_octets_and_any_cuts(self, lines, anything, behind, cuts, limit):
        raw = b"".join(lines) + anything
        raw = raw and raw.removesuffix(b"\r\n") + b"\r\n"
        wire = stuffed(raw) + b".\r\n" + behind
        text, left = asyncio.run(_read(wire, cuts, limit))
        assert text.raw() == raw
        assert text.size == len(raw)
        assert left == behind

    def test_it_counts_no_stuffed_dot_towards_the_limit(self):
        raw = b".\r\n" * 5_000
        text, _ = asyncio.run(_read(stuffed(raw) + b".\r\n", [], 64, max_size=len(raw)))
        assert not text.is_too_large
        text, _ = asyncio.run(_read(stuffed(raw + b"\r\n") + b".\r\n", [], 64, max_size=len(raw)))
        assert text.is_too_large


async def _read(wire: bytes, cuts: list[int], limit: int, max_size: int = 10_000) -> tuple[MailText, bytes]:
    reader = asyncio.StreamReader(limit=limit)
    text = MailText(max_size, OctetBudget(10**9))
    reading = asyncio.ensure_future(read_mail_text(reader, text))
    places = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    for start, end in pairwise(places):
        reader.feed_data(wire[start:end])
        await asyncio.sleep(0)
    await reading
    reader.feed_eof()
    return text, await reader.read()
