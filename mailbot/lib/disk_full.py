"""Whether an error says that a disk has no room left: the database's, or that of the files."""

import errno

_CODES = frozenset({"53100", "SQLITE_FULL"})  # PostgreSQL's disk_full, SQLite's result code 13
_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_disk_full(error: BaseException) -> bool:
    """The error itself or what it was raised from: Django's database errors have the driver's as their cause."""
    return any(_says_full(each) for each in (error, error.__cause__))


def _says_full(error: BaseException | None) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NUMBERS
    return getattr(error, "sqlstate", None) in _CODES or getattr(error, "sqlite_errorname", None) in _CODES
