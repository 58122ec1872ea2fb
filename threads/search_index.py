"""Filling the index of search, behind the filing of mail: in batches, newest mail first.

Filing a mail costs nothing more for it. What search has to know is written afterwards: by the worker when no mail waits, by
`manage.py index_messages`, and by a search itself for what its inboxes have just got, so that whoever has seen a mail finds it.

A row of SearchProgress says which numbers of an inbox are done. New mail goes on above them; what was there before this index existed is
taken downwards below them. So nothing marks a message, nothing is lost when a process dies, and nothing has to be done at once.
"""

import base64
import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice

from django.db import DatabaseError, transaction
from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, Greatest, Substr

from inboxes.models import Inbox
from mailbot.lib.bulk import bulk_insert, bulk_set, new_row
from threads.filters import without_set_aside
from threads.models import Attachment, Message, SearchDocument, SearchProgress
from threads.search_words import words_of

log = logging.getLogger(__name__)

BATCH = 200  # messages in a transaction
# Characters of a field that are looked at. All of them together stay below the 1 MiB of a tsvector, whatever they are: the worst
# case are different words of one character, which take twelve octets each with their scope.
LONGEST_BODY = 100_000
LONGEST_OTHER = 5_000
BREAK = "|"  # between people and between files: no phrase goes across it
# The columns by which a document is known; bodies are cut in the database, since a batch of whole ones may be half a gigabyte.
READ = ("account_id", "inbox_id", "sequence", "created_at", "subject", "from_name", "from_address", "to", "cc", "bcc")


@lru_cache(maxsize=10_000)
def scope_of(inbox_id: str) -> str:
    """What stands before each word of an inbox in the index, so that its entries are its own.

    Eight letters or digits, of 40 bits: inboxes that share them by chance cost each other time and nothing else.
    """
    digest = hashlib.blake2b(inbox_id.encode(), digest_size=5).digest()
    return base64.b32encode(digest).decode().lower()


def document_of(message: Message, body: str, filenames: Iterable[str]) -> SearchDocument:
    people = [*message.to, *message.cc, *message.bcc]
    return new_row(
        SearchDocument,
        account_id=message.account_id,
        inbox_id=message.inbox_id,
        message_id=message.pk,
        created_at=message.created_at,
        scope=scope_of(message.inbox_id),
        subject=_spaced([message.subject], LONGEST_OTHER),
        sender=_spaced([f"{message.from_name} {message.from_address}"], LONGEST_OTHER),
        recipients=_spaced((f"{person['name']} {person['address']}" for person in people), LONGEST_OTHER),
        files=_spaced(filenames, LONGEST_OTHER),
        body=_spaced([body], LONGEST_BODY),
    )


