"""Legal hold: while one is in force, nothing of its inbox, or of all inboxes of its account, may go.

It beats deletion, purge, retention and erasure. Who removes something asks here, in the transaction of the removal: `keep_out_holds` first,
so that no hold is placed between the question and the commit, then `refuse_if_held` for what somebody asked for, or `is_held` and
`held_among` for sweeps, which pass over what is held.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from audit.actors import current
from audit.models import AuditEntry
from audit.record import Act, Entry, record, record_many
from inboxes.models import Account, Inbox, LegalHold
from mailbot.api.errors import ApiError, Code
from mailbot.api.renderers import timestamp
from mailbot.lib.scope import acting_for_everybody
from mailbot.lib.transactions import number_of, share_until_commit, take_until_commit

MOST_NAMED = 10  # holds that a refusal lists


class Held(ApiError):
    """What was asked for is refused because of `holds`, which a 409 names. It is in the trail; see `refusals_stay`."""

    def __init__(self, account_id: str, what: str, held: dict[str, list[LegalHold]]) -> None:
        self.account_id, self.what, self.held = account_id, what, held
        self.holds = list({hold.pk: hold for holds in held.values() for hold in holds}.values())
        self._entries: list[str] = []
        named = [
            {"id": hold.pk, "inbox_id": hold.inbox_id, "matter": hold.matter, "placed_at": timestamp(hold.placed_at)}
            for hold in self.holds[:MOST_NAMED]
        ]
        super().__init__(Code.CONFLICT, _told(what, self.holds), fix=_fix(self.holds), holds=named)

    def stay(self) -> None:
        """Write the entries that say so, unless they are there: what is written inside a transaction goes with it when it is refused."""
        with transaction.atomic(), acting_for_everybody("a refusal is told whatever the caller sees"):
            if not self._entries or not AuditEntry.objects.filter(public_id__in=self._entries).exists():
                self._entries = [entry.public_id for entry in record_many(self._told())]

    def _told(self) -> Iterator[Entry]:
        for inbox_id, holds in self.held.items():
            changes = {"refused": self.what, "holds": [[hold.pk, hold.matter] for hold in holds]}
            yield Entry(Act.HOLD_ENFORCED, holds[0], self.account_id, inbox_id, changes)


def _told(what: str, holds: Sequence[LegalHold]) -> str:
    named = [f"“{hold.matter}” since {hold.placed_at:%Y-%m-%d}" for hold in holds[:MOST_NAMED]]
    if len(holds) > MOST_NAMED:
        named.append(f"{len(holds) - MOST_NAMED} more")
    return f"A legal hold stands against this ({what}): {', '.join(named)}."


def _fix(holds: Sequence[LegalHold]) -> str:
    paths = ", ".join(f"POST /v1/holds/{hold.pk}/release" for hold in holds[:MOST_NAMED])
    return f"Nothing is removed while it is in force. Whoever may end it releases it with a reason: {paths}."


@contextmanager
def refusals_stay() -> Iterator[None]:
    """To be put around the transaction of what may be refused. The API does so by itself (mailbot.api.errors.handle)."""
    try:
        yield
    except Held as held:
        held.stay()
        raise


# --- Placing and releasing ---


@transaction.atomic
def place(account: Account, *, inbox: Inbox | None, matter: str, reason: str) -> LegalHold:
    """On one inbox, a deleted one too, or on all of the account. What is just being removed is waited for."""
    if inbox is not None and inbox.account_id != account.pk:
        raise ValueError("The inbox is of another account.")
    take_until_commit(_number(account.pk))
    hold = LegalHold.objects.create(
        account=account, inbox=inbox, matter=matter, reason=reason, placed_by=_actor(), placed_at=timezone.now()
    )
    _note(Act.HOLD_PLACED, hold, reason)
    return hold


@transaction.atomic
def release(hold: LegalHold, *, reason: str) -> LegalHold:
    """What it kept may go from now on, unless another hold is there. Safe to repeat."""
    ended = {"released_at": timezone.now(), "released_by": _actor(), "release_reason": reason}
    if LegalHold.objects.filter(pk=hold.pk, released_at=None).update(**ended):
        _note(Act.HOLD_RELEASED, hold, reason)
    hold.refresh_from_db()
    return hold


def _actor() -> str:
    actor = current().actor
    return actor.name or actor.id or actor.kind.value


def _note(act: Act, hold: LegalHold, reason: str) -> None:
    changes = {"matter": hold.matter, "reason": reason, "covers": hold.inbox_id or "account"}
    record(act, hold, account_id=hold.account_id, inbox_id=hold.inbox_id or "", changes=changes)


# --- Asking ---


def in_force() -> QuerySet[LegalHold]:
    return LegalHold.objects.filter(released_at=None)


def holds_on(inbox: Inbox) -> QuerySet[LegalHold]:
    """Those in force, also of the whole account; oldest first."""
    return in_force().filter(Q(inbox=None) | Q(inbox=inbox.pk), account_id=inbox.account_id).order_by("pk")


def held_among(account_id: str, inbox_ids: Iterable[str]) -> dict[str, list[LegalHold]]:
    """Of these inboxes of an account those that are held, with the holds in force."""
    asked = list(inbox_ids)
    with acting_for_everybody("a hold binds who does not see it, too"):
        holds = list(in_force().filter(account_id=account_id).order_by("pk"))
    of_all = [hold for hold in holds if not hold.inbox_id]
    of_one: dict[str, list[LegalHold]] = defaultdict(list)
    for hold in holds:
        if hold.inbox_id:
            of_one[hold.inbox_id].append(hold)
    found = {inbox_id: [*of_all, *of_one.get(inbox_id, ())] for inbox_id in asked}
    return {inbox_id: holds for inbox_id, holds in found.items() if holds}


def is_held(inbox_path: str = "pk", account_path: str = "account_id") -> Exists:
    """For the queries of sweeps: whether the inbox that `inbox_path` leads to is held, by itself or with its account."""
    own = Q(inbox=None) | Q(inbox_id=OuterRef(inbox_path))
    return Exists(in_force().filter(own, account_id=OuterRef(account_path)))


def held_inboxes(inbox_ids: Iterable[str]) -> set[str]:
    """The same for sweeps, which meet inboxes of many accounts."""
    with acting_for_everybody("sweeps remove for all accounts"):
        asked = Inbox.objects.filter(pk__in=list(inbox_ids))
        return set(asked.filter(is_held()).values_list("pk", flat=True))


def refuse_if_held(account_id: str, inbox_ids: Iterable[str], what: str) -> None:
    """Raises Held; the refusal is in the trail, see `refusals_stay`. `what` was asked for, in a few words: "delete the inbox"."""
    held = held_among(account_id, inbox_ids)
    if held:
        refusal = Held(account_id, what, held)
        refusal.stay()
        raise refusal


def keep_out_holds(account_ids: Iterable[str]) -> None:
    """Until the end of the open transaction no hold is placed in these accounts; one that is just being placed is waited for.

    To be called before rows are locked, and before it is asked what is held.
    """
    for account_id in sorted(set(account_ids)):
        share_until_commit(_number(account_id))


def _number(account_id: str) -> int:
    return number_of(f"legal holds of {account_id}")
