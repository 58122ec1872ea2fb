"""Typed readers for the environment.

Each reader takes a name and a default and raises `ImproperlyConfigured` with one clear line when the value cannot be read. A secret
may also be given as a file, by the same name with `_FILE` at its end (the convention of Docker and systemd secrets).
"""

import os
import re
import secrets
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from mailbot.lib.addresses import AddressError, canonical_domain
from mailbot.lib.rates import Rate

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def text(name: str, default: str = "") -> str:
    """The value of `name`, or the content of the file that `name`_FILE points at, or `default`. Empty counts as absent."""
    if value := os.environ.get(name, "").strip():
        return value
    if not (path := os.environ.get(f"{name}_FILE", "").strip()):
        return default
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE={path} cannot be read: {error.strerror}.") from error


def number(name: str, default: int, *, minimum: int = 0) -> int:
    """A whole number of at least `minimum`."""
    value = text(name, str(default))
    if not value.isascii() or not value.isdigit() or int(value) < minimum:
        raise ImproperlyConfigured(f"{name}={value} is not a whole number of at least {minimum}.")
    return int(value)


def numbers(name: str, default: list[int], *, minimum: int = 0) -> list[int]:
    """Whole numbers of at least `minimum`, separated by commas."""
    values = names(name, [str(item) for item in default])
    if not all(value.isascii() and value.isdigit() and int(value) >= minimum for value in values):
        raise ImproperlyConfigured(f"{name}={','.join(values)} is not a list of whole numbers of at least {minimum}.")
    return [int(value) for value in values]


def percent(name: str, default: str) -> Decimal | None:
    """More than 0 and at most 100, as `5` or `0.1`; None for `off` or 0."""
    value = text(name, default)
    if value.lower() in _FALSE:
        return None
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", value) or not 0 < Decimal(value) <= 100:
        raise ImproperlyConfigured(f"{name}={value} is neither a percentage such as 5 or 0.1 nor off.")
    return Decimal(value)


def rate(name: str, default: str) -> Rate | None:
    """So many in a second, minute, hour or day, as `600/minute`; None for `off` or 0."""
    value = text(name, default)
    if value.lower() in _FALSE:
        return None
    try:
        return Rate.of(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}={value} is neither a rate such as 600/minute nor off.") from error


def flag(name: str, default: bool) -> bool:
    """true/false, yes/no, on/off or 1/0, in any case."""
    value = text(name, str(default)).lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={value} is neither true nor false.")


def one_of(name: str, choices: Sequence[str], default: str) -> str:
    """One of `choices`, in any case."""
    value = text(name, default).lower()
    if value not in choices:
        raise ImproperlyConfigured(f"{name}={value} is not one of {', '.join(choices)}.")
    return value


def names(name: str, default: list[str]) -> list[str]:
    """A list, separated by commas."""
    value = text(name)
    return [item.strip() for item in value.split(",") if item.strip()] if value else default


def path(name: str, default: Path) -> Path:
    """A folder or file, made absolute; `~` is expanded."""
    return Path(text(name, str(default))).expanduser().absolute()


def domain(name: str, default: str) -> str:
    """A host name in lower-case A-labels, as addresses are stored."""
    value = text(name, default)
    try:
        return canonical_domain(value)
    except AddressError as error:
        raise ImproperlyConfigured(
            f"{name}={value}: {error} Set it to a host name such as mail.example.com."
        ) from error


def kept_secret(name: str, file: Path) -> str:
    """The secret `name`, or the one kept in `file`, which is made (mode 0600) when neither is there. So is its folder, which
    nobody else may enter: the mail of the embedded profile is kept beside it.

    Where `file` cannot be written the secret is the empty string: a system check then says what to set.
    """
    if value := text(name):
        return value
    try:
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_once(file, secrets.token_urlsafe(48))
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _write_once(file: Path, value: str) -> None:
    """Two processes may start at the same moment: the first to link its file wins, the other reads that one."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(value)
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def prefixed(prefix: str) -> dict[str, str]:
    """Every variable whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in os.environ.items() if name.startswith(prefix)}


def relay(url: str, *, timeout: int) -> dict[str, object]:
    """Django's EMAIL_… settings for a smart host.

    `smtp://user:password@host:port/?starttls=true` or `smtps://…`; anything else (`console:`) leaves the backend as it is.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps"):
        return {}
    return {
        "EMAIL_BACKEND": "delivery.outbound.smart_host.SmartHostBackend",
        "EMAIL_HOST": parts.hostname or "localhost",
        "EMAIL_PORT": parts.port or (465 if parts.scheme == "smtps" else 25),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parse_qs(parts.query).get("starttls", ["false"])[0] in _TRUE,
        "EMAIL_TIMEOUT": timeout,
    }
