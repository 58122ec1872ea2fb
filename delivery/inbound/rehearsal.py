"""Reading mail in a process of its own first, where it may have ended the worker that read it before.

A mail can make a parser take all memory or break a library: the process that reads it is gone, and with it the knowledge which of a
batch it was. A process that reads for nothing but to be seen doing it tells, and its end costs nobody anything.
"""

import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from django.conf import settings

from mailbot.lib.failpoints import failpoint
from threads.reading import read_mail

_LENGTH = 4  # octets before each mail


def rehearse(mails: Sequence[bytes], seconds: float) -> tuple[int, str]:
    """How many of these mails, from the first on, a process has read to an end; and what is wrong with the next one, if it is to blame.

    The process ends itself after `seconds` of reading. It is waited for a half longer, because a busy machine may start it slowly:
    for that no mail is to blame. Nor is one whose process was killed for another reason: a second one reads it then.
    """
    number, blame, is_sure = _rehearse_once(mails, seconds)
    if not blame or is_sure:
        return number, blame
    again, blame, _ = _rehearse_once(mails[number : number + 1], seconds)
    return number + again, blame


def _rehearse_once(mails: Sequence[bytes], seconds: float) -> tuple[int, str, bool]:
    """The same, and whether it was the mail for sure."""
    written = b"".join(len(raw).to_bytes(_LENGTH) + raw for raw in mails)
    command = [sys.executable, "-m", __name__, str(seconds)]
    try:
        done = subprocess.run(  # noqa: S603 (a command line of our own)
            command, cwd=settings.BASE_DIR, input=written, stdout=subprocess.PIPE, timeout=1.5 * seconds
        )
    except subprocess.TimeoutExpired as late:
        return len(late.stdout or b""), "", False
    number = len(done.stdout)
    blame = _blame(done.returncode, number, seconds) if number < len(mails) else ""
    return number, blame, done.returncode == -signal.SIGALRM


def _blame(code: int, number: int, seconds: float) -> str:
    if code == -signal.SIGALRM:  # a long batch is nobody's fault
        return "" if number else f"It could not be read in {seconds:g} s."
    return f"The process that read it ended with {code}." if code else ""


def _read_all(mails: BinaryIO, seen: BinaryIO) -> None:
    """An octet for each mail that was read. What raises ends no process: the worker will see it too, and say more of it."""
    while length := mails.read(_LENGTH):
        raw = mails.read(int.from_bytes(length))
        failpoint("inbound.reading", raw)
        with suppress(Exception):
            read_mail(raw)
        seen.write(b".")
        seen.flush()


if __name__ == "__main__":
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))  # SIGALRM ends us, whatever code we are in
    _read_all(sys.stdin.buffer, sys.stdout.buffer)
