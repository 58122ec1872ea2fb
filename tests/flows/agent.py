"""An agent that sends mail, in a process of its own: it survives whatever a test kills, and so does its ledger.

    python -m tests.flows.agent <url> <key> <inbox id> <ledger> <pause>

It sends one mail after the other until its standard input is closed, and each again with the same Idempotency-Key until it has a 202. The
ledger has a line for each step, flushed to the disk: `tried <number>`, then `queued <number> <message id>`.
"""

import os
import sys
import threading

import httpx

TRIES_AGAIN_AFTER = 0.2


class Agent(threading.Thread):
    def __init__(self, url: str, key: str, inbox: str, ledger: str, pause: float) -> None:
        super().__init__()
        self.stop = threading.Event()
        self._url = f"{url}/v1/inboxes/{inbox}/messages"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._pause = pause

    def run(self) -> None:
        number = 0
        while not self.stop.wait(self._pause):
            self._note(f"tried {number}")
            while (message := self._send(number)) is None:
                threading.Event().wait(TRIES_AGAIN_AFTER)
            self._note(f"queued {number} {message}")
            number += 1

    def _send(self, number: int) -> str | None:
        body = {"to": f"customer-{number}@example.com", "subject": f"Order {number}", "body_text": f"About {number}."}
        headers = {**self._headers, "Idempotency-Key": f"order-{number}"}
        try:
            answer = httpx.post(self._url, json=body, headers=headers, timeout=15, verify=False)
        except httpx.HTTPError:
            return None
        return str(answer.json()["data"]["id"]) if answer.status_code == 202 else None

    def _note(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())
        os.fsync(self._file)


def main(url: str, key: str, inbox: str, ledger: str, pause: str) -> None:
    agent = Agent(url, key, inbox, ledger, float(pause))
    agent.start()
    sys.stdin.read()
    agent.stop.set()
    agent.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
