"""What the API answers a second at a thousand, a hundred thousand and a million stored messages. PostgreSQL only.

    python -m benchmarks.api [--messages 1000,100000,1000000] [--seconds 2] [--connections 4] [--runs 5]

For each number a database of its own with a thousand messages in each inbox: a hundred mails go the way of all mail, and their rows are
copied in the database. On each runs one web process as in the Procfile, and beside it, with the same options, a bare view of Django REST
framework that shows 50 rows by `.values()` and asks for no key (benchmarks/bare_view.py). No worker runs: what is sent is queued.

Each kind of request is made at full speed for some seconds, each for a random inbox, message or thread: on every database in turn, with
row-level security and without, the list of messages right after the bare view, and all of it again in each run. What is compared was so
measured within seconds. Latencies are those at full speed with so many connections. Without row-level security means that the owner of
the tables has switched it off (NO FORCE, DISABLE): what the policies cost in planning and for each row is in that ratio. Not in it is that
mailbot tells the database for whom it acts, which it goes on doing, nor the managers' conditions, which are the first wall.

The load client is this process. What it takes of a core is a figure too.

The ledger: each answer has its status, each list its 50 rows, and afterwards there are as many inboxes and queued messages as were
acknowledged.
"""

import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg
import uvloop

from benchmarks.api_client import Answer, Measured, ask_for, ask_once, request
from benchmarks.copies import Copies, multiply
from benchmarks.figures import options_of, report
from benchmarks.lab import HOST, INBOXES, ROOT, Mailbot, free_port, in_django, new_database, until
from benchmarks.pipeline import Results
from mailbot.quickstart.processes import procfile_commands
from mailbot.quickstart.readiness import web_answers

