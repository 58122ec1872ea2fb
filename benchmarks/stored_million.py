"""The rate of accepted and visible mail at a million stored messages, against an empty database beside it. PostgreSQL only.

    python -m benchmarks.stored_million [--messages 1000000] [--inboxes 2000] [--seconds 15] [--runs 3]

A few mails go through the real pipeline; then their rows (message, thread, events, audit entry, delivery) are copied in the database
under ids, digests, inboxes and times of their own, so that whatever columns there are, they hold what mailbot writes. The load goes to
inboxes that hold as much as the others. The database takes some 5 GB, is filled within minutes and dropped afterwards.
"""

import sys
from contextlib import ExitStack

import uvloop

from benchmarks.copies import Copies, multiply
from benchmarks.figures import options_of, report
from benchmarks.lab import INBOXES, Mailbot, in_django, new_database, until
from benchmarks.load import Ledger, send_all
from benchmarks.pipeline import Results, check, sustained, warm_up
from benchmarks.waits import OTHERS

SEEDS = 200  # mails, as many for each inbox of the load


def fill(bot: Mailbot, messages: int, inboxes: int) -> Ledger:
    """What was really sent."""
    before = sum(bot.store.visible().values())
    ledger = uvloop.run(send_all(bot.smtp_port, SEEDS))
    until(lambda: sum(bot.store.visible().values()) >= before + ledger.accepted, "the first mails visible")
    in_django(OTHERS.format(number=inboxes - INBOXES), bot.environment)
    copies = Copies(messages // SEEDS, near=INBOXES, blocks=inboxes // INBOXES, held=SEEDS // INBOXES)
    multiply(bot.environment["DATABASE_URL"], copies)
    return ledger


def main() -> None:
    options = options_of(__doc__, messages=1_000_000, inboxes=2000, seconds=15.0, connections=20).parse_args()
    results = Results()
    with ExitStack() as stack:
        full = stack.enter_context(new_database())
        if not full.get("DATABASE_URL"):
            sys.exit("This is measured on PostgreSQL: set DATABASE_URL.")
        with Mailbot(full) as bot:
            promised = [fill(bot, options.messages, options.inboxes)]
        for _ in range(options.runs):
            with new_database() as empty, Mailbot(empty) as bot:
                beside = one_rate(bot, options.seconds, options.connections, [])
            with Mailbot(full, prepared=True) as bot:
                rate = one_rate(bot, options.seconds, options.connections, promised)
            results.note("accepted and visible, full database", "/s", rate)
            results.note("accepted and visible, empty database beside it", "/s", beside)
            results.note("rate when full against empty", "×", rate / beside)
    report(results.figures())


def one_rate(bot: Mailbot, seconds: float, connections: int, promised: list[Ledger]) -> float:
    """`promised` is what the database got before; what it gets now is added."""
    promised.append(warm_up(bot))
    measured = sustained(bot, seconds, connections)
    promised.append(measured.ledger)
    check(bot.store, bot.inbox_ids, promised)
    return measured.visible_rate


if __name__ == "__main__":
    main()
