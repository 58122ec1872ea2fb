"""What something does to the database: the tables that it writes to, and the entries that it leaves in the trail.

A scene is what is there before a task or command is run, and what that has to leave; an idle one is what needs no entry, and why.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import time_machine
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditEntry
from inboxes.models import Account
from tests.cast import Caller
from tests.dns_zone import PublishedZone

OURS = ("audit", "delivery", "inboxes", "mailbot", "threads")

# Tables whose rows say nothing that anybody did: what is written there alone is no change of state. Each with the reason.
BOOKKEEPING = {
    "audit_auditentry": "the entry itself",
    "audit_auditunsealed": "its place in the queue of the sealer",
    "threads_searchdocument": "an index over messages, made anew from them",
    "threads_searchprogress": "how far that index is",
    "inboxes_keptanswer": "the answer to a request, which has its own entry",
    "inboxes_dailyusage": "counters",
    "threads_dailyevents": "counters",
    "delivery_recentsend": "what a send is compared with when it is tried again",
    "delivery_heartbeat": "that a worker lives",
    "django_session": "a browser's session; signing in has its own entry",
}

WRITES = re.compile(
    # In the same message PostgreSQL may enter the scope of the code before.
    r"^\s*(?:\d+ times: )?(?:SELECT set_config[^;]*; )?(?:WITH moved AS .* )?"
    r'(?:INSERT (?:OR \w+ )?INTO|UPDATE|DELETE FROM)\s+"?(\w+)"?',
    re.S,
)


@dataclass
class Seen:
    """What something did to the database."""

    tables: set[str] = field(default_factory=set)
    entries: list[AuditEntry] = field(default_factory=list)

    @property
    def changed(self) -> set[str]:
        return self.tables - BOOKKEEPING.keys()

    @property
    def acts(self) -> set[str]:
        return {entry.act for entry in self.entries}

    @property
    def actors(self) -> set[tuple[str, str]]:
        """Kinds and names; an entry that lacks the id of its actor names nobody."""
        return {(entry.actor_kind, entry.actor_name if entry.actor_id else "") for entry in self.entries}


@contextmanager
def looked_at() -> Iterator[Seen]:
    """What is done inside, which is undone afterwards."""
    seen = Seen()
    with transaction.atomic():
        before = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        with CaptureQueriesContext(connection) as queries:
            yield seen
        found = (WRITES.match(query["sql"]) for query in queries)
        # Rows stand in a table of the connection's own while they are copied.
        seen.tables = {match[1] for match in found if match and not match[1].startswith("staged_")}
        seen.entries = list(AuditEntry.objects.filter(pk__gt=before))
        transaction.set_rollback(True)


class Stage:
    """An account with an inbox in each mode. What a scene adds to it is undone behind it."""

    dns: PublishedZone
    settings: Any

    def __init__(self) -> None:
        self.account = Account.objects.create(name="Acme")
        self.alice = Caller(self.account, "Alice")
        self.live = Caller(self.account, "Alice", "live")
        self.inbox, self.live_inbox = self.alice.create_inbox(), self.live.create_inbox()


@dataclass(frozen=True)
class Scene:
    """`by`: kind and name of whom the entries are to name. What is looked at is run `days` later. `prepare` gives a command its words."""

    of: str
    acts: frozenset[str]
    by: tuple[str, str]
    days: float
    prepare: Callable[[Stage], Any]

    def __str__(self) -> str:
        return f"{self.of}: {self.prepare.__name__}"


class Scenes(list[Scene]):
    def leaves(self, of: str, *acts: str, by: str, kind: str = "system", days: float = 0) -> Callable[..., Any]:
        """Decorates what prepares a scene, in which `of` has to leave entries of these acts and of no other."""

        def take(prepare: Callable[[Stage], Any]) -> Callable[[Stage], Any]:
            self.append(Scene(of, frozenset(acts), (kind, by), days, prepare))
            return prepare

        return take

    def names(self) -> set[str]:
        return {scene.of for scene in self}


@dataclass(frozen=True)
class Idle:
    """What needs no entry, and all tables that it writes to. `words` are of a command; None where no test can run it."""

    why: str
    writes: frozenset[str] = frozenset()
    words: tuple[str, ...] | None = ()


def play(scene: Scene, stage: Stage, run: Callable[[Any], object]) -> Seen:
    given = scene.prepare(stage)
    with later(scene.days), looked_at() as seen:
        run(given)
    return seen


def not_idle(places: Mapping[str, Idle], ran: Mapping[str, Seen]) -> dict[str, tuple[set[str], set[str]]]:
    """What was not run though it can be, left an entry, or wrote to other tables than those that are named: tables and acts."""
    told = {name: (set(idle.writes), set[str]()) for name, idle in places.items() if idle.words is not None}
    found = {name: (seen.tables, seen.acts) for name, seen in ran.items()}
    return {
        name: found.get(name, (set(), set()))
        for name in told.keys() | found.keys()
        if found.get(name) != told.get(name)
    }


@contextmanager
def later(days: float) -> Iterator[None]:
    with time_machine.travel(timezone.now() + timedelta(days=days)):
        yield
