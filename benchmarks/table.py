"""The table of benchmarks/README.md: which script measures which row, and the figures that it shows.

Figures are kept in benchmarks/figures.json by their names, each with its runs and the day on which it was measured, so that one script can
be run again alone: the rows of the others stay as they were.
"""

import json
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypedDict

from benchmarks.figures import Figure, shown
from benchmarks.lab import ROOT

README = ROOT / "benchmarks/README.md"
KEPT = ROOT / "benchmarks/figures.json"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Script:
    """`quick` are the options of BENCH=quick."""

    module: str
    quick: str
    embedded: bool = False
    options: str = ""

    @property
    def command(self) -> str:
        prefix = "DATABASE_URL= REDIS_URL= " if self.embedded else ""
        return f"{prefix}python -m benchmarks.{self.module} {self.options}".strip()


SCRIPTS = {
    "intake": Script("smtp_intake", "--runs 1 --mails 3000"),
    "pipeline": Script("pipeline", "--runs 1 --seconds 8 --paced-seconds 5"),
    "embedded": Script(
        "pipeline", "--runs 1 --seconds 8 --paced-seconds 0", True, "--workers 2 --no-maildev --seconds 15"
    ),
    "waits": Script("waits", "--runs 1 --samples 50 --open 500"),
    "embedded-waits": Script("waits", "--runs 1 --samples 50", True, "--open 0"),
    "million": Script("stored_million", "--runs 1 --messages 20000 --inboxes 200 --seconds 5"),
    "api": Script("api", "--runs 1 --messages 1000,100000 --seconds 1"),
    "search": Script("search", "--runs 1 --sizes 1000,20000 --seconds 2"),
    "outbound": Script("outbound", "--runs 1 --mails 500 --events 300"),
    "start": Script("first_answer", "--runs 1", True),
    "reads": Script("reads", "--runs 1 --seconds 0.5"),
    "embedded-reads": Script("reads", "--runs 1 --seconds 0.5", True),
    "trail": Script("audit_trail", "--runs 1 --entries 2000 --sizes 10000,100000"),
    "export": Script("audit_export", "--entries 20000 --small 1000"),
}


@dataclass(frozen=True)
class Row:
    """`figure` is the name that the script gives it, without the profile."""

    what: str
    figure: str
    reach: str
    stretch: str
    script: str


