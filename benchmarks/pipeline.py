"""How many mails a second are accepted and visible, held for half a minute; how soon one is visible; and what a mail costs.

    python -m benchmarks.pipeline [--seconds 30] [--paced-seconds 15] [--connections 20] [--workers 1,2] [--runs 3] [--no-maildev]

Each run starts the Procfile's processes on an empty database, one smtp and one worker (with so many pool processes), sends at full
speed for so long, and counts from the first octet sent to the last message visible: committed with its inbox's counter, which is what
the API answers from. Then it sends at 75 % of that rate and measures from each 250 to the moment the message is visible. For this
the inboxes' counters are read every 5 ms, which makes the figure 2.5 ms too long on average and costs the machine 2 % of a core: the
n-th mail that an inbox was promised is its n-th message, since the order in an inbox is kept.

MailDev 3 with `--mail-directory` is measured in the same run with the same load: accepted, and on disk. It does not flush its files.

The ledger is checked afterwards: what was acknowledged is a message of its inbox, once, and its bytes have the SHA-256 of what was sent.
"""

import asyncio
import hashlib
import sys
import time
from dataclasses import dataclass

import uvloop

from benchmarks import maildev
from benchmarks.figures import Figure, options_of, percentile, profile, report
from benchmarks.lab import Mailbot, Store, new_database, until
from benchmarks.load import RUN, Ledger, mail, send_all, send_for, send_paced

PATIENCE = 240.0  # seconds until the last message has to be visible
LOOKS_EVERY = 0.005  # seconds
PACE = 0.75


@dataclass
class Sustained:
    ledger: Ledger
    visible_rate: float
    cpu: dict[str, float]
    """Milliseconds a mail, by process."""


def sustained(bot: Mailbot, seconds: float, connections: int) -> Sustained:
    """Full speed for so long, until the last message is visible."""
    before, cpu = sum(bot.store.visible().values()), bot.cpu()
    ledger = uvloop.run(send_for(bot.smtp_port, seconds, connections))
    wanted = before + ledger.accepted
    until(lambda: sum(bot.store.visible().values()) >= wanted, f"all of {ledger.accepted:,} mails visible", PATIENCE)
    took = time.perf_counter() - ledger.began
    spent = {name: (now - cpu[name]) / ledger.accepted * 1000 for name, now in bot.cpu().items()}
    return Sustained(ledger, ledger.accepted / took, spent)


def warm_up(bot: Mailbot) -> Ledger:
    """The first mails find caches empty and connections closed."""
    before = sum(bot.store.visible().values())
    ledger = uvloop.run(send_all(bot.smtp_port, 200))
    until(lambda: sum(bot.store.visible().values()) >= before + ledger.accepted, "the first mails visible")
    return ledger


def visible_after(bot: Mailbot, seconds: float, rate: float, connections: int) -> tuple[Ledger, list[float]]:
    """(ledger, milliseconds from each 250 until the message was visible)"""
    return uvloop.run(_visible_after(bot, seconds, rate, connections))


async def _visible_after(bot: Mailbot, seconds: float, rate: float, connections: int) -> tuple[Ledger, list[float]]:
    start = bot.store.visible()
    seen: list[list[float]] = [[] for _ in bot.inbox_ids]
    sending = asyncio.ensure_future(send_paced(bot.smtp_port, seconds, rate, connections))
    deadline = time.monotonic() + seconds + PATIENCE
    while not sending.done() or sum(map(len, seen)) < sending.result().accepted:
        if time.monotonic() > deadline:
            sys.exit("Mails at an even pace did not become visible.")
        await asyncio.sleep(LOOKS_EVERY)
        now, visible = time.perf_counter(), bot.store.visible()
        for inbox, moments in zip(bot.inbox_ids, seen, strict=True):
            moments += [now] * (visible[inbox] - start[inbox] - len(moments))
    ledger = sending.result()
    took = []
    for promised, moments in zip(ledger.promised, seen, strict=True):
        took += [max(0.0, (moment - at) * 1000) for (_, at), moment in zip(promised, moments, strict=True)]
    return ledger, took


