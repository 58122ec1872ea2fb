"""`manage.py smtp`: the server that mail comes in by."""

import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from audit.actors import acting_as_system
from delivery.inbound import smtp_server

log = logging.getLogger(__name__)

RESTART_PAUSE = 1.0  # seconds, so that a child that dies at once does not spin


class Command(BaseCommand):
    help = "Receive mail by SMTP. SIGTERM: finish what is in DATA, then end."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.SMTP_HOST)
        parser.add_argument("--port", type=int, default=settings.SMTP_PORT)
        parser.add_argument("--processes", type=int, default=1, help="One for each core; they share the port.")
        parser.add_argument("--fd", type=int, help="A socket to serve on; used between our own processes.")

    def handle(self, *, host: str, port: int, processes: int, fd: int | None, **_: Any) -> None:
        if processes < 1:
            raise CommandError("--processes must be at least 1.")
        self._check_certificate()
        if fd is not None:
            self._serve(socket.socket(fileno=fd), announce=False)
        elif processes == 1:
            self._serve(_bound(host, port), announce=True)
        else:
            self._supervise(host, port, processes)

    def _check_certificate(self) -> None:
        try:
            smtp_server.tls_context()
        except OSError as error:
            raise CommandError(f"The certificate {settings.SMTP_TLS_CERTIFICATE} cannot be used: {error}") from error

    def _serve(self, listening: socket.socket, *, announce: bool) -> None:
        with acting_as_system("smtp"):
            smtp_server.serve(listening, lambda: self._announce(listening) if announce else None)

    def _announce(self, listening: socket.socket, processes: int = 1) -> None:
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self.stdout.write(f"Receiving mail at {shown}:{port}" + (f" in {processes} processes" if processes > 1 else ""))
        self.stdout.flush()

    def _supervise(self, host: str, port: int, processes: int) -> None:
        _bound(host, port).close()  # a port that is shared can be taken twice without a word: ask for it alone first
        sockets = [_bound(host, port, shared=True)]
        sockets += [_bound(host, sockets[0].getsockname()[1], shared=True) for _ in range(processes - 1)]
        family = _Family(sockets)
        family.start()
        self._announce(sockets[0], processes)
        family.wait()


def _bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket. Raises CommandError with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((host, port))
        listening.listen(smtp_server.BACKLOG)
    except OSError as error:
        listening.close()
        raise CommandError(_why_not(host, port, error)) from error
    return listening


def _why_not(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} of {host} is taken. Stop what uses it, or set MAILBOT_SMTP_PORT."
        case errno.EACCES:
            return f"Port {port} needs more rights (CAP_NET_BIND_SERVICE). Set MAILBOT_SMTP_PORT to 1024 or higher."
        case _:
            return f"Cannot listen at {host}:{port}: {error.strerror or error}."


class _Family:
    """The children, one for each socket. The sockets stay ours: who connects while a child is restarted waits and is
    not refused.

    Children are new interpreters and no forks, which would share the state of random number generators, so that two
    could make the same id.
    """

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._is_stopping = False

    def start(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for listening in self._sockets:
            self._start_child(listening.fileno())

    def wait(self) -> None:
        """Until we are told to stop and all children have ended."""
        while self._children:
            pid, status = os.wait()
            fd = next((fd for fd, child in self._children.items() if child.pid == pid), None)
            if fd is None:
                continue
            del self._children[fd]
            if not self._is_stopping:
                log.error("smtp process %d ended with %d; starting another", pid, os.waitstatus_to_exitcode(status))
                time.sleep(RESTART_PAUSE)
            if not self._is_stopping:  # the pause may have ended in a signal
                self._start_child(fd)

    def _start_child(self, fd: int) -> None:
        # A session of its own, so that Ctrl-C reaches it once, through us.
        command = [sys.executable, sys.argv[0], "smtp", f"--fd={fd}"]
        self._children[fd] = subprocess.Popen(command, pass_fds=[fd], start_new_session=True)  # noqa: S603  (our own argv)

    def _stop(self, *_: object) -> None:
        self._is_stopping = True
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)