ONE, TWO = "worker of 1", "worker of 2"
MAILDEV = "against MailDev's best run"
ANSWER = "250 to the open wait's answer"
FEWEST, MOST = "1,000 messages", "1,000,000 messages"
GROWN = "most messages against fewest"
SECURED = f"row-level security on against off, {MOST}"
BARE = "list against the bare view"
API_ROWS = [
    Row(
        "API: a list of 50, with a key, against a bare view at 1,000 messages", f"{BARE}, {FEWEST}", "0.5 ×", "", "api"
    ),
    Row("– at 1,000,000", f"{BARE}, {MOST}", "0.5 ×", "", "api"),
    Row("API at 1,000,000 messages against 1,000: list", f"list, {GROWN}", "0.75 ×", "", "api"),
    Row("– read", f"read, {GROWN}", "0.75 ×", "", "api"),
    Row("– list threads", f"list threads, {GROWN}", "0.75 ×", "", "api"),
    Row("– read a thread", f"read a thread, {GROWN}", "0.75 ×", "", "api"),
    Row("– search", f"search, {GROWN}", "0.75 ×", "", "api"),
    Row("– create an inbox", f"create an inbox, {GROWN}", "0.75 ×", "", "api"),
    Row("– send", f"send, {GROWN}", "0.75 ×", "", "api"),
    Row("API with row-level security against without, at 1,000,000: list", f"list, {SECURED}", "", "", "api"),
    Row("– read", f"read, {SECURED}", "", "", "api"),
    Row("– send", f"send, {SECURED}", "", "", "api"),
    Row("API at 1,000,000 messages: list", f"list, {MOST}", "", "", "api"),
    Row("– p95", f"list, {MOST}, p95", "", "", "api"),
    Row("– the load client's share of a core meanwhile", f"list, {MOST}, load client's share of a core", "", "", "api"),
    Row("– read", f"read, {MOST}", "", "", "api"),
    Row("– list threads", f"list threads, {MOST}", "", "", "api"),
    Row("– read a thread", f"read a thread, {MOST}", "", "", "api"),
    Row("– search", f"search, {MOST}", "", "", "api"),
    Row("– create an inbox", f"create an inbox, {MOST}", "", "", "api"),
    Row("– send, until it is queued", f"send, {MOST}", "", "", "api"),
]
ENTRY = "with the entry against without"
NEWEST, MONTH, DAY = (
    "page, newest of an inbox",
    "page, of an inbox, a month of half a year ago",
    "page, of the account, a day of half a year ago",
)
MANY = "export, many entries"
TRAIL_ROWS = [
    Row(
        "reads with their entry in the trail against without: a message",
        f"message.read, {ENTRY}",
        "0.85 ×",
        "",
        "reads",
    ),
    Row("– 50 messages", f"message.listed, {ENTRY}", "0.85 ×", "", "reads"),
    Row("– a thread", f"thread.read, {ENTRY}", "0.85 ×", "", "reads"),
    Row("– raw mail", f"raw.read, {ENTRY}", "0.85 ×", "", "reads"),
    Row("– search", f"search.done, {ENTRY}", "0.85 ×", "", "reads"),
    Row("a send with its entry against without", f"message.queued, {ENTRY}", "", "", "reads"),
    Row("– CPU", "message.queued, CPU with against without", "", "", "reads"),
    Row("the same, embedded: a message", f"message.read, {ENTRY}", "0.85 ×", "", "embedded-reads"),
    Row("– 50 messages", f"message.listed, {ENTRY}", "0.85 ×", "", "embedded-reads"),
    Row("– a thread", f"thread.read, {ENTRY}", "0.85 ×", "", "embedded-reads"),
    Row("– raw mail", f"raw.read, {ENTRY}", "0.85 ×", "", "embedded-reads"),
    Row("– search", f"search.done, {ENTRY}", "0.85 ×", "", "embedded-reads"),
    Row("– a send", f"message.queued, {ENTRY}", "", "", "embedded-reads"),
    Row("an entry alone in a transaction with an update", "an entry alone", "", "", "trail"),
    Row("– that transaction without the entry", "the transaction without an entry", "", "", "trail"),
    Row("– entries by 50, each", "entries by 50, each", "", "", "trail"),
    Row("entries sealed", "sealed", "", "", "trail"),
    Row("entries verified", "verified", "", "", "trail"),
    *(
        Row(f"a page of the trail: {what}, {size} entries", f"{figure}, {size} entries", "", "", "trail")
        for what, figure in (("newest of an inbox", NEWEST), ("an inbox, a month", MONTH), ("the account, a day", DAY))
        for size in ("10,000", "1,000,000", "10,000,000")
    ),
    Row("an export of 1,000,000 entries", MANY, "", "", "export"),
    Row("– memory beyond that of the process", f"{MANY}, memory beyond that of the process", "", "", "export"),
    Row("– the same of 10,000 entries", "export, few entries, memory beyond that of the process", "", "", "export"),
    Row("– size", f"{MANY}, size", "", "", "export"),
    Row("– verified by the client, without the server", f"{MANY}, verified without the server", "", "", "export"),
]
ROWS = [
    Row("accepted and durable, against a bare aiosmtpd", "durable against bare", "1.0 ×", "1.8 ×", "intake"),
    Row("– in mails a second", "accepted and durable", "", "", "intake"),
    Row(
        "accepted → visible, one smtp, one worker process",
        f"accepted and visible, {ONE}",
        "1,500/s",
        "2,300/s",
        "pipeline",
    ),
    Row("– against MailDev's best run", f"accepted and visible, {ONE}, {MAILDEV}", "1.5 ×", "2.5 ×", "pipeline"),
    Row("– with a worker of two pool processes", f"accepted and visible, {TWO}", "1,500/s", "2,300/s", "pipeline"),
    Row("– that against MailDev's best run", f"accepted and visible, {TWO}, {MAILDEV}", "1.5 ×", "2.5 ×", "pipeline"),
    Row("– MailDev to disk beside it", "MailDev to disk", "", "", "pipeline"),
    Row(
        "250 → visible at 75 % of that rate, p95", f"250 to visible at 75 %, p95, {ONE}", "150 ms", "50 ms", "pipeline"
    ),
    Row("– p50", f"250 to visible at 75 %, p50, {ONE}", "", "", "pipeline"),
    Row("– two pool processes, p95", f"250 to visible at 75 %, p95, {TWO}", "150 ms", "50 ms", "pipeline"),
    Row("250 → the open wait answers, idle, p95", f"{ANSWER}, idle, p95", "15 ms", "5 ms", "waits"),
    Row("– p50", f"{ANSWER}, idle, p50", "", "", "waits"),
    Row("– embedded, p95", f"{ANSWER}, idle, p95", "60 ms", "30 ms", "embedded-waits"),
    Row("– embedded, p50", f"{ANSWER}, idle, p50", "", "", "embedded-waits"),
    Row("the same with 2,000 open waits, p95", f"{ANSWER}, many open, p95", "50 ms", "20 ms", "waits"),
    Row("– p50", f"{ANSWER}, many open, p50", "", "", "waits"),
    Row("memory per wait", "memory per wait", "50 kB", "20 kB", "waits"),
    Row("one mail, 2,000 waits for its inbox: the last answer", "one mail for all waits, the last", "", "", "waits"),
    Row(
        "rate at 1,000,000 stored messages against empty", "rate when full against empty", "0.8 ×", "0.95 ×", "million"
    ),
    Row("CPU per mail: smtp", f"CPU of smtp, {ONE}", "0.3 ms", "0.2 ms", "pipeline"),
    Row("– worker", f"CPU of worker, {ONE}", "0.5 ms", "0.2 ms", "pipeline"),
    Row("– PostgreSQL", f"CPU of PostgreSQL, {ONE}", "0.4 ms", "0.3 ms", "pipeline"),
    Row("– Redis", f"CPU of Redis, {ONE}", "", "", "pipeline"),
    Row("– the load client", f"CPU of load client, {ONE}", "", "", "pipeline"),
    Row("embedded: accepted → visible", f"accepted and visible, {TWO}", "300/s", "800/s", "embedded"),
    *API_ROWS,
    Row(
        "search in one inbox of 1,000 messages among 1,000,000, against it alone",
        "searches of one inbox, 1,000,000 messages against alone",
        "0.75 ×",
        "0.95 ×",
        "search",
    ),
    Row("– in searches a second", "searches of one inbox, 1,000,000 messages in all", "", "", "search"),
    Row("mails sent through an ESP that answers in 50 ms", "mails sent at 50 ms", "300/s", "", "outbound"),
    Row("– CPU of the worker", "CPU of worker at 50 ms", "", "", "outbound"),
    Row("– CPU of PostgreSQL", "CPU of PostgreSQL at 50 ms", "", "", "outbound"),
    Row("– that answers at once", "mails sent at 0 ms", "", "", "outbound"),
    Row("webhooks of an ESP accepted", "webhooks accepted", "", "", "outbound"),
    Row("– processed", "webhooks processed", "", "", "outbound"),
    Row("– Celery tasks that do nothing, in the same run", "Celery tasks that do nothing", "", "", "outbound"),
    *TRAIL_ROWS,
    Row("`make run`, installed, to first answer", "make run to the first answer", "4 s", "2 s", "start"),
]