def check(store: Store, inbox_ids: list[str], ledgers: list[Ledger]) -> None:
    """Ends the benchmark unless everything promised is there, in its inbox, byte for byte, once, and nothing else is."""
    names = ",".join(f"'{inbox_id}'" for inbox_id in inbox_ids)
    columns = "inbox_id, message_id_header, raw_sha256"
    found = store.rows(f"SELECT {columns} FROM threads_message WHERE inbox_id IN ({names})")
    there = sorted((inbox, name.strip("<>"), sha256) for inbox, name, sha256 in found if RUN in name)
    wanted = sorted(
        (inbox_ids[inbox], f"{number:08d}.{RUN}@example.com", hashlib.sha256(mail(number)).hexdigest())
        for ledger in ledgers
        for inbox, promised in enumerate(ledger.promised)
        for number, _ in promised
    )
    if there != wanted:
        missing, strange = len(set(wanted) - set(there)), len(set(there) - set(wanted))
        sys.exit(
            f"{len(wanted):,} promised, {len(there):,} visible: {missing:,} missing or changed, {strange:,} strange."
        )
    unfinished = store.rows("SELECT count(*) FROM delivery_inboundmail WHERE state <> 'processed'")[0][0]
    if unfinished:
        sys.exit(f"{unfinished:,} mails are not marked as processed.")
    print(f"{len(wanted):,} mails promised: all are messages, once, with the bytes that were sent.", flush=True)


class Results:
    """Figures by name, in the order in which they were first noted."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], list[float]] = {}

    def note(self, name: str, unit: str, value: float) -> None:
        self._runs.setdefault((f"{name} / {profile()}", unit), []).append(value)

    def best(self, name: str) -> float:
        return max(max(runs) for (known, _), runs in self._runs.items() if known == f"{name} / {profile()}")

    def runs(self, name: str) -> list[float]:
        return next(runs for (known, _), runs in self._runs.items() if known == f"{name} / {profile()}")

    def has(self, name: str) -> bool:
        return any(known == f"{name} / {profile()}" for known, _ in self._runs)

    def figures(self) -> list[Figure]:
        return [Figure(name, unit, runs) for (name, unit), runs in self._runs.items()]


def one_run(results: Results, workers: int, seconds: float, paced_seconds: float, connections: int) -> None:
    label = f"worker of {workers}"
    with new_database() as environment, Mailbot(environment, workers=workers) as bot:
        ledgers = [warm_up(bot)]
        full = sustained(bot, seconds, connections)
        ledgers.append(full.ledger)
        results.note(f"accepted while it lasts, {label}", "/s", full.ledger.rate)
        results.note(f"accepted and visible, {label}", "/s", full.visible_rate)
        for name, milliseconds in full.cpu.items():
            results.note(f"CPU of {name}, {label}", "ms a mail", milliseconds)
        if paced_seconds:
            ledger, took = visible_after(bot, paced_seconds, full.visible_rate * PACE, connections)
            ledgers.append(ledger)
            results.note(f"the pace of 75 % that was reached, {label}", "/s", ledger.rate)
            results.note(f"250 to visible at 75 %, p50, {label}", "ms", percentile(took, 0.50))
            results.note(f"250 to visible at 75 %, p95, {label}", "ms", percentile(took, 0.95))
        check(bot.store, bot.inbox_ids, ledgers)


def main() -> None:
    parser = options_of(__doc__, seconds=30.0, paced_seconds=15.0, connections=20)
    parser.add_argument("--workers", default="1,2", help="pool processes of the one worker; several are run in turn")
    parser.add_argument("--no-maildev", action="store_true")
    options = parser.parse_args()
    workers = [int(number) for number in options.workers.split(",")]
    beside = not options.no_maildev and maildev.is_there()
    results = Results()
    for _ in range(options.runs):
        for number in workers:
            one_run(results, number, options.seconds, options.paced_seconds, options.connections)
        if beside:
            results.note("MailDev to disk", "/s", maildev.rate(options.seconds, options.connections))
    if beside:
        best = results.best("MailDev to disk")
        for number in workers:
            name = f"accepted and visible, worker of {number}"
            for rate in results.runs(name):
                results.note(f"{name}, against MailDev's best run", "×", rate / best)
    report(results.figures())


if __name__ == "__main__":
    main()
