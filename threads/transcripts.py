"""Conversations in a bundle of evidence, as pages for people. What they said is shown as text: no markup of a mail gets into a page."""

from collections.abc import Iterator
from functools import partial

from django.db.models import Q, QuerySet
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from audit.export_sources import File
from audit.models import Export
from inboxes.export_selection import inboxes_of
from inboxes.models import Inbox
from threads.models import Message, Thread

READ = 100  # threads or messages at once
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{{font:16px/1.5 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}}
article{{border-top:1px solid #888;padding:1rem 0}}dl{{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem;margin:0}}
dd{{margin:0}}pre{{white-space:pre-wrap;font:inherit}}</style></head>
<body><h1><bdi>{title}</bdi></h1>
<p>Thread {id} of {address}. Times are in UTC. Exported as {export}.</p>
"""
_MESSAGE = """<article id="{id}"><dl>{facts}</dl>
<pre dir="auto">{body}</pre></article>
"""
_FIELDS = (
    *("pk", "sequence", "direction", "status", "from_address", "from_name", "to", "cc", "subject", "body_text"),
    *("created_at", "message_id_header", "attachment_count"),
)


class Transcripts:
    """threads/<inbox>/<thread>.html, of those in which a message is of the period; the whole conversation."""

    def count(self, export: Export) -> int:
        return sum(_of_period(export, inbox).count() for inbox in inboxes_of(export))

    def files(self, export: Export, after: str) -> Iterator[File]:
        at, _, last = after.partition(" ")
        for inbox in inboxes_of(export, at):
            behind = last if inbox.pk == at else ""
            while found := list(_of_period(export, inbox).filter(pk__gt=behind).order_by("pk")[:READ]):
                for thread in found:
                    yield self.file(export, inbox, thread)
                behind = found[-1].pk

    def file(self, export: Export, inbox: Inbox, thread: Thread) -> File:
        content = partial(transcript, thread, inbox, export.pk)
        return File(f"threads/{inbox.pk}/{thread.pk}.html", f"{inbox.pk} {thread.pk}", content)


class PdfTranscripts(Transcripts):
    """threads/<inbox>/<thread>.pdf, of the same."""

    def file(self, export: Export, inbox: Inbox, thread: Thread) -> File:
        content = partial(_as_pdf, thread, inbox, export.pk)
        return File(f"threads/{inbox.pk}/{thread.pk}.pdf", f"{inbox.pk} {thread.pk}", content)


def _as_pdf(thread: Thread, inbox: Inbox, export_id: str) -> list[bytes]:
    from threads.transcripts_pdf import transcript_pdf  # half a second of fonts and drawing, for who makes one

    return [transcript_pdf(thread, inbox, export_id)]


def _of_period(export: Export, inbox: Inbox) -> QuerySet[Thread]:
    threads = Thread.objects.filter(inbox=inbox)
    if not (export.since or export.until):
        return threads
    period = Q(inbox=inbox)
    if export.since:
        period &= Q(created_at__gte=export.since)
    if export.until:
        period &= Q(created_at__lt=export.until)
    return threads.filter(pk__in=Message.objects.filter(period).values("thread"))


def transcript(thread: Thread, inbox: Inbox, export_id: str) -> Iterator[bytes]:
    title = thread.subject or "(no subject)"
    head = format_html(_HEAD, title=title, id=thread.pk, address=inbox.address, export=export_id)
    yield head.encode("utf-8", "backslashreplace")
    for message in messages_of(thread):
        yield _message(message).encode("utf-8", "backslashreplace")
    yield b"</body></html>\n"


def messages_of(thread: Thread) -> Iterator[Message]:
    rows = Message.objects.filter(thread=thread).order_by("sequence").only(*_FIELDS)
    at = 0
    while found := list(rows.filter(sequence__gt=at)[:READ]):
        yield from found
        at = found[-1].sequence


def facts_of(message: Message) -> list[tuple[str, str]]:
    """What stands above the text of a message; what it lacks is left out."""
    facts = [
        ("From", f"{message.from_name} <{message.from_address}>" if message.from_name else message.from_address),
        ("To", _people(message.to)),
        ("Cc", _people(message.cc)),
        ("Subject", message.subject),
        (message.direction.capitalize(), f"{message.created_at:%Y-%m-%d %H:%M:%S}, {message.status}"),
        ("Attachments", str(message.attachment_count or "")),
        ("Message", f"{message.pk} {message.message_id_header}"),
    ]
    return [fact for fact in facts if fact[1]]


def _message(message: Message) -> SafeString:
    shown = format_html_join("", "<dt>{}</dt><dd><bdi>{}</bdi></dd>", facts_of(message))
    return format_html(_MESSAGE, id=message.pk, facts=shown, body=message.body_text)


def _people(people: list[dict[str, str]]) -> str:
    return ", ".join(f"{one['name']} <{one['address']}>" if one.get("name") else one["address"] for one in people)
