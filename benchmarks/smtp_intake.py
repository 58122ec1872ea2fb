"""How many mails a second our SMTP server accepts and has committed, beside a bare aiosmtpd that stores nothing.

    python -m benchmarks.smtp_intake [--mails 10000] [--connections 20] [--runs 3] [--processes 1]

Both servers run as processes of their own, one after the other in each run, on uvloop, with the same load from this process, all on
127.0.0.1. Without DATABASE_URL ours stores in a new SQLite file; with it, in a new database of that PostgreSQL server, which is dropped
afterwards, and rings a Redis (REDIS_URL, or number 15 of the local one). The count of rows is compared with the count of 250s at the end.
"""

import resource
import sys

import uvloop

from benchmarks.figures import Figure, options_of, profile, report
from benchmarks.lab import PREPARE, ROOT, in_django, new_database, server
from benchmarks.load import load, send_all

__all__ = ["PREPARE", "ROOT", "in_django", "load", "new_database", "server"]

BARE = """
import asyncio, socket, sys, uvloop
from aiosmtpd.smtp import SMTP
class Nowhere:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"
async def main():
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    await loop.create_server(lambda: SMTP(Nowhere(), hostname="bare", loop=loop), sock=listening)
    print("Receiving mail at %s:%s" % listening.getsockname(), flush=True)
    await asyncio.Event().wait()
uvloop.run(main())
"""
COUNT = "import django; django.setup(); from delivery.models import InboundMail; print(InboundMail.objects.count())"


def measure(command: list[str], environment: dict[str, str], mails: int, connections: int) -> tuple[int, float, float]:
    """(accepted, mails a second, CPU milliseconds of the server a mail)"""
    before = _cpu_of_children()
    with server(command, environment) as port:
        ledger = uvloop.run(send_all(port, mails, connections))
    return ledger.accepted, ledger.rate, (_cpu_of_children() - before) / mails * 1000


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    options = options_of(__doc__, mails=10_000, connections=20, processes=1).parse_args()
    ours = [sys.executable, "manage.py", "smtp", "--port=0", f"--processes={options.processes}"]
    durable, bare, cpus, promised = [], [], [], 0
    with new_database() as environment:
        in_django(PREPARE, environment)
        for _ in range(options.runs):
            bare.append(measure([sys.executable, "-c", BARE], environment, options.mails, options.connections)[1])
            accepted, rate, cpu = measure(ours, environment, options.mails, options.connections)
            promised += accepted
            durable.append(rate)
            cpus.append(cpu)
        stored = int(in_django(COUNT, environment))
    report(
        [
            Figure(f"accepted and durable / {profile()}", "/s", durable),
            Figure(f"a bare aiosmtpd / {profile()}", "/s", bare),
            Figure(
                f"durable against bare / {profile()}",
                "×",
                [one / other for one, other in zip(durable, bare, strict=True)],
            ),
            Figure(f"CPU of smtp when only receiving / {profile()}", "ms a mail", cpus),
        ]
    )
    print(f"{promised:,} promised, {stored:,} stored")
    if promised != stored:
        sys.exit("What was promised and what is stored differ.")


if __name__ == "__main__":
    main()
