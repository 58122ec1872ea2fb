"""TypeIDs: a prefix that says what the thing is, then a UUIDv7 in base32, so that ids sort by the time they were made.

Source: the TypeID specification 0.3 (typeid.io), RFC 9562 for UUIDv7.
"""

import re
import secrets
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

from django.db import models
from typeid import TypeID
from uuid_utils import UUID

ID_LENGTH = 40
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_numbers = count()
_SHAPE = re.compile(r"[a-z]{1,12}_[0-7][0-9a-hjkmnp-tv-z]{25}")


def new_id(prefix: str) -> str:
    """A new id, for example `msg_01m86mjjvsewt8t640x9zpmss7`. Ids of one process rise strictly."""
    return str(TypeID(prefix=prefix))


def id_at(prefix: str, moment: datetime) -> str:
    """A new id of just this moment, for rows that are looked for by both.

    Ids sort as their moments do, to the microsecond, and those of one moment as this process made them. Source: RFC 9562, section 6.2,
    methods 3 and 1.
    """
    milliseconds, rest = divmod((moment - _EPOCH) // _MICROSECOND, 1000)
    number = next(_numbers) & 0xFFFFF
    bits = milliseconds << 80 | 7 << 76 | rest * 4096 // 1000 << 64 | 2 << 62 | number << 42 | secrets.randbits(42)
    return str(TypeID.from_uuid(UUID(int=bits), prefix))


def first_id(prefix: str, moment: datetime) -> str:
    """No id that is made at `moment` or later sorts before this one, as far as clocks agree."""
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    return str(TypeID.from_uuid(UUID(int=milliseconds << 80), prefix))


def is_id(value: str, prefix: str) -> bool:
    """Whether `value` has the shape of an id with this prefix; says nothing about whether it exists."""
    return value.startswith(f"{prefix}_") and _SHAPE.fullmatch(value) is not None


class TypeIDField(models.CharField[str, str]):
    """A column that holds a TypeID and makes one by itself; the primary key unless told otherwise.

    Migrations see a plain CharField, so that they import none of our code and outlive it.
    """

    def __init__(self, prefix: str = "", **options: Any) -> None:
        self.prefix = prefix
        self.options = {"primary_key": True, "editable": False, **options}
        super().__init__(max_length=ID_LENGTH, default=partial(new_id, prefix), **self.options)

    def deconstruct(self) -> Any:
        name, _path, args, options = super().deconstruct()
        options.pop("default", None)
        return name, "django.db.models.CharField", args, options

    def clone(self) -> "TypeIDField":
        return TypeIDField(prefix=self.prefix, **self.options)
