"""Changing the key that signs heads, so that whoever has the old public key can tell that the new one is ours."""

import os
from pathlib import Path

from django.db import transaction

from audit.models import AuditKey
from audit.record import Act, record
from audit.signing import add_key, key_in_use, key_of
from mailbot.lib.scope import acting_for_everybody


class RotationRefused(Exception):
    """The message says what is missing."""


def rotate(keys: list[str], *, lost: bool = False) -> AuditKey:
    """Put the first of `keys` (texts, the newest first) in use, endorsed by the one before. `lost`: nobody can endorse it.

    The entry that says so belongs to the server. Raises RotationRefused.
    """
    new, before = key_of(keys[0]), {key.id: key for key in map(key_of, keys[1:])}
    in_use = AuditKey.objects.order_by("-pk").first()
    if in_use is None:
        key_in_use()
        in_use = AuditKey.objects.latest("pk")
    if AuditKey.objects.filter(key_id=new.id).exists():
        raise RotationRefused(f"The key {new.id} is or was in use already: put a new one first in MAILBOT_AUDIT_KEYS.")
    old = before.get(in_use.key_id)
    if old is None and not lost:
        raise RotationRefused(
            f"The key in use, {in_use.key_id}, is not in MAILBOT_AUDIT_KEYS: put it behind the new one, or say --lost."
        )
    with transaction.atomic(), acting_for_everybody("the key of all trails"):
        key = add_key(new, None if lost else old)
        said = {"key": [in_use.key_id, new.id], "public_key": new.public.hex(), "endorsed": not lost}
        record(Act.TRAIL_KEY_ROTATED, None, account_id="", changes=said)
    return key


def write_key_file(file: Path, keys: list[str]) -> None:
    """The newest first, a line each, in place of what is there."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write("\n".join(keys) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(draft, file)
