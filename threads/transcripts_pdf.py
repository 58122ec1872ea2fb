"""A conversation in a bundle of evidence as PDF, for people who print and file. The same as the page, with bounds: it is drawn letter by
letter, and no mail may hold up the worker for long."""

import logging

from django.db import DatabaseError

from inboxes.models import Inbox
from mailbot.lib.pdf_text import PagesFull, TextPdf
from threads.models import Message, Thread
from threads.transcripts import facts_of, messages_of

log = logging.getLogger(__name__)

MOST_PAGES = (
    200  # of a conversation: half a minute at the worst, of the two that the worker has before it must give a sign
)
MOST_OF_A_TITLE = 1_000
MOST_CHARACTERS, MOST_LINES = 100_000, 2_000  # of a message
_CUT = "[Cut here: this message has {all} characters. Its .eml has all of it.]"
_FULL = (
    "[Cut here: this conversation is longer than {pages} pages. Its page in HTML and the .eml files have all of it.]"
)
_UNDRAWN = "This conversation cannot be drawn. Its page in HTML and the .eml files have it."
_FOOTER = "{thread} · {export} · For reading. What a font lacks is \ufffd; the HTML and .eml of the same export are the record."


def transcript_pdf(thread: Thread, inbox: Inbox, export_id: str) -> bytes:
    """What cannot be drawn, for a fault of ours or the library's, is a page that says so: no mail may keep an export from being made."""
    try:
        return _drawn(thread, inbox, export_id)
    except DatabaseError:
        raise
    except Exception:
        log.exception("Thread %s cannot be drawn for %s.", thread.pk, export_id)
    pdf = TextPdf(thread.pk, _FOOTER.format(thread=thread.pk, export=export_id), MOST_PAGES)
    pdf.heading(_UNDRAWN)
    return pdf.octets()


def _drawn(thread: Thread, inbox: Inbox, export_id: str) -> bytes:
    title = thread.subject[:MOST_OF_A_TITLE] or "(no subject)"
    footer = _FOOTER.format(thread=thread.pk, export=export_id)
    pdf = TextPdf(title, footer, MOST_PAGES)
    pdf.heading(title)
    pdf.note(f"Thread {thread.pk} of {inbox.address}. Times are in UTC. Exported as {export_id}.")
    try:
        for message in messages_of(thread):
            _write(pdf, message)
    except PagesFull:
        pdf.last_line(_FULL.format(pages=MOST_PAGES))
    return pdf.octets()


def _write(pdf: TextPdf, message: Message) -> None:
    pdf.rule()
    pdf.prefer(f"{message.subject}\n{message.body_text[:MOST_CHARACTERS]}")
    for name, value in facts_of(message):
        pdf.fact(name, value[:MOST_CHARACTERS])
    pdf.gap()
    body = message.body_text.replace("\r\n", "\n")
    is_whole = pdf.text(body[:MOST_CHARACTERS], MOST_LINES) and len(body) <= MOST_CHARACTERS
    if not is_whole:
        pdf.note(_CUT.format(all=len(body)))
