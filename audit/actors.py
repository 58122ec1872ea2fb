"""Who is acting, right now: set where somebody is authenticated, read wherever an act is recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import StrEnum

from structlog.contextvars import bound_contextvars

from mailbot.lib.ids import new_id
from mailbot.lib.scope import acting_for_everybody


class ActorKind(StrEnum):
    API_KEY = "api_key"
    USER = "user"
    SYSTEM = "system"
    PROVIDER = "provider"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Actor:
    """`name` is the name as it is now: the trail keeps it even when the key or user is renamed or gone."""

    kind: ActorKind
    id: str = ""
    name: str = ""
    mode: str = ""  # of a key: test or live


NOBODY = Actor(ActorKind.ANONYMOUS)


@dataclass(slots=True)
class ActContext:
    """What the acts of one request, task or command have in common. `request_id` is the correlation id of the trail and of the log.
    `account_id`: of the key that calls."""

    request_id: str = field(default_factory=lambda: new_id("req"))
    remote_addr: str | None = None
    actor: Actor = NOBODY
    account_id: str = ""


_context: ContextVar[ActContext | None] = ContextVar("act_context", default=None)


def current() -> ActContext:
    """The context of this request or task; outside of any, a fresh one in which nobody acts."""
    return _context.get() or ActContext()


@contextmanager
def acting_in(context: ActContext) -> Iterator[ActContext]:
    """Make `context` the current one. Threads that asgiref starts see the same object, so an actor set there is seen here.

    Each line that is logged meanwhile carries its `request_id`.
    """
    token = _context.set(context)
    try:
        with bound_contextvars(request_id=context.request_id):
            yield context
    finally:
        _context.reset(token)


@contextmanager
def acting_for_request(request_id: str) -> Iterator[None]:
    """For what a worker does because of a request that was answered long ago: the trail and the log say which one it was."""
    with acting_in(replace(current(), request_id=request_id) if request_id else current()):
        yield


@contextmanager
def acting_as(actor: Actor | None) -> Iterator[None]:
    """For what somebody else than who does the work is the cause of; None: nobody else."""
    with acting_in(replace(current(), actor=actor) if actor else current()):
        yield


@contextmanager
def acting_as_system(name: str) -> Iterator[ActContext]:
    """For tasks, commands and servers, which act for all accounts: `with acting_as_system("inbound worker"):`."""
    with acting_for_everybody(name), acting_in(ActContext(actor=Actor(ActorKind.SYSTEM, name, name))) as context:
        yield context
