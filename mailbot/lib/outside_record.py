"""A number that is kept beside the database, in a place to which a restored back-up of the database does not bring an old one back.

Where it is kept is chosen in settings (`OUTSIDE_RECORD`): a file of this machine, or an object of the S3-compatible store that several
machines share.
"""

import os
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from mailbot.lib import object_store
from mailbot.lib.object_store import StoreUnavailable

DIGITS = 20


class RecordUnavailable(Exception):
    """The place cannot be reached, which says nothing about the number."""


class OutsideRecord(Protocol):
    """The last number that was written under a name, or None where there is none. Both raise RecordUnavailable."""

    def read(self, name: str) -> int | None: ...

    def write(self, name: str, number: int) -> None: ...


class FileRecord:
    """A small file in MAILBOT_STATE_DIR, written in place: one line with the number and the file's own inode.

    A copy has another inode, so a folder that was brought back as a whole counts as one without a record.
    """

    def read(self, name: str) -> int | None:
        try:
            with open(self._path(name), encoding="ascii") as file:
                number, inode = map(int, file.read().split())
                return number if inode == os.fstat(file.fileno()).st_ino else None
        except FileNotFoundError:
            return None
        except ValueError:  # half written: the power went while it was made
            return None
        except OSError as error:
            raise RecordUnavailable(f"{self._path(name)}: {error.strerror}") from error

    def write(self, name: str, number: int) -> None:
        path = self._path(name)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                # Of one length, so that nothing of an older line is left behind it.
                os.pwrite(descriptor, b"%0*d %0*d\n" % (DIGITS, number, DIGITS, os.fstat(descriptor).st_ino), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RecordUnavailable(f"{path}: {error.strerror}") from error

    def _path(self, name: str) -> Path:
        return Path(settings.STATE_DIR) / name


class StoredRecord:
    """An object in the object store, for processes on several machines."""

    def read(self, name: str) -> int | None:
        try:
            return int(object_store.read(self._name(name)))
        except (FileNotFoundError, ValueError):
            return None
        except StoreUnavailable as error:
            raise RecordUnavailable(str(error)) from error

    def write(self, name: str, number: int) -> None:
        try:
            object_store.write(self._name(name), b"%d\n" % number)
        except StoreUnavailable as error:
            raise RecordUnavailable(str(error)) from error

    @staticmethod
    def _name(name: str) -> str:
        return f"state/{name}"


def outside_record() -> OutsideRecord:
    made: OutsideRecord = import_string(settings.OUTSIDE_RECORD)()
    return made
