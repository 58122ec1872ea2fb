"""Mail that leaves, and what ESPs tell of it: a second, beside the rate of Celery tasks that do nothing.

    python -m benchmarks.outbound [--runs 3] [--mails 2000] [--events 2000]

The ESP is that of the tests, a process of its own on loopback, which answers at once or after 50 ms. Mails are queued before the worker
starts; their rate is that at which the ESP took them, from its first to its last. Webhooks are accepted by the web process while no worker
runs, and then processed by one. The worker has two pool processes, as ever, and the provider places
for all their threads. In the end the ESP has each mail once, and each event is one row that is processed.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import redis

from benchmarks.figures import Figure, options_of, profile, report
from benchmarks.lab import HOST, ROOT, Mailbot, in_django, new_database, until
from mailbot.quickstart.processes import procfile_commands

LATENCIES = (0.0, 0.05)  # seconds
THREADS = 64  # of each pool process
POOL = 2
CALLERS = 8  # connections that bring webhooks
SETUP = """
import django; django.setup()
from inboxes.models import Account, Inbox, Provider
account = Account.objects.get()
provider = Provider(account=account, name="Fake", esp="postmark", is_default=True, concurrency={places})
provider.credentials = {{"server_token": "x", "api_url": "{url}"}}
provider.save()
Inbox.objects.filter(account=account).update(mode="live")
print(f"{{provider.pk}}/{{provider.token}}")
"""
QUEUE = """
import django; django.setup()
from audit.actors import acting_as_system
from delivery.outbound.queue import Draft, queue_mail
from inboxes.models import Inbox
from threads.mime import Address
with acting_as_system("benchmark"):
    inboxes = list(Inbox.objects.select_related("account"))
    for number in range({mails}):
        to = (Address("", f"n{{number}}@example.com"),)
        queue_mail(inboxes[number % len(inboxes)], Draft(to=to, subject=f"Number {{number}}", body_text="Hello"))
"""
NOTHING = """
from benchmarks.noop_tasks import nothing
for _ in range({tasks}):
    nothing.delay()
"""


@contextmanager
def esp(ledger: Path, latency: float) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.fake_esp", "--ledger", str(ledger), "--latency", str(latency)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def entries(ledger: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


def _lines(ledger: Path) -> int:
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


@contextmanager
def worker(mailbot: Mailbot) -> Iterator[None]:
    mailbot.start("worker", procfile_commands(ROOT)["worker"])
    try:
        yield
    finally:
        mailbot.stop("worker")


def run(mails: int, events: int, latency: float) -> dict[str, float]:
    """One run on a database of its own: the rates by their names, and CPU in ms a mail."""
    with new_database() as environment:
        environment |= {"MAILBOT_FETCH_ALLOW": "127.0.0.0/8", "MAILBOT_SEND_THREADS": str(THREADS)}
        ledger = Path(environment["MAILBOT_VAR"]) / "esp.jsonl"
        with esp(ledger, latency) as url, Mailbot(environment, workers=POOL, processes=("web", "beat")) as mailbot:
            hook = in_django(SETUP.format(places=POOL * THREADS, url=url), mailbot.environment).strip()
            in_django(QUEUE.format(mails=mails), mailbot.environment)
            before = mailbot.cpu()
            with worker(mailbot):
                until(lambda: _lines(ledger) >= mails, "the ESP has all mails", 300, pause=0.5)
                until(lambda: _sent(mailbot) == mails, "all are written down as sent", 60, pause=0.5)
                spent = mailbot.cpu()
            taken = entries(ledger)
            assert len({entry["message_id"] for entry in taken}) == len(taken) == mails
            rates = {"mails sent": (mails - 1) / (taken[-1]["at"] - taken[0]["at"])}
            for name in ("worker", "PostgreSQL"):
                if name in spent:
                    rates[f"CPU of {name}"] = (spent[name] - before.get(name, 0.0)) / mails * 1000
            if events:
                rates |= tell(mailbot, f"http://{HOST}:{mailbot.port}/hooks/{hook}/tracking", taken[:events])
    return rates


def _sent(mailbot: Mailbot) -> int:
    return int(mailbot.store.rows("SELECT count(*) FROM delivery_outboundmail WHERE state = 'sent'")[0][0])


def tell(mailbot: Mailbot, url: str, mails: list[dict[str, Any]]) -> dict[str, float]:
    def post(entry: dict[str, Any]) -> None:
        told = {"RecordType": "Delivery", "MessageID": entry["id"], "Recipient": entry["to"][-1]}
        told |= {"DeliveredAt": "2026-11-05T16:33:54Z", "Metadata": {"mailbot_id": entry["mailbot_id"]}}
        assert client.post(url, json=told).status_code == 200

    with (
        httpx.Client(timeout=30, limits=httpx.Limits(max_connections=CALLERS)) as client,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        began = time.monotonic()
        list(pool.map(post, mails))
        accepted = len(mails) / (time.monotonic() - began)
    waiting = "SELECT count(*) FROM delivery_providerevent WHERE state = 'pending'"
    with worker(mailbot):
        until(lambda: mailbot.store.rows(waiting)[0][0] < len(mails), "the worker begins", pause=0.01)
        began, left = time.monotonic(), mailbot.store.rows(waiting)[0][0]
        until(lambda: mailbot.store.rows(waiting)[0][0] == 0, "all are processed", 300)
        processed = left / (time.monotonic() - began)
    (rows,) = mailbot.store.rows("SELECT count(*), count(DISTINCT mail_id) FROM delivery_providerevent")
    assert rows == (len(mails), len(mails)), rows
    return {"webhooks accepted": accepted, "webhooks processed": processed}


def nothing_tasks(tasks: int) -> float:
    """Tasks a second that a worker of Celery's with two pool processes runs from Redis."""
    with new_database() as environment, redis.Redis.from_url(environment["REDIS_URL"]) as broker:
        in_django(NOTHING.format(tasks=tasks), environment)
        command = [sys.executable, "-m", "celery", "--app", "benchmarks.noop_tasks", "worker", "--queues", "noop"]
        command += ["--concurrency", "2", "--without-mingle", "--without-gossip", "--loglevel", "ERROR"]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                until(lambda: broker.llen("noop") < tasks, "the worker begins", pause=0.01)
                began, left = time.monotonic(), int(broker.llen("noop"))
                until(lambda: broker.llen("noop") == 0, "all have run", 300, pause=0.01)
                return left / (time.monotonic() - began)
            finally:
                process.kill()
                with suppress(redis.RedisError):
                    broker.delete("noop")


def main() -> None:
    options = options_of(__doc__, mails=2000, events=2000).parse_args()
    found: dict[str, list[float]] = {}
    for _ in range(options.runs):
        for latency in LATENCIES:
            rates = run(options.mails, options.events if not latency else 0, latency)
            for name, rate in rates.items():
                named = name if name.startswith("webhooks") else f"{name} at {latency * 1000:.0f} ms"
                found.setdefault(named, []).append(rate)
        if profile() == "production":
            found.setdefault("Celery tasks that do nothing", []).append(nothing_tasks(options.mails * 2))
    units = {name: "ms a mail" if name.startswith("CPU") else "/s" for name in found}
    report([Figure(f"{name} / {profile()}", units[name], runs) for name, runs in found.items()])


if __name__ == "__main__":
    main()