class Kept(TypedDict):
    """A figure as benchmarks/figures.json has it, under its name."""

    unit: str
    runs: list[float]
    measured: str  # the day, as 2026-11-27


def measured_today(figures: Iterable[Figure]) -> dict[str, Kept]:
    day = time.strftime("%Y-%m-%d")
    return {figure.name: {"unit": figure.unit, "runs": figure.runs, "measured": day} for figure in figures}


def table(figures: dict[str, Kept], scripts: Collection[str] = tuple(SCRIPTS)) -> list[str]:
    """Its rows of these scripts, keys of SCRIPTS; what is not among the figures is named as not measured."""
    lines = ["| what | to reach | stretch | median | runs | measured | command |", "|---|---|---|---|---|---|---|"]
    for row in ROWS:
        if row.script not in scripts:
            continue
        script = SCRIPTS[row.script]
        name = f"{row.figure} / {'embedded' if script.embedded else 'production'}"
        lines.append(
            f"| {row.what} | {row.reach} | {row.stretch} | {_cells(name, figures.get(name))} | `{script.command}` |"
        )
    return lines


def _cells(name: str, kept: Kept | None) -> str:
    if kept is None:
        return "not measured | | "
    figure = Figure(name, kept["unit"], kept["runs"])
    return f"{shown(figure.median)} {figure.unit} | {' · '.join(map(shown, figure.runs))} | {kept['measured']}"


def write(found: dict[str, Kept]) -> None:
    """Put what was found beside what is kept, and the table of all of it into README.md."""
    kept: dict[str, Kept] = json.loads(KEPT.read_text(encoding="utf-8")) | found
    lines = ",\n".join(
        f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(kept[name], ensure_ascii=False)}" for name in sorted(kept)
    )
    KEPT.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text("".join([before, BEGIN, "\n", "\n".join(table(kept)), "\n", END, after]), encoding="utf-8")
