"""A mail server that does its duty, in a process of its own: it survives whatever a test kills, and so does its ledger.

    python -m tests.flows.sender <smtp host:port> <ledger> <pause> <first address> <second address> …

It sends to each address from a thread of its own, with so many seconds between two mails, until its standard input is closed:
conversations of ten mails, each the reply to the one before. It tries again until it has a 250; now and then it gives up on one instead,
whose fate it does not know. The ledger has a line for each step, flushed to the disk: `tried`, `acknowledged` or `abandoned`, then the
number of the address, of the mail and of its parent.
"""

import os
import random
import smtplib
import sys
import threading
from pathlib import Path

TRIES_AGAIN_AFTER = 0.1
CONVERSATION = 10
GIVES_UP_ON = 7  # every so many


def message_id(lane: int, number: int) -> str:
    return f"<{lane}.{number}@faults.example>"


def mail(lane: int, number: int, parent: int | None) -> bytes:
    """The same for the same arguments, so that a test can say what the server must give back."""
    chance = random.Random(f"{lane} {number}")
    reply = f"In-Reply-To: {message_id(lane, parent)}\r\n" if parent is not None else ""
    lines = [b".", b"..", b"From here", bytes(chance.choices(range(128, 256), k=40)), b"text " * chance.randint(0, 200)]
    chance.shuffle(lines)
    head = f"From: sender@faults.example\r\nSubject: {lane} {number}\r\nMessage-ID: {message_id(lane, number)}\r\n{reply}\r\n"
    return head.encode() + b"\r\n".join(lines) + b"\r\n"


class Ledger:
    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, what: str, lane: int, number: int, parent: int | None) -> None:
        os.write(self._file, f"{what} {lane} {number} {'' if parent is None else parent}\n".encode())
        os.fsync(self._file)


class Sender(threading.Thread):
    """One address's."""

    def __init__(self, smtp: str, ledger: Ledger, pause: float, lane: int, address: str, stop: threading.Event) -> None:
        super().__init__()
        self.host, port = smtp.split(":")
        self.port, self.ledger, self.pause, self.lane, self.address, self.stop = (
            int(port),
            ledger,
            pause,
            lane,
            address,
            stop,
        )

    def run(self) -> None:
        number, parent = 0, None
        while not self.stop.wait(self.pause):
            if number % CONVERSATION == 0:
                parent = None
            self.ledger.note("tried", self.lane, number, parent)
            if self._delivers(number, parent):
                self.ledger.note("acknowledged", self.lane, number, parent)
                parent = number
            else:
                self.ledger.note("abandoned", self.lane, number, parent)
            number += 1

    def _delivers(self, number: int, parent: int | None) -> bool:
        while not self._accepted(mail(self.lane, number, parent)):
            if number % GIVES_UP_ON == GIVES_UP_ON - 1:
                return False
            threading.Event().wait(TRIES_AGAIN_AFTER)
        return True

    def _accepted(self, raw: bytes) -> bool:
        try:
            with smtplib.SMTP(self.host, self.port, timeout=10) as smtp:
                smtp.sendmail("sender@faults.example", [self.address], raw)
                return True
        except (OSError, smtplib.SMTPException):
            return False


def main(smtp: str, ledger: str, pause: str, *addresses: str) -> None:
    stop = threading.Event()
    senders = [
        Sender(smtp, Ledger(Path(ledger)), float(pause), lane, address, stop) for lane, address in enumerate(addresses)
    ]
    for sender in senders:
        sender.start()
    sys.stdin.read()
    stop.set()
    for sender in senders:
        sender.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
