"""TypeIDs: a prefix that says what the thing is, then a UUIDv7 in base32, so that ids sort by the time they were made.

Source: the TypeID specification 0.3 (typeid.io), RFC 9562 for UUIDv7.
"""

import re
from datetime import datetime
from functools import partial
from typing import Any

from django.db import models
from typeid import TypeID
from uuid_utils import UUID

ID_LENGTH = 40
_SHAPE = re.compile(r"[a-z]{1,12}_[0-7][0-9a-hjkmnp-tv-z]{25}")


def new_id(prefix: str) -> str:
    """A new id, for example `msg_01m86mjjvsewt8t640x9zpmss7`. Ids of one process rise strictly."""
    return str(TypeID(prefix=prefix))


def first_id(prefix: str, moment: datetime) -> str:
    """No id that is made at `moment` or later sorts before this one, as far as clocks agree."""
    milliseconds = int(moment.timestamp() * 1000)
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
