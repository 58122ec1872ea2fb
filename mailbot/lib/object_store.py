"""Bytes in the object store (`STORAGES["default"]`): a folder or an S3-compatible store, whichever is set.

Every backend has errors of its own. Here there are two: the store says that it has no such object, or it does not answer as it
should, which says nothing about the object.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage


class StoreUnavailable(Exception):
    """The store cannot be reached, refuses, or gives back other bytes than it was given. Later it may do better."""


def write(name: str, content: bytes) -> None:
    """Put `content` under exactly this name, in place of what is there. Raises StoreUnavailable."""
    with _its_errors():
        saved = default_storage.save(name, ContentFile(content))
    if saved != name:  # the storage that settings name does not overwrite
        raise StoreUnavailable(f"The store kept {name} as {saved}.")


def write_and_verify(name: str, content: bytes, sha256: str) -> None:
    """The same, and only returns once the store has given back bytes of this digest (hexadecimal)."""
    write(name, content)
    try:
        found = read(name)
    except FileNotFoundError as error:
        raise StoreUnavailable(f"The store took {name} and does not have it.") from error
    if hashlib.sha256(found).hexdigest() != sha256:
        raise StoreUnavailable(
            f"The store was given {len(content):,} octets under {name}, and gives back {len(found):,} others."
        )


def read(name: str) -> bytes:
    """Raises FileNotFoundError or StoreUnavailable."""
    with _its_errors():
        try:
            file = default_storage.open(name)
        except FileNotFoundError as error:
            missing = error
        else:
            with file:
                return bytes(file.read())
    raise missing


def exists(name: str) -> bool:
    """Raises StoreUnavailable."""
    with _its_errors():
        return default_storage.exists(name)


def delete(name: str) -> None:
    """Whether it was there or not. Raises StoreUnavailable."""
    with _its_errors():
        default_storage.delete(name)


def names_in(folder: str) -> list[str]:
    """Of the objects there, drafts of writers who were killed among them; not of folders in it. Raises StoreUnavailable."""
    with _its_errors():
        try:
            _, files = default_storage.listdir(folder)
        except FileNotFoundError:  # nothing was ever put there, or it went meanwhile
            return []
        return [f"{folder}/{file}" for file in sorted(files) if file]


@contextmanager
def _its_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # botocore's, s3transfer's, urllib3's and the system's have no base in common
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
