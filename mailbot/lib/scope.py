"""For whom this code acts: nobody, some accounts, everybody, or the owner of the database.

It is said where a request is authenticated, at the head of a task or command, and nowhere else. Two walls ask for it: the managers of
tenant models (mailbot.lib.tenants) and, on PostgreSQL, the policies of their tables (mailbot.lib.row_security). Who says nothing acts
for nobody, and finds nothing.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Reach(StrEnum):
    NOBODY = "nobody"
    TENANT = "tenant"  # some accounts, perhaps only some inboxes of them
    EVERYBODY = "everybody"  # workers, commands, superusers
    OWNER = "owner"  # changes tables: migrations


@dataclass(frozen=True, slots=True)
class Scope:
    """`inbox_ids` None: all inboxes of the accounts."""

    reach: Reach
    account_ids: tuple[str, ...] = ()
    inbox_ids: tuple[str, ...] | None = None


NOBODY, EVERYBODY, OWNER = Scope(Reach.NOBODY), Scope(Reach.EVERYBODY), Scope(Reach.OWNER)


class _Holder:
    """Threads that asgiref starts for a request see the same object, so that what authentication says there is seen here."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope


_holder: ContextVar[_Holder | None] = ContextVar("scope", default=None)
_outside = _Holder(NOBODY)


def current() -> Scope:
    return (_holder.get() or _outside).scope


@contextmanager
def acting_within(scope: Scope) -> Iterator[None]:
    token = _holder.set(_Holder(scope))
    try:
        yield
    finally:
        _holder.reset(token)


@contextmanager
def acting_for_everybody(why: str) -> Iterator[None]:
    """For the few questions that no account can answer alone, such as whether an address is free; `why` is for the reader."""
    with acting_within(EVERYBODY):
        yield


def narrow_to(account_ids: Iterable[str], inbox_ids: Iterable[str] | None = None) -> None:
    """From here on the request acts for these only. To be called inside `acting_within`, by whoever found out who is calling."""
    inboxes = None if inbox_ids is None else tuple(sorted(inbox_ids))
    _from_here_on(Scope(Reach.TENANT, tuple(sorted(account_ids)), inboxes))


def widen_to_everybody() -> None:
    """The same for a superuser of the console."""
    _from_here_on(EVERYBODY)


def _from_here_on(scope: Scope) -> None:
    holder = _holder.get()
    if holder is None:
        raise RuntimeError("Outside of a request a scope is entered with acting_within.")
    holder.scope = scope


def act_for_everybody_outside_of_requests() -> None:
    """Said once by a process that serves no tenant but all: commands, the SMTP server, workers. Its threads act so too."""
    _outside.scope = EVERYBODY
