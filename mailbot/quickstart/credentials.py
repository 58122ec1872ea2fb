"""The account, the key and the console user that a first start makes, and the file that tells a user about them."""

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from audit.actors import acting_as_system
from inboxes.keys import find_key, issue_key
from inboxes.models import Account, Membership, Mode
from mailbot.quickstart.obstacles import CannotStart

NAME = "Quickstart"
USERNAME = "quickstart"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a user needs to begin, under the names of the file."""

    MAILBOT_URL: str
    MAILBOT_API_KEY: str
    MAILBOT_SMTP: str
    MAILBOT_ADMIN_USER: str
    MAILBOT_ADMIN_PASSWORD: str


def credentials_file() -> Path:
    folder: Path = settings.VAR
    return folder / "quickstart.env"


def prepare_credentials() -> Credentials:
    """Credentials that work, in quickstart.env and returned: those of an earlier start if the database knows them.

    Only their absence makes new ones, so a password that was changed in the console stays changed. Raises CannotStart
    when the file cannot be written. Safe to interrupt: what is missing is made by the next start.
    """
    kept = _read(credentials_file())
    with acting_as_system("quickstart"), transaction.atomic():
        account = Account.objects.filter(name=NAME).first() or Account.objects.create(name=NAME)
        credentials = Credentials(
            MAILBOT_URL=settings.MAILBOT_URL,
            MAILBOT_API_KEY=_usable_key(account, kept.get("MAILBOT_API_KEY", "")),
            MAILBOT_SMTP=f"{settings.SMTP_HOST}:{settings.SMTP_PORT}",
            MAILBOT_ADMIN_USER=USERNAME,
            MAILBOT_ADMIN_PASSWORD=_usable_password(account, kept.get("MAILBOT_ADMIN_PASSWORD", "")),
        )
    lines = {field: getattr(credentials, field) for field in Credentials.__slots__}
    if lines != kept:
        _write(credentials_file(), lines)
    return credentials


def _usable_key(account: Account, kept: str) -> str:
    if kept and find_key(kept):
        return kept
    return issue_key(account=account, name=NAME, mode=Mode.TEST)[1]


def _usable_password(account: Account, kept: str) -> str:
    User = get_user_model()  # noqa: N806
    user = User.objects.filter(username=USERNAME).first()
    if user and kept:
        return kept
    password = secrets.token_urlsafe(12)
    user = user or User(username=USERNAME, is_staff=True, is_superuser=True)
    user.set_password(password)
    user.save()
    Membership.objects.get_or_create(account=account, user=user, defaults={"role": Membership.Role.OWNER})
    return password


def _read(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def _write(file: Path, values: dict[str, str]) -> None:
    """All or nothing: a reader never sees half of it, and nobody but the owner sees any of it, at no moment."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.writelines(f"{name}={value}\n" for name, value in values.items())
        draft.replace(file)
    except OSError as error:
        raise CannotStart(f"{file} cannot be written ({error.strerror}). Remove it or set MAILBOT_VAR.") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
