"""Files of messages in the storage: one object per account and content, however many messages carry it."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby

from django.db import connection, transaction

from mailbot.lib import object_store
from mailbot.lib.bulk import batches
from mailbot.lib.object_store import StoreUnavailable
from mailbot.lib.scope import acting_for_everybody
from mailbot.lib.transactions import number_of, share_until_commit, take_until_commit
from threads.mime import ParsedAttachment
from threads.models import Attachment, Message

THREADS = 8
REMOVED_AT_ONCE = 20  # files of an account, while its mail with attachments waits


class ContentGone(LookupError):
    """The storage has no such file any more."""


def storage_name(account_id: str, sha256: str) -> str:
    return f"attachments/{account_id}/{sha256[:2]}/{sha256}"


@contextmanager
def kept(contents: Iterable[tuple[str, bytes]]) -> Iterator[None]:
    """A transaction for the rows of these files, (account id, content) of one mail or many. They are in the storage when it begins, and
    until it ends nobody removes them, though no row of them is seen yet. Begin it before you lock a row. Raises StoreUnavailable.

    Two that keep the same content at once write the same bytes to the same name.
    """
    given = list(contents)
    files = {storage_name(account, hashlib.sha256(content).hexdigest()): content for account, content in given}
    if connection.vendor == "sqlite":  # within a transaction nobody else can write, and storing takes time
        _keep(files)
    with transaction.atomic():
        for account in sorted({account for account, _ in given}):
            share_until_commit(_number(account))
        _keep(files)
        yield


def _keep(files: Mapping[str, bytes]) -> None:
    """Several at once, since each waits for the disk or the network."""
    if len(files) <= 1:
        for item in files.items():
            _keep_one(item)
        return
    with ThreadPoolExecutor(min(THREADS, len(files)), "attachments") as pool:
        list(pool.map(_keep_one, files.items()))


def _keep_one(item: tuple[str, bytes]) -> None:
    name, content = item
    if not object_store.exists(name):
        object_store.write(name, content)


def attachment_rows(message: Message, attachments: Iterable[ParsedAttachment]) -> list[Attachment]:
    return [
        Attachment(
            account_id=message.account_id,
            message=message,
            position=position,
            filename=attachment.filename,
            content_type=attachment.content_type[:255],
            disposition=attachment.disposition,
            content_id=attachment.content_id,
            size=len(attachment.content),
            sha256=attachment.sha256,
            storage_name=storage_name(message.account_id, attachment.sha256),
        )
        for position, attachment in enumerate(attachments)
    ]


def content_of(attachment: Attachment) -> bytes:
    """Raises ContentGone, or StoreUnavailable."""
    try:
        return object_store.read(attachment.storage_name)
    except FileNotFoundError as error:
        raise ContentGone(attachment.pk) from error


def remove_unneeded(names: Iterable[str]) -> dict[str, StoreUnavailable]:
    """Delete those of these files that no message needs; what the storage did not delete, and why.

    Call it when the rows that needed them are gone. Mail that is just being filed with the same content is waited for, and keeps it.
    """
    left: dict[str, StoreUnavailable] = {}
    for account, of_account in groupby(sorted(names), key=_account_of):
        for piece in batches(of_account, REMOVED_AT_ONCE):
            while piece:
                # Who removes may see fewer inboxes than the account has; what the others need stays.
                with acting_for_everybody("whose messages need it too"), transaction.atomic():
                    take_until_commit(_number(account))
                    piece = _rest_of(piece, left)
    return left


def _rest_of(names: Sequence[str], left: dict[str, StoreUnavailable]) -> list[str]:
    """Delete them up to the first that the storage does not delete, and return those behind it: nobody waits for longer than for one that
    hangs."""
    needed = set(Attachment.objects.filter(storage_name__in=names).values_list("storage_name", flat=True))
    for number, name in enumerate(names, 1):
        if name not in needed:
            try:
                object_store.delete(name)
            except StoreUnavailable as error:
                left[name] = error
                return list(names[number:])
    return []


def _account_of(name: str) -> str:
    return name.split("/")[1]


def _number(account_id: str) -> int:
    return number_of(f"attachments of {account_id}")