def _spaced(texts: Iterable[str], longest: int) -> str:
    """` one two | three `: the words of each text, cut where folding has made them longer than `longest` again."""
    groups = [" ".join(words_of(text[:longest])) for text in islice(texts, longest)]
    joined = f" {BREAK} ".join(group for group in groups if group)
    if len(joined) > longest:
        joined = joined[:longest].rsplit(" ", 1)[0]
    return f" {joined} " if joined else ""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Messages of one inbox that are next: the numbers from `first` to `last`."""

    progress: SearchProgress
    first: int
    last: int


def index_batch(inbox_ids: Sequence[str] | None = None, most: int = BATCH) -> int:
    """Index up to `most` messages, of these inboxes or of any, in a transaction of its own; how many.

    None when there is nothing to do, and none when somebody else is just doing it.
    """
    inboxes = _behind(inbox_ids)
    found = list(inboxes.values_list("pk", "account_id")[:most])
    if not found:
        found = list(_unfilled(inbox_ids).values_list("pk", "account_id")[:1])
    if not found:
        return 0
    with transaction.atomic():
        pieces = list(_pieces(_taken(found), most))
        documents = [document for piece in pieces for document in _documents(piece)]
        bulk_insert(documents)
        bulk_set([piece.progress for piece in pieces], "oldest", "newest")
    return sum(piece.last - piece.first + 1 for piece in pieces)


def waiting(inbox_ids: Sequence[str] | None = None) -> int:
    """How many messages of these inboxes, or of all, are not in the index yet."""
    inboxes = Inbox.objects.filter(message_count__gt=0)
    if inbox_ids is not None:
        inboxes = inboxes.filter(pk__in=inbox_ids)
    newest, oldest = Coalesce("search_progress__newest", 0), Coalesce("search_progress__oldest", 1)
    told = inboxes.aggregate(number=Sum(Greatest(F("message_count") - newest, 0) + oldest - 1))
    return told["number"] or 0


def catch_up(inbox_ids: Sequence[str], most: int) -> None:
    """Index what these inboxes have just got, as far as it goes: where nothing can be written, searching still works."""
    try:
        if _behind(inbox_ids).exists():
            index_batch(inbox_ids, most)
    except DatabaseError as error:
        log.warning("A search could not index what is new: %s", error)


def remove_from_index(inbox: Inbox) -> None:
    """In the transaction that erases its messages, and before they go: whoever is just indexing some of them is waited for."""
    SearchProgress.objects.bulk_create([_new_progress(inbox.pk, inbox.account_id)], ignore_conflicts=True)
    progress = SearchProgress.objects.select_for_update().get(pk=inbox.pk)
    SearchDocument.objects.filter(inbox=inbox).delete()
    progress.oldest, progress.newest = 1, 0
    progress.save(update_fields=["oldest", "newest"])


def remove_messages_from_index(inbox: Inbox, messages: Sequence[Message]) -> None:
    """The same for some of its messages. Their documents are found by their times: no index goes by message."""
    SearchProgress.objects.bulk_create([_new_progress(inbox.pk, inbox.account_id)], ignore_conflicts=True)
    SearchProgress.objects.select_for_update().get(pk=inbox.pk)
    times = [message.created_at for message in messages]
    near = SearchDocument.objects.filter(inbox=inbox, created_at__range=(min(times), max(times)))
    near.filter(message_id__in=[message.pk for message in messages]).delete()


def _behind(inbox_ids: Sequence[str] | None) -> QuerySet[Inbox]:
    unseen = Q(search_progress__isnull=True, message_count__gt=0)
    inboxes = Inbox.objects.filter(unseen | Q(message_count__gt=F("search_progress__newest")))
    return inboxes if inbox_ids is None else inboxes.filter(pk__in=inbox_ids)


def _unfilled(inbox_ids: Sequence[str] | None) -> QuerySet[SearchProgress]:
    rows = SearchProgress.objects.filter(oldest__gt=1)
    return rows if inbox_ids is None else rows.filter(pk__in=inbox_ids)


def _new_progress(inbox_id: str, account_id: str) -> SearchProgress:
    return SearchProgress(inbox_id=inbox_id, account_id=account_id)


def _taken(inboxes: Sequence[tuple[str, str]]) -> list[SearchProgress]:
    """Their progress, locked; without those that somebody else has locked."""
    rows = [_new_progress(*inbox) for inbox in sorted(inboxes)]
    SearchProgress.objects.bulk_create(rows, ignore_conflicts=True)
    taken = SearchProgress.objects.select_for_update(skip_locked=True, of=("self",)).select_related("inbox")
    return list(taken.filter(pk__in=[row.pk for row in rows]).order_by("pk"))


def _pieces(taken: Iterable[SearchProgress], most: int) -> Iterable[_Piece]:
    """What is new first; what was there before the index, only where nothing is new."""
    for progress in taken:
        if most <= 0:
            return
        if progress.inbox.message_count > progress.newest:
            first, last = progress.newest + 1, min(progress.inbox.message_count, progress.newest + most)
            progress.newest = last
        elif progress.oldest > 1:
            first, last = max(1, progress.oldest - most), progress.oldest - 1
            progress.oldest = first
        else:
            continue
        most -= last - first + 1
        yield _Piece(progress, first, last)


def _documents(piece: _Piece) -> list[SearchDocument]:
    numbers = (piece.first, piece.last)
    messages = list(
        without_set_aside(Message.objects.filter(inbox_id=piece.progress.pk, sequence__range=numbers), {})
        .only(*READ, "attachment_count")
        .annotate(
            body_start=Substr("body_text", 1, LONGEST_BODY), extracted_start=Substr("extracted_text", 1, LONGEST_BODY)
        )
        .order_by("sequence")
    )
    names = _filenames([message.pk for message in messages if message.attachment_count])
    return [document_of(m, m.body_start or m.extracted_start, names.get(m.pk, ())) for m in messages]


def _filenames(message_ids: Sequence[str]) -> dict[str, list[str]]:
    if not message_ids:
        return {}
    files = Attachment.objects.filter(message_id__in=message_ids).order_by("message_id", "position")
    pairs = files.values_list("message_id", "filename")
    return {message_id: [name for _, name in rows] for message_id, rows in groupby(pairs, key=lambda pair: pair[0])}
