"""What can stand in the way of a start, found before anything is started, and said in one line each."""

import errno
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from mailbot.lib import row_security
from mailbot.lib.scope import OWNER, acting_within

CONNECTS_WITHIN = 5  # seconds


class CannotStart(Exception):
    """Something that the user has to change first. The message says what, in whole sentences."""


def check_folder() -> None:
    """Raises CannotStart unless files can be written below MAILBOT_VAR, which is made when it is absent."""
    folder: Path = settings.VAR
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CannotStart(
            f"mailbot cannot write to {folder} ({error.strerror}). Set MAILBOT_VAR to a folder where it may."
        ) from error


def check_ports() -> None:
    """Raises CannotStart unless both ports can be bound: children that find it out later die with a traceback."""
    web, smtp = (settings.MAILBOT_HOST, settings.MAILBOT_PORT), (settings.SMTP_HOST, settings.SMTP_PORT)
    if settings.MAILBOT_PORT == settings.SMTP_PORT:
        raise CannotStart(f"MAILBOT_PORT and MAILBOT_SMTP_PORT are both {settings.SMTP_PORT}. Change one of them.")
    _check_port(*web, "web", "MAILBOT_HOST", "MAILBOT_PORT")
    _check_port(*smtp, "SMTP", "MAILBOT_SMTP_HOST", "MAILBOT_SMTP_PORT")


def _check_port(host: str, port: int, use: str, host_name: str, port_name: str) -> None:
    if port > 65535:  # the resolver would take it modulo 65,536
        raise CannotStart(f"{port_name}={port} is no port: the highest is 65535.")
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As the servers do: connections of an earlier run that are still in TIME_WAIT are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CannotStart(_why_not_bound(error, f"{host}:{port}", use, host_name, port_name)) from error


def _why_not_bound(error: OSError, address: str, use: str, host_name: str, port_name: str) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"The {use} port {address} is taken. Stop what listens there, or set {port_name} to a free port."
        case errno.EACCES:
            return f"The {use} port {address} needs more rights. Set {port_name} to a port above 1023."
        case _:
            return f"The {use} address {address} is none of this machine ({error}). Set {host_name} to one that is."


def check_settings() -> None:
    """Raises CannotStart with every serious finding of our own system checks, one line each.

    Django's checks find mistakes in the code, which the tests do too, and take a second: they load every URL and model.
    """
    if lines := list(_findings()):
        raise CannotStart("\n".join(lines))


def _findings() -> Iterator[str]:
    for check in checks.registry.registry.get_checks():
        if not check.__module__.startswith("django."):
            yield from (line for finding in check(app_configs=None, databases=None) if (line := _line_of(finding)))


def _line_of(finding: checks.CheckMessage) -> str:
    if not finding.is_serious() or finding.is_silenced():
        return ""
    return " ".join(f"{finding.msg} {finding.hint or ''} ({finding.id})".split())


def check_servers() -> None:
    """Raises CannotStart unless PostgreSQL and Redis answer, where they are set."""
    if settings.DATABASE_URL:
        _check_database()
    if settings.REDIS_URL:
        _check_redis()


def _check_database() -> None:
    # Past the pool, which would go on trying for ten seconds and log each time.
    database: Any = connection
    parameters = {**database.get_connection_params(), "connect_timeout": CONNECTS_WITHIN}
    try:
        database.Database.connect(**parameters).close()
    except database.Database.Error as error:
        raise CannotStart(f"mailbot cannot use its database: {_in_one_line(error)}. Look at DATABASE_URL.") from error


def _check_redis() -> None:
    import redis  # takes 0.2 s to load, and most starts have no use for it

    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=CONNECTS_WITHIN) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise CannotStart(f"mailbot cannot use Redis: {_in_one_line(error)}. Look at REDIS_URL.") from error


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".?")


def migrate_if_needed() -> None:
    """Brings the database up to date. Raises CannotStart when that fails.

    The starter does it, once, before the children: four processes that migrate at once would be in each other's way.
    """
    try:
        # As its owner: on the first start there is no other role yet, and none that may read what has been applied.
        with acting_within(OWNER):
            if not _is_up_to_date():
                call_command("migrate", verbosity=0, interactive=False)
    except (DatabaseError, CommandError) as error:
        raise CannotStart(f"mailbot cannot bring its database up to date: {_in_one_line(error)}.") from error


def _is_up_to_date() -> bool:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return False
    return connection.vendor != "postgresql" or row_security.is_built(connection)
