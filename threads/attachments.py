"""Files of messages in the storage: one object per account and content, however many messages carry it."""

import hashlib
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from mailbot.lib import object_store
from mailbot.lib.bulk import batches
from threads.mime import ParsedAttachment
from threads.models import Attachment, Message

THREADS = 8
AT_ONCE = 500  # names in a query


class ContentGone(LookupError):
    """The storage has no such file any more."""


def storage_name(account_id: str, sha256: str) -> str:
    return f"attachments/{account_id}/{sha256[:2]}/{sha256}"


def keep(account_id: str, contents: Iterable[bytes]) -> None:
    """Put each content into the storage unless it is there. Call it before the transaction that makes the rows: I/O takes time,
    and a file without a row is harmless while a row without a file is not.

    Two that keep the same content at once write the same bytes to the same name. Raises StoreUnavailable.
    """
    keep_all((account_id, content) for content in contents)


def keep_all(contents: Iterable[tuple[str, bytes]]) -> None:
    """The same for (account id, content) of many mails: several at once, since each waits for the disk or the network."""
    named = {storage_name(account, hashlib.sha256(content).hexdigest()): content for account, content in contents}
    if len(named) <= 1:
        for item in named.items():
            _keep_one(item)
        return
    with ThreadPoolExecutor(min(THREADS, len(named)), "attachments") as pool:
        list(pool.map(_keep_one, named.items()))


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


def unneeded(names: Collection[str]) -> list[str]:
    """Those of these files that no message needs. Ask right before they are deleted: another mail may have brought the same content."""
    found: list[str] = []
    for piece in batches(sorted(names), AT_ONCE):
        needed = set(Attachment.objects.filter(storage_name__in=piece).values_list("storage_name", flat=True))
        found += [name for name in piece if name not in needed]
    return found
