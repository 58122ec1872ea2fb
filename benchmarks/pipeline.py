"""How many mails a second are accepted and become visible, and how soon an open wait has its answer.

    PYTHONPATH=. .venv/bin/python benchmarks/pipeline.py [--mails 6000] [--connections 20] [--waits 40]

One smtp, one worker (two pool processes) and one web process of the profile that DATABASE_URL and REDIS_URL choose, with the load of
benchmarks/smtp_intake.py from this process. "Visible" is a message that the API lists; the rate counts from the first octet sent to the
last message visible.
"""

import argparse
import smtplib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import uvloop

from benchmarks.smtp_intake import PREPARE, ROOT, in_django, load, mail, new_database, server

KEY = """
import django; django.setup()
from inboxes.keys import issue_key
from inboxes.models import Account
print(issue_key(account=Account.objects.get(), name="bench", mode="test")[1])
"""
WORKER = (
    "-A mailbot worker --include mailbot.shutdown -c 2 --without-gossip --without-mingle --without-heartbeat -l error"
)
PATIENCE = 120.0  # seconds


@contextmanager
def process(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    running = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.terminate()
        running.wait()


class Api:
    def __init__(self, port: int, key: str) -> None:
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/v1", headers={"Authorization": f"Bearer {key}"}, timeout=30
        )

    def ready(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.inboxes = self.client.get("/inboxes").json()["data"]
                return
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def visible(self) -> int:
        return sum(inbox["message_count"] for inbox in self.client.get("/inboxes").json()["data"])


def until_visible(api: Api, wanted: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while (seen := api.visible()) < wanted:
        if time.monotonic() > deadline:
            sys.exit(f"Only {seen:,} of {wanted:,} mails became visible within {PATIENCE:.0f} s.")
        time.sleep(0.05)


def waits(api: Api, smtp_port: int, number: int) -> list[float]:
    """Milliseconds from the 250 to the answer of a wait that was open before."""
    found = []
    inbox = api.inboxes[0]
    with smtplib.SMTP("127.0.0.1", smtp_port) as smtp:
        for sample in range(number):
            answered: list[float] = []

            def wait(sample: int = sample, answered: list[float] = answered) -> None:
                api.client.get(f"/inboxes/{inbox['id']}/messages/wait", params={"subject_contains": f"wait {sample}."})
                answered.append(time.perf_counter())

            waiter = threading.Thread(target=wait)
            waiter.start()
            time.sleep(0.2)  # the wait is open and sleeps
            smtp.sendmail("a@example.com", [inbox["address"]], f"Subject: wait {sample}.\r\n\r\nhello\r\n")
            accepted = time.perf_counter()
            waiter.join()
            found.append((answered[0] - accepted) * 1000)
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mails", type=int, default=6000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--waits", type=int, default=40)
    options = parser.parse_args()
    python = sys.executable
    with new_database() as environment, ExitStack() as stack:
        in_django(PREPARE, environment)
        key = in_django(KEY, environment).strip()
        port = 18_765
        web = [python, "-m", "uvicorn", "mailbot.asgi:application", f"--port={port}", "--log-level=error"]
        stack.enter_context(process(web, environment))
        stack.enter_context(process([python, "-m", "celery", *WORKER.split()], environment))
        smtp_port = stack.enter_context(server([python, "manage.py", "smtp", "--port=0"], environment))
        api = Api(port, key)
        api.ready()
        uvloop.run(load(smtp_port, [mail(-1)], 1))
        until_visible(api, 1)
        answers = waits(api, smtp_port, options.waits)
        before = api.visible()
        started = time.perf_counter()
        accepted, seconds = uvloop.run(load(smtp_port, [mail(n) for n in range(options.mails)], options.connections))
        until_visible(api, before + accepted)
        took = time.perf_counter() - started
    p95 = answers[int(len(answers) * 0.95) - 1]
    print(f"250 to the answer of an open wait, idle: p50 {statistics.median(answers):.0f} ms, p95 {p95:.0f} ms")
    print(f"{accepted:,} mails: accepted {accepted / seconds:,.0f}/s, accepted and visible {accepted / took:,.0f}/s")


if __name__ == "__main__":
    main()
