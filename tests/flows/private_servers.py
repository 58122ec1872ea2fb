"""A Redis and a PostgreSQL of a test's own, that it may stop, restart, hold still and fill, and a disk that is soon full."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from mailbot.quickstart.processes import leash
from tests.flows import templates
from tests.flows.conftest import HOST, Server, free_ports, until
from threads.wakeups_redis import CHANNEL

STOPS_WITHIN = 20.0  # seconds
MAKE_ROLES = "CREATE ROLE mailbot_tenant NOLOGIN; CREATE ROLE mailbot_system NOLOGIN;"  # a dump has none
is_production = bool(os.environ.get("DATABASE_URL")) and bool(os.environ.get("REDIS_URL"))
production_only = pytest.mark.skipif(not is_production, reason="production profile only")
embedded_only = pytest.mark.skipif(is_production, reason="embedded profile only")


class OutageServer(Server):
    """A mailbot whose processes have to come through what happens to others."""

    def prepare(self) -> None:
        """Of the clusters of a run, which are all alike, only the first database is migrated; the others get its dump."""
        url = self.environment["DATABASE_URL"]
        if not url or templates.is_copy(url):
            super().prepare()
            return
        with templates.only_one() as folder:
            dump, key = folder / "private.sql", folder / "private.key"
            if dump.exists():
                self.api_key = key.read_text()
                _psql(url, f"{MAKE_ROLES}{dump.read_text()}")
                return
            super().prepare()
            key.write_text(self.api_key)
            dump.write_text(_run("pg_dump", url))

    def has_said(self, name: str, words: str, times: int = 1) -> bool:
        """Whether a process has written `words` so often since the test began."""
        return dict(self.news()).get(name, "").count(words) >= times

    def memory(self, name: str) -> int:
        """Octets that a process holds (RSS)."""
        return resident_of(self._running[name].pid)

    def forget_peak(self, name: str) -> None:
        """`peak` counts from now on."""
        Path(f"/proc/{self._running[name].pid}/clear_refs").write_text("5")  # of Linux, proc(5)

    def peak(self, name: str) -> int:
        """The most octets that a process held."""
        status = Path(f"/proc/{self._running[name].pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


class PrivateServer:
    """A process of a test's own. It can be stopped, started again in the same place, and held still."""

    port: int
    _process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Returns when it serves."""
        self._process = self._spawn()
        until(self._serves, f"{type(self).__name__} serves")

    def look_after(self) -> None:
        """Start it again when it has ended, as a service manager does. Returns when it serves."""
        until(self._serves_or_is_started, f"{type(self).__name__} serves again")

    def _serves_or_is_started(self) -> bool:
        if self._process.poll() is not None:
            self._process = self._spawn()
        return self._serves()

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process.poll() is None:
            self._process.send_signal(how)
        self._process.wait(STOPS_WITHIN)

    @contextlib.contextmanager
    def held_still(self) -> Iterator[None]:
        """It keeps its connections, and the system takes new ones for it; but nobody answers: SIGSTOP."""
        self._signal_all(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in [self._process.pid, *children_of(self._process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _spawn(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _serves(self) -> bool:
        raise NotImplementedError


class PrivateRedis(PrivateServer):
    """It keeps nothing on disk: after a stop it is empty."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"redis://{HOST}:{self.port}/0"
        self._folder = folder

    def flush(self) -> None:
        with redis.Redis.from_url(self.url) as connection:
            connection.flushall()

    def listeners(self) -> int:
        """How many processes listen for wake-ups."""
        with redis.Redis.from_url(self.url) as connection:
            return sum(number for _, number in connection.pubsub_numsub(CHANNEL))

    def _spawn(self) -> subprocess.Popen[bytes]:
        place = [
            "--bind",
            HOST,
            "--port",
            str(self.port),
            "--dir",
            str(self._folder),
            "--save",
            "",
            "--loglevel",
            "warning",
        ]
        with (self._folder / "redis.log").open("ab") as log:
            return subprocess.Popen(
                [*leash(), "redis-server", *place], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _serves(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1) as connection:
                return bool(connection.ping())
        except redis.RedisError:
            return False


class PrivatePostgres(PrivateServer):
    """A cluster in `folder`, which must be the user's own; fsync is on. `url` names a database that `private_postgres` makes.

    With `wal`, its log is in that empty folder, in files of 1 MiB, and no checkpoint makes room there.
    """

    def __init__(self, folder: Path, wal: Path | None = None) -> None:
        (self.port,) = free_ports(1)
        self.url = f"postgres://postgres@{HOST}:{self.port}/mailbot"
        self._folder = folder
        self._settings = {"max_wal_size": "1GB", "checkpoint_timeout": "1h"} if wal else {}
        place = [f"--waldir={wal}", "--wal-segsize=1"] if wal else []
        options = [
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--pgdata=cluster",
        ]
        self._run("initdb", *options, *place)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT is the immediate shutdown: no connection is ended in order and nothing is written any more."""
        super().stop(how)

    def has_said(self, word: str) -> bool:
        """Whether its log has the word."""
        return word in (self._folder / "postgres.log").read_text(errors="replace")

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url.replace("/mailbot", "/postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _spawn(self) -> subprocess.Popen[bytes]:
        place = {"port": self.port, "listen_addresses": HOST, "unix_socket_directories": self._folder}
        settings = {**place, "fsync": "on", **self._settings}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "postgres.log").open("ab") as log:
            return self._popen(["postgres", "-D", "cluster", *options], stdout=log, stderr=log)

    def _serves(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, *command: str) -> None:
        process = self._popen(list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate()
        assert process.returncode == 0, output.decode()

    def _popen(self, command: list[str], **options: object) -> subprocess.Popen[bytes]:
        """As the user postgres when we are root, whom PostgreSQL refuses to run for."""
        program = str(postgresql_programs() / command[0])
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            [*leash(), program, *command[1:]], cwd=self._folder, stdin=subprocess.DEVNULL, **user, **options
        )


def resident_of(pid: int) -> int:
    """Octets, of Linux: the second figure of statm is in pages."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0


def children_of(pid: int) -> list[int]:
    """Of Linux: the processes that `pid` has started and that live."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@functools.cache
def postgresql_programs() -> Path:
    """The folder of the newest PostgreSQL here. Skips the test where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    beside = shutil.which("postgres")
    if not found and not beside:
        pytest.skip("The programs of a PostgreSQL server are not installed here (/usr/lib/postgresql/*/bin).")
    return found[-1].parent if found else Path(str(beside)).parent


def _psql(url: str, statements: str) -> None:
    _run("psql", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--output=/dev/null", url, told=statements)


def _run(program: str, *arguments: str, told: str = "") -> str:
    command = [str(postgresql_programs() / program), *arguments]
    done = subprocess.run(command, input=told, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def private_redis() -> Iterator[PrivateRedis]:
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed here.")
    with tempfile.TemporaryDirectory(prefix="mailbot-redis-") as folder:
        server = PrivateRedis(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def private_postgres(wal: Path | None = None) -> Iterator[PrivatePostgres]:
    """Running, with an empty database; its log is in the folder `wal` if there is one."""
    postgresql_programs()
    with tempfile.TemporaryDirectory(prefix="mailbot-postgres-") as folder:
        give_to_postgres(Path(folder))
        server = PrivatePostgres(Path(folder), wal)
        server.start()
        try:
            server.execute("CREATE DATABASE mailbot")
            yield server
        finally:
            server.stop()


def give_to_postgres(folder: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")


class SmallDisk:
    """A file system of a few megabytes. `fill` leaves `octets` of room, `make_room` takes away what filled it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def keep(self, postgres: "PrivatePostgres") -> None:
        """The database, while nobody uses it; the log of the cluster stays where it is."""
        postgres.execute(f"CREATE TABLESPACE small LOCATION '{self.folder_for_postgres('tablespace')}'")
        postgres.execute("ALTER DATABASE mailbot SET TABLESPACE small")

    def folder_for_postgres(self, name: str) -> Path:
        place = self.folder / name
        place.mkdir()
        give_to_postgres(place)
        self.folder.chmod(0o755)  # so that the user postgres may pass
        return place

    def fill(self, leaving: int = 0) -> None:
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while (room := self.room() - leaving) > 0:
                ballast.write(bytes(min(room, 1024 * 1024)))

    def room(self) -> int:
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_bsize

    def make_room(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[SmallDisk]:
    """A tmpfs. Skips the test where mounting is not allowed: without root, and in most containers."""
    with small_disk_if_allowed(megabytes) as disk:
        if disk is None:
            pytest.skip("A small disk cannot be mounted here.")
        yield disk


@contextlib.contextmanager
def small_disk_if_allowed(megabytes: int) -> Iterator[SmallDisk | None]:
    with tempfile.TemporaryDirectory(prefix="mailbot-disk-") as folder:
        size = f"size={megabytes}m"
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, text=True)
        if mounted.returncode:
            print(f"A small disk cannot be mounted here: {mounted.stderr.strip()}")
            yield None
            return
        try:
            yield SmallDisk(Path(folder))
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
