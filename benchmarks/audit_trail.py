"""What the trail costs: an entry, its seal, its verification, and a page of it among many. PostgreSQL, or SQLite without DATABASE_URL.

    python -m benchmarks.audit_trail [--runs 3] [--entries 20000] [--sizes 10000,1000000,10000000]

`an entry` is one that is written alone in a transaction with an update beside it, with the queue of the sealer and without (its trigger
taken down); `entries by 50` the same as the worker writes them. Sealing and verification are of one account. For the pages the trail is
filled by the database to each size, with 1,000 inboxes and a year; a page is 50 entries through the view, the median of forty of different
inboxes. Ten million take some 10 GB and ten minutes.
"""

import json
import time

from benchmarks.audit_entries import FILL
from benchmarks.figures import Figure, options_of, profile, report
from benchmarks.lab import PREPARE, in_django, new_database

MEASURE = """
import json, resource, time, sys
from django.db import connection, transaction
from django.test import Client
from audit import append_only
from audit.models import AuditEntry, AuditUnsealed
from audit.record import Act, Entry, record, record_many
from audit.sealing import seal_all
from audit.verifying import verify
from inboxes.keys import issue_key
from mailbot.lib.scope import OWNER, acting_within
account = Account.objects.get()
inbox = Inbox.objects.first()
changes = {"to": ["carol@shop.example"], "subject": "Re: Invoice 2041", "message_id": "<1234567890@shop.example>"}
found = {}

def cpu():
    return time.process_time()

def note(name, value):
    found.setdefault(name, []).append(value)

def alone(number):
    began = time.perf_counter()
    for _ in range(number):
        with transaction.atomic():
            Inbox.objects.filter(pk=inbox.pk).update(display_name="x")
            record(Act.MESSAGE_QUEUED, None, account_id=account.pk, inbox_id=inbox.pk, changes=changes)
    return (time.perf_counter() - began) / number * 1000

def bare(number):
    began = time.perf_counter()
    for _ in range(number):
        with transaction.atomic():
            Inbox.objects.filter(pk=inbox.pk).update(display_name="x")
    return (time.perf_counter() - began) / number * 1000

def by_fifty(number):
    began = time.perf_counter()
    for _ in range(number // 50):
        with transaction.atomic():
            record_many([Entry(Act.MESSAGE_RECEIVED, None, account.pk, inbox.pk, changes) for _ in range(50)])
    return (time.perf_counter() - began) / number * 1000

def without_queue(work, number):
    with acting_within(OWNER), connection.cursor() as cursor:
        table = " ON audit_auditentry" if connection.vendor == "postgresql" else ""
        cursor.execute(f"DROP TRIGGER {append_only._last_name()}{table}")
    try:
        return work(number)
    finally:
        with acting_within(OWNER), transaction.atomic():
            append_only.put_up(connection)

alone(50); bare(50); by_fifty(100)
for _ in range(RUNS):
    for name, work in (("an entry alone", alone), ("entries by 50, each", by_fifty)):
        note(f"{name}", work(500))
        note(f"{name}, without the queue", without_queue(work, 500))
    note("the transaction without an entry", bare(500))
    seal_all()
    by_fifty(ENTRIES)
    began, used = time.perf_counter(), cpu()
    sealed = seal_all()
    note("sealed", sealed / (time.perf_counter() - began))
    note("CPU of sealing, each", (cpu() - used) / sealed * 1e6)
began, used = time.perf_counter(), cpu()
verdict = verify(account.pk)
assert verdict.holds, verdict.findings
note("verified", verdict.size / (time.perf_counter() - began))
note("CPU of verifying, each", (cpu() - used) / verdict.size * 1e6)
print(json.dumps(found))
"""
PAGES = """
import json, time
from django.test import Client
from audit.models import AuditEntry
from inboxes.keys import issue_key
fill(BEFORE, SIZE)
account = Account.objects.get()
inboxes = list(Inbox.objects.order_by("pk").values_list("pk", flat=True))
_, secret = issue_key(account=account, name="bench", mode="test")
client = Client(headers={"Authorization": f"Bearer {secret}"})
def page(query):
    return [timed(query) for _ in range(RUNS)]
def timed(query):
    times = []
    for number in range(40):
        began = time.perf_counter()
        answer = client.get("/v1/audit-log", query | ({"inbox_id": inboxes[number % len(inboxes)]} if "inbox_id" in query else {}))
        times.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, answer.content
    return sorted(times)[len(times) // 2]
from datetime import timedelta
from django.utils import timezone
def when(days): return (timezone.now() - timedelta(days=days)).isoformat()
print(json.dumps({
    "newest of an inbox": page({"inbox_id": ""}),
    "of an inbox, a month of half a year ago": page({"inbox_id": "", "from": when(200), "to": when(170)}),
    "of the account, a day of half a year ago": page({"from": when(180), "to": when(179)}),
}))
"""
MORE_INBOXES = """
Inbox.objects.bulk_create([Inbox(account=account, mode="test", address=f"o{n}@mailbot.localhost", local_part=f"o{n}",
                                 domain="mailbot.localhost") for n in range(980)])
"""


def measured(environment: dict[str, str], runs: int, entries: int) -> list[Figure]:
    code = MEASURE.replace("RUNS", str(runs)).replace("ENTRIES", str(entries))
    found: dict[str, list[float]] = json.loads(in_django(f"{PREPARE}\n{code}", environment))
    units = {"sealed": "/s", "verified": "/s"}
    return [
        Figure(f"{name} / {profile()}", units.get(name, "µs" if name.startswith("CPU") else "ms"), values)
        for name, values in found.items()
    ]


def pages(environment: dict[str, str], sizes: list[int], runs: int) -> list[Figure]:
    in_django(PREPARE + MORE_INBOXES, environment)
    found, before = [], 0
    for size in sizes:
        began = time.monotonic()
        code = PAGES.replace("SIZE", str(size)).replace("BEFORE", str(before)).replace("RUNS", str(runs))
        told: dict[str, list[float]] = json.loads(in_django(FILL + code, environment))
        print(f"{size:,} entries after {time.monotonic() - began:.0f} s", flush=True)
        found += [Figure(f"page, {name}, {size:,} entries / {profile()}", "ms", runs) for name, runs in told.items()]
        before = size
    return found


def main() -> None:
    parser = options_of(__doc__, entries=20_000)
    parser.add_argument(
        "--sizes", default="10000,1000000,10000000", help="default 10000,1000000,10000000; empty: no pages"
    )
    options = parser.parse_args()
    with new_database() as environment:
        figures = measured(environment, options.runs, options.entries)
    report(figures)
    sizes = [int(size) for size in options.sizes.split(",") if size]
    if sizes and environment.get("DATABASE_URL"):
        with new_database() as environment:
            report(pages(environment, sizes, options.runs))


if __name__ == "__main__":
    main()
