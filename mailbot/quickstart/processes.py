"""The processes of the Procfile, run by honcho as one child of ours.

Honcho starts them, mixes their output and stops all when one ends. It runs in a session of its own, so a Ctrl-C at the
terminal reaches only us, and we ask it to stop with SIGTERM, once and when it is ready for that.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from pathlib import Path

from honcho.environ import parse_procfile

HONCHO_LINE = re.compile(r"\d\d:\d\d:\d\d (\S+) +\| ?(.*)")
STARTED = re.compile(r"(\S+)\.1 started \(pid=(\d+)\)")
STOPPED = re.compile(r"(\S+)\.1 stopped \(rc=(-?\d+)\)")
STARTS_WITHIN = 5.0  # seconds until honcho has forked every process
PATIENCE = 8  # seconds from the first process that has stopped until honcho kills the others; a worker may be in a task
STOPS_WITHIN = PATIENCE + 1.5  # seconds until we kill what honcho has left
# Honcho has no option for its patience, which is 5 s, and a Celery worker without work takes 4 s to stop.
HONCHO = f"from honcho import command, manager; manager.KILL_WAIT = {PATIENCE}; command.main()"
LINES_KEPT = 20


def procfile_commands(folder: Path) -> dict[str, str]:
    """Name → shell command, in the order of the file."""
    return dict(parse_procfile((folder / "Procfile").read_text(encoding="utf-8")).processes)


def child_environment(**values: str) -> dict[str, str]:
    """Ours, with `values`. `python` and `celery` are those beside the running Python; output is not held back."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **values}


def leash() -> list[str]:
    """The beginning of a command line whose process is asked to stop when its parent is gone, even by `kill -9`.

    Linux does this by PR_SET_PDEATHSIG, which util-linux's setpriv sets and exec keeps. Elsewhere there is no such
    thing: empty.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


class Processes:
    """Everything in the Procfile of `folder`, running. Use as a context manager: leaving it stops all of them."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.names = list(procfile_commands(folder))
        self.last_lines: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=LINES_KEPT))
        self.ended: tuple[str, int] | None = None
        """Name and exit code of the first process that ended, which takes the others with it."""
        self._groups: dict[str, int] = {}
        self._change = threading.Condition()
        self._stopping = False

    def __enter__(self) -> "Processes":
        command = [*leash(), sys.executable, "-c", HONCHO, "-e", os.devnull, "-f", "Procfile", "start", "--no-colour"]
        reading, writing = os.pipe()
        # Honcho also inherits the reading end. Without it, once we were killed, its next line would raise
        # BrokenPipeError in the middle of stopping its children.
        self._honcho = subprocess.Popen(  # noqa: S603 (a command line of our own)
            command,
            cwd=self.folder,
            env={**self.environment, "PORT": "5000"},
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            pass_fds=[reading],
            start_new_session=True,
        )
        os.close(writing)
        self._reader = threading.Thread(target=self._read, args=[reading], daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A second Ctrl-C must not break off a stop that takes a few seconds at most.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.stop()

    def wait(self, seconds: float) -> bool:
        """Sleep until a process has ended, at most so long. Whether one has."""
        with self._change:
            return self._change.wait_for(lambda: self.ended is not None, seconds)

    def stop(self) -> None:
        """Ask all to stop, kill what has not stopped in time, and leave nothing behind. Safe to repeat."""
        self._stopping = True
        deadline = time.monotonic() + STOPS_WITHIN
        if self._honcho.poll() is None:
            # Before it has noted the pid of each child, honcho fails on SIGTERM and leaves them alone.
            with self._change:
                self._change.wait_for(lambda: self._all_started() or self.ended is not None, STARTS_WITHIN)
            self._honcho.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._honcho.wait(max(0.1, deadline - time.monotonic()))
        self._reader.join(timeout=0.5)
        for group in list(self._groups.values()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        self._honcho.kill()
        self._honcho.wait()

    def _all_started(self) -> bool:
        return len(self._groups) == len(self.names)

    def _read(self, descriptor: int) -> None:
        with open(descriptor, encoding="utf-8", errors="replace") as output:
            for line in output:
                self._take(line.rstrip("\n"))
        self._note_end("honcho", self._honcho.wait())

    def _take(self, line: str) -> None:
        found = HONCHO_LINE.fullmatch(line)
        name, text = found.groups() if found else ("honcho", line)
        name = name.removesuffix(".1")
        if name == "system":
            self._note(text)
            return
        self.last_lines[name].append(text)
        # What a process says while it is being stopped is of no use to anybody.
        if not self._stopping and self.ended is None:
            print(f"{name:<6} | {text}", file=sys.stderr, flush=True)

    def _note(self, text: str) -> None:
        if found := STARTED.fullmatch(text):
            with self._change:
                self._groups[found[1]] = int(found[2])
                self._change.notify_all()
        elif found := STOPPED.fullmatch(text):
            self._groups.pop(found[1], None)
            self._note_end(found[1], int(found[2]))

    def _note_end(self, name: str, code: int) -> None:
        with self._change:
            self.ended = self.ended or (name, code)
            self._change.notify_all()