SEEDS, HELD = 100, 1000  # messages: that are really delivered, and that each inbox holds in the end
SHOWN = 50
PLACES = 2000  # messages that requests are about
PREPARE = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from benchmarks.api_seeds import prepare
prepare(mails={mails}, others={others})
"""
TABLES = ("threads_thread", "threads_message", "threads_attachment", "threads_event", "audit_auditentry")
SAMPLE = """
SELECT inbox_id, id, thread_id FROM threads_message TABLESAMPLE SYSTEM (least(100, 100 * 20000.0 / {messages}))
WHERE direction = 'inbound' ORDER BY random() LIMIT {places}
"""
GUARDED = "SELECT oid::regclass::text, relforcerowsecurity FROM pg_class WHERE relrowsecurity AND relkind IN ('r', 'p')"


@dataclass(frozen=True)
class Operation:
    """`path` and `body` name {inbox}, {message}, {thread} of a random message, {sender} and %NUMBER."""

    name: str
    method: str
    path: str
    status: int = 200
    body: str = ""


INBOX = "/v1/inboxes/{inbox}"
LIST = Operation("list", "GET", f"{INBOX}/messages?limit={SHOWN}")
BARE = Operation("bare view", "GET", "/bare/{inbox}")
SEARCH = Operation("search", "POST", f"{INBOX}/messages/search", body='{"query": "invoice"}')
CREATE = Operation("create an inbox", "POST", "/v1/inboxes", 201, "{}")
SEND = Operation(
    *("send", "POST", "/v1/inboxes/{sender}/messages", 202),
    '{"to": "customer%NUMBER@example.com", "subject": "Answer %NUMBER", "body_text": "Thank you for your mail.\\n"}',
)
OPERATIONS = (
    LIST,
    Operation("read", "GET", f"{INBOX}/messages/{{message}}"),
    Operation("list threads", "GET", f"{INBOX}/threads?limit={SHOWN}"),
    Operation("read a thread", "GET", f"{INBOX}/threads/{{thread}}"),
    SEARCH,
    CREATE,
    SEND,
)


class Site:
    """A mailbot and a bare view on a database of so many messages."""

    def __init__(self, bot: Mailbot, messages: int, connections: int) -> None:
        self.bot, self.messages, self.bare_port = bot, messages, free_port()
        self.url = bot.environment["DATABASE_URL"]
        self.places = bot.store.rows(SAMPLE.format(messages=messages, places=PLACES))
        self.acknowledged: Counter[str] = Counter()
        self._numbers = itertools.count()
        command = procfile_commands(ROOT)["web"].replace(
            "mailbot.asgi:application", "--factory django.core.asgi:get_asgi_application"
        )
        bot.start("bare", command, MAILBOT_PORT=str(self.bare_port), DJANGO_SETTINGS_MODULE="benchmarks.bare_settings")
        until(lambda: web_answers(HOST, self.bare_port), "the bare view answers")
        self.inboxes_before = self._inboxes()
        self.senders = [self._sender() for _ in range(connections)]

    def _sender(self) -> str:
        """An inbox that nobody else sends from."""
        answer = self.once(CREATE)
        return str(json.loads(answer.body)["data"]["id"])

    def once(self, operation: Operation) -> Answer:
        answer = uvloop.run(ask_once(self._port(operation), next(self._requests(operation, ""))))
        self.acknowledged[operation.name] += answer.status == operation.status
        return answer

    def measure(self, operation: Operation, seconds: float) -> Measured:
        requests = [self._requests(operation, sender) for sender in self.senders]
        measured = uvloop.run(ask_for(self._port(operation), requests, seconds, operation.status))
        self.acknowledged[operation.name] += len(measured.took)
        return measured

    def _port(self, operation: Operation) -> int:
        return self.bare_port if operation is BARE else self.bot.port

    def _requests(self, operation: Operation, sender: str) -> Iterator[bytes]:
        while True:
            inbox, message, thread = random.choice(self.places)
            path = operation.path.format(inbox=inbox, message=message, thread=thread, sender=sender)
            body = operation.body.replace("%NUMBER", str(next(self._numbers))).encode()
            yield request(operation.method, path, "" if operation is BARE else self.bot.key, body)

    def offers(self, operation: Operation) -> bool:
        return self.once(operation).status not in (404, 405)

    def check_lists(self) -> None:
        """Ends the benchmark unless the list and the bare view show the same 50 messages."""
        self.places, all_places = self.places[:1], self.places
        shown = [[row["id"] for row in json.loads(self.once(each).body)["data"]] for each in (LIST, BARE)]
        self.places = all_places
        if len(shown[0]) != SHOWN or shown[0] != shown[1]:
            sys.exit(f"The list shows {len(shown[0])} messages and the bare view {len(shown[1])}, or others.")

    def check(self) -> None:
        """Ends the benchmark unless what was acknowledged is there, and no more."""
        made = self._inboxes() - self.inboxes_before
        names = ",".join(f"'{sender}'" for sender in self.senders)
        sent = self.bot.store.rows(f"SELECT count(*) FROM threads_message WHERE inbox_id IN ({names})")[0][0]
        promised = self.acknowledged[CREATE.name], self.acknowledged[SEND.name]
        if (made, sent) != promised:
            sys.exit(f"{promised} inboxes and messages were acknowledged, {made, sent} are there.")

    def _inboxes(self) -> int:
        return int(self.bot.store.rows("SELECT count(*) FROM inboxes_inbox")[0][0])


def opened(stack: ExitStack, messages: int, connections: int) -> Site:
    environment = stack.enter_context(new_database())
    if not environment.get("DATABASE_URL"):
        sys.exit("This is measured on PostgreSQL: set DATABASE_URL.")
    inboxes = max(1, messages // HELD)
    in_django(PREPARE.format(mails=SEEDS, others=max(0, inboxes - INBOXES)), environment)
    copies = Copies(messages // SEEDS - 1, near=1, blocks=inboxes, held=SEEDS)
    multiply(environment["DATABASE_URL"], copies, TABLES)
    bot = stack.enter_context(Mailbot(environment, prepared=True, processes=("web",)))
    site = Site(bot, messages, connections)
    site.check_lists()
    return site


def guarded_tables(url: str) -> list[tuple[str, bool]]:
    """Those with row-level security, and whether it is forced."""
    with psycopg.connect(url) as connection:
        return list(connection.execute(GUARDED).fetchall())


@contextmanager
def without_row_security(url: str) -> Iterator[None]:
    guarded = guarded_tables(url)
    with psycopg.connect(url, autocommit=True) as connection:
        for table, _ in guarded:
            connection.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")
        try:
            yield
        finally:
            for table, forced in guarded:
                force = ", FORCE ROW LEVEL SECURITY" if forced else ""
                connection.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY{force}")


class Bench:
    def __init__(self, sites: list[Site], seconds: float) -> None:
        self.sites, self.seconds, self.results = sites, seconds, Results()
        self.is_guarded = bool(guarded_tables(sites[0].url))
        self.operations = [operation for operation in OPERATIONS if self._is_offered(operation)]
        if not self.is_guarded:
            print("No table has row-level security: it is not compared.", flush=True)

    def _is_offered(self, operation: Operation) -> bool:
        if operation is not SEARCH or self.sites[0].offers(SEARCH):
            return True
        print("There is no search yet: it is left out.", flush=True)
        return False

    def run(self) -> None:
        for operation in self.operations:
            rates = {site.messages: self._on(site, operation) for site in self.sites}
            if len(rates) > 1:
                ratio = rates[max(rates)] / rates[min(rates)]
                self.results.note(f"{operation.name}, most messages against fewest", "×", ratio)

    def _on(self, site: Site, operation: Operation) -> float:
        """The rate as mailbot is; what is compared with it is measured right before and after."""
        bare = self._noted(site, BARE) if operation is LIST else 0.0
        rate = self._noted(site, operation)
        if bare:
            self.results.note(f"list against the bare view, {site.messages:,} messages", "×", rate / bare)
        if self.is_guarded:
            with without_row_security(site.url):
                open_rate = site.measure(operation, self.seconds).rate
            name = f"{operation.name}, row-level security on against off, {site.messages:,} messages"
            self.results.note(name, "×", rate / open_rate)
        return rate

    def _noted(self, site: Site, operation: Operation) -> float:
        began, spent = time.perf_counter(), time.process_time()
        measured = site.measure(operation, self.seconds)
        share = (time.process_time() - spent) / (time.perf_counter() - began)
        name = f"{operation.name}, {site.messages:,} messages"
        self.results.note(name, "/s", measured.rate)
        self.results.note(f"{name}, p50", "ms", measured.at(0.50))
        self.results.note(f"{name}, p95", "ms", measured.at(0.95))
        self.results.note(f"{name}, load client's share of a core", "%", share * 100)
        return measured.rate


def main() -> None:
    parser = options_of(__doc__, seconds=2.0, connections=4)
    parser.set_defaults(runs=5)
    parser.add_argument("--messages", default="1000,100000,1000000", help="multiples of 1,000; default %(default)s")
    options = parser.parse_args()
    sizes = sorted(int(number) for number in options.messages.split(","))
    if any(size % HELD or not size for size in sizes):
        parser.error("--messages takes multiples of 1,000")
    with ExitStack() as stack:
        bench = Bench([opened(stack, size, options.connections) for size in sizes], options.seconds)
        for operation in (BARE, *bench.operations):  # the first requests find caches empty and connections closed
            for site in bench.sites:
                site.measure(operation, 1.0)
        for _ in range(options.runs):
            bench.run()
        for site in bench.sites:
            site.check()
    report(bench.results.figures())


if __name__ == "__main__":
    main()
