"""Files of messages in the storage: one object per account and content, however many messages carry it."""

import hashlib
from collections.abc import Iterable

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from threads.mime import ParsedAttachment
from threads.models import Attachment, Message


class ContentGone(LookupError):
    """The storage has no such file any more."""


def storage_name(account_id: str, sha256: str) -> str:
    return f"attachments/{account_id}/{sha256[:2]}/{sha256}"


def keep(account_id: str, contents: Iterable[bytes]) -> None:
    """Put each content into the storage unless it is there. Call it before the transaction that makes the rows: I/O takes time,
    and a file without a row is harmless while a row without a file is not."""
    for content in contents:
        name = storage_name(account_id, hashlib.sha256(content).hexdigest())
        if not default_storage.exists(name):
            default_storage.save(name, ContentFile(content))


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
    """Raises ContentGone."""
    try:
        with default_storage.open(attachment.storage_name) as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise ContentGone(attachment.pk) from error
