"""What it costs a read or a send that the trail tells of it. PostgreSQL, or SQLite without DATABASE_URL.

    python -m benchmarks.reads [--runs 5] [--seconds 2] [--connections 4]

Two web processes as in the Procfile share a database of a hundred mails: one writes the entries, the other does not. Each kind of read is
made at full speed for some seconds, with entries and without right after each other, and all of it again in each run.

CPU is what the web process and PostgreSQL take for a read, with the entry and without. On a machine that others use too it says more
than the rate.

The ledger: each answer has its status, and afterwards there are as many entries as answers of the one that writes them.
"""

import itertools
import random
import sys
from collections import Counter
from collections.abc import Iterator

import uvloop

from benchmarks.api_client import Measured, ask_for, request
from benchmarks.figures import options_of, report
from benchmarks.lab import HOST, ROOT, Mailbot, free_port, in_django, new_database, until
from benchmarks.pipeline import Results
from mailbot.quickstart.processes import procfile_commands
from mailbot.quickstart.readiness import web_answers

MAILS = 100
PREPARE = f"""
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from benchmarks.api_seeds import prepare
prepare(mails={MAILS}, others=0)
"""
INBOX = "/v1/inboxes/{inbox}"
# Act in the trail → method, path, body.
READS = {
    "message.read": ("GET", f"{INBOX}/messages/{{message}}", ""),
    "message.listed": ("GET", f"{INBOX}/messages?limit=50", ""),
    "thread.read": ("GET", f"{INBOX}/threads/{{thread}}", ""),
    "raw.read": ("GET", f"{INBOX}/messages/{{message}}/raw", ""),
    "search.done": ("POST", f"{INBOX}/messages/search", '{"query": "invoice"}'),
    # NUMBER: the same one twice is answered as before, and sends nothing.
    "message.queued": (
        "POST",
        f"{INBOX}/messages",
        '{"to": "carol@shop.example", "subject": "NUMBER", "body_text": "Hello"}',
    ),
}
PLACES = "SELECT inbox_id, id, thread_id FROM threads_message"
ENTRIES = "SELECT act, count(*) FROM audit_auditentry GROUP BY act"


class Site:
    """A mailbot that writes entries of reads, and beside it one that does not."""

    def __init__(self, bot: Mailbot, connections: int) -> None:
        self.bot, self.connections = bot, connections
        self.places = bot.store.rows(PLACES)
        self.answered: Counter[str] = Counter()
        self._numbers = itertools.count()
        self.bare_port, self.cpu = free_port(), 0.0  # CPU of a read of the last measurement, ms
        command = procfile_commands(ROOT)["web"].replace("mailbot.asgi:", "benchmarks.unrecorded:")
        bot.start("unrecorded", command, MAILBOT_PORT=str(self.bare_port))
        until(lambda: web_answers(HOST, self.bare_port), "the other web process answers")

    def measure(self, act: str, seconds: float, *, recorded: bool) -> Measured:
        port = self.bot.port if recorded else self.bare_port
        requests = [self._requests(act) for _ in range(self.connections)]
        before = self._cpu(recorded=recorded)
        measured = uvloop.run(ask_for(port, requests, seconds, 202 if act == "message.queued" else 200))
        self.cpu = (self._cpu(recorded=recorded) - before) / len(measured.took) * 1000
        self.answered[act] += len(measured.took) * recorded
        return measured

    def _cpu(self, *, recorded: bool) -> float:
        spent = self.bot.cpu()
        return spent["web" if recorded else "unrecorded"] + spent.get("PostgreSQL", 0.0)

    def _requests(self, act: str) -> Iterator[bytes]:
        method, path, body = READS[act]
        while True:
            number = f"{next(self._numbers)}"
            inbox, message, thread = random.choice(self.places)
            named = path.format(inbox=inbox, message=message, thread=thread)
            yield request(method, named, self.bot.key, body.replace("NUMBER", number).encode())

    def check(self) -> None:
        """Ends the benchmark unless there is an entry for each answer, and no more."""
        written = dict(self.bot.store.rows(ENTRIES))
        found = {act: written.get(act, 0) for act in READS}
        if found != dict(self.answered):
            sys.exit(f"{dict(self.answered)} were answered, of {found} the trail tells.")


def main() -> None:
    parser = options_of(__doc__, seconds=2.0, connections=4)
    parser.set_defaults(runs=5)
    options = parser.parse_args()
    results = Results()
    with new_database() as environment:
        in_django(PREPARE, environment)
        with Mailbot(environment, prepared=True, processes=("web",)) as bot:
            site = Site(bot, options.connections)
            for act, recorded in itertools.product(READS, (True, False)):
                site.measure(act, 0.5, recorded=recorded)
            for turn, act in itertools.product(range(options.runs), READS):
                order = (True, False) if turn % 2 else (False, True)
                measured, cpu = {}, {}
                for way in order:
                    measured[way] = site.measure(act, options.seconds, recorded=way)
                    cpu[way] = site.cpu
                results.note(f"{act}, with the entry against without", "×", measured[True].rate / measured[False].rate)
                results.note(f"{act}, CPU with against without", "×", cpu[True] / cpu[False])
                results.note(f"{act}, CPU of one with", "ms", cpu[True])
                results.note(f"{act}, with", "/s", measured[True].rate)
                results.note(f"{act}, with, p95", "ms", measured[True].at(0.95))
            site.check()
    report(results.figures())


if __name__ == "__main__":
    main()
