"""The life of an inbox: made by one call, paused, resumed, ended."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from audit.record import Act, record
from inboxes.domains import NoPlace, Place, hold, is_others, place_for
from inboxes.holds import keep_out_holds, refuse_if_held
from inboxes.idempotency import forget_inbox
from inboxes.models import Account, Domain, Inbox, Provider, RetentionClass
from inboxes.naming import RESERVED, candidates, random_local_part
from inboxes.quotas import see_whether_room
from inboxes.signals import inbox_changed, inbox_goes, inbox_purged
from mailbot.lib.addresses import CanonicalAddress, canonical_domain, canonical_local_part
from mailbot.lib.scope import acting_for_everybody

ADDRESS_REST = timedelta(days=90)
MAX_RANDOM_TRIES = 20
MAX_RACES = 3  # for a random address, which somebody else may be given at the same moment
LIVING = [status for status in Inbox.Status if status is not Inbox.Status.DELETED]
EXPIRED = "expired"
ALWAYS = Q()
SUBDOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class AddressTaken(Exception):
    """Somebody has the address, or had it so lately that mail for him may still come. `suggestions` are free ones."""

    def __init__(self, address: str, suggestions: list[str]) -> None:
        super().__init__(f"{address} is taken.")
        self.address, self.suggestions = address, suggestions


class AddressRefused(ValueError):
    """The address cannot be had here at all; `field` says which part is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True, slots=True)
class InboxRequest:
    """What a caller asks for. No local part: a readable random one. No domain: the server's own. `own_subdomain` None: as the domain is
    set."""

    local_part: str = ""
    domain: str = ""
    display_name: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    client_id: str | None = None
    expires_in: int | None = None
    purge_on_expiry: bool = False
    daily_send_limit: int | None = None
    oversight: bool = False
    track_opens: bool = False
    track_clicks: bool = False
    provider: Provider | None = None
    own_subdomain: bool | None = None
    list_unsubscribe: bool = False
    retention_class: RetentionClass | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """An address that can be had, and where."""

    address: CanonicalAddress
    place: Place


def create_inbox(account: Account, mode: str, wanted: InboxRequest) -> tuple[Inbox, bool]:
    """Make an inbox; `(inbox, False)` is the one that the same client_id made before.

    Raises AddressTaken, AddressRefused, or mailbot.lib.addresses.AddressError.
    """
    for _ in range(MAX_RACES if not wanted.local_part else 1):
        if existing := _made_before(account, mode, wanted.client_id):
            return existing, False
        with suppress(IntegrityError), transaction.atomic():
            return _insert(account, mode, wanted, _choose_site(account, wanted)), True
    # Lost a race: against a twin with our client_id, or against somebody who took the address this moment.
    if existing := _made_before(account, mode, wanted.client_id):
        return existing, False
    raise AddressTaken(wanted.local_part, suggestions(account, wanted.local_part, _place(account, wanted)))


def _made_before(account: Account, mode: str, client_id: str | None) -> Inbox | None:
    if client_id is None:
        return None
    living = Inbox.objects.exclude(status=Inbox.Status.DELETED)
    return _still_going(living.filter(account=account, mode=mode, client_id=client_id).first())


def _still_going(inbox: Inbox | None) -> Inbox | None:
    """None for one whose time is over: it is ended here, where something new wants its place before the sweep came by."""
    if inbox is None or not inbox.has_ended(timezone.now()):
        return inbox
    expire_inbox(inbox)
    return None


def _choose_site(account: Account, wanted: InboxRequest) -> Site:
    place = _place(account, wanted)
    if not wanted.local_part:
        return Site(_free_random_address(account, place), place)
    name, tag = canonical_local_part(wanted.local_part)
    if tag or "+" in wanted.local_part:
        raise AddressRefused(
            "username",
            "A “+” is not possible: what stands behind it is a tag, and mail for it comes to the base inbox.",
        )
    if name in RESERVED and place.own is None:
        raise AddressRefused("username", f"“{name}” is reserved for whoever runs the domain.")
    address = CanonicalAddress(name, _domain_at(account, place, name))
    if _taken(account, [address.address]) and not _was_ours(account, address.address):
        raise AddressTaken(address.address, suggestions(account, name, place))
    return Site(address, place)


def _domain_at(account: Account, place: Place, name: str) -> str:
    """The domain of an address, or the subdomain that it gets."""
    if not place.has_subdomain:
        return place.domain
    if not SUBDOMAIN.fullmatch(name):
        reason = "An inbox with a subdomain of its own has only letters, digits and hyphens in its name, up to 63."
        raise AddressRefused("username", reason)
    domain = place.domain_for(name)
    if is_others(account, domain):
        raise AddressRefused("username", f"“{domain}” belongs to somebody else.")
    return domain


def _was_ours(account: Account, address: str) -> bool:
    """Whether the address is free after all: it was the account's own, in an inbox whose time is over."""
    mine = Inbox.objects.exclude(status=Inbox.Status.DELETED).filter(account=account, address=address).first()
    return mine is not None and _still_going(mine) is None


def _place(account: Account, wanted: InboxRequest) -> Place:
    try:
        place = place_for(account, wanted.domain, wanted.own_subdomain)
    except NoPlace as error:
        raise AddressRefused("domain", str(error)) from error
    given = canonical_domain(wanted.domain) if wanted.domain else place.domain
    name = canonical_local_part(wanted.local_part)[0] if wanted.local_part else ""
    if given not in (place.domain, place.domain_for(name)):
        raise AddressRefused("domain", f"“{given}” is for the inbox “{given.partition('.')[0]}” alone.")
    return place


def _free_random_address(account: Account, place: Place) -> CanonicalAddress:
    for _ in range(MAX_RANDOM_TRIES):
        name = random_local_part()
        address = CanonicalAddress(name, _domain_at(account, place, name))
        if not _taken(account, [address.address]):
            return address
    raise AddressTaken(address.address, [])


def _taken(account: Account, addresses: Iterable[str]) -> set[str]:
    """Those that a living inbox has, or that another account had within the last 90 days: its mail must not reach a new owner."""
    with acting_for_everybody("is an address free"):
        rows = Inbox.objects.filter(address__in=list(addresses))
        rows = rows.filter(~Q(status=Inbox.Status.DELETED) | _resting(account))
        return set(rows.values_list("address", flat=True))


def _resting(account: Account) -> Q:
    """Inboxes of other accounts, of either mode, that ended too lately."""
    return Q(status=Inbox.Status.DELETED, deleted_at__gt=timezone.now() - ADDRESS_REST) & ~Q(account=account)


def suggestions(account: Account, local_part: str, place: Place) -> list[str]:
    """Three free addresses near to one that is taken."""
    near = [f"{name}@{place.domain_for(name)}" for name in candidates(local_part)]
    taken = _taken(account, near)
    return [address for address in near if address not in taken][:3]


def _insert(account: Account, mode: str, wanted: InboxRequest, site: Site) -> Inbox:
    now, address = timezone.now(), site.address
    inbox = Inbox.objects.create(
        account=account,
        mode=mode,
        address=address.address,
        local_part=address.local_part,
        domain=address.domain,
        display_name=wanted.display_name,
        metadata=wanted.metadata,
        client_id=wanted.client_id,
        daily_send_limit=wanted.daily_send_limit,
        oversight=wanted.oversight,
        track_opens=wanted.track_opens,
        track_clicks=wanted.track_clicks,
        provider=wanted.provider,
        own_domain=_held(site.place),
        created_at=now,
        expires_at=now + timedelta(seconds=wanted.expires_in) if wanted.expires_in else None,
        purge_on_expiry=wanted.purge_on_expiry,
        list_unsubscribe=wanted.list_unsubscribe,
        retention_class=wanted.retention_class,
    )
    # Another account may have made and deleted it since we looked. Now that the row is ours, nobody can any more.
    with acting_for_everybody("does the address rest"):
        if Inbox.objects.filter(_resting(account), address=address.address).exists():
            raise IntegrityError("The address rests.")
    _announce(inbox, "inbox.created", {"address": inbox.address})
    return inbox


def _held(place: Place) -> Domain | None:
    try:
        return hold(place.own) if place.own else None
    except NoPlace as error:
        raise AddressRefused("domain", str(error)) from error


def change_inbox(inbox: Inbox, changes: dict[str, Any]) -> Inbox:
    """Set configuration fields (display_name, metadata, daily_send_limit, oversight, list_unsubscribe, track_opens,
    track_clicks, expires_at, purge_on_expiry, provider, retention_class). The trail shows old and new."""
    if "retention_class" in changes:
        changes = {**changes, "retention_due_at": timezone.now()}
    for name, value in changes.items():
        setattr(inbox, name, value)
    with transaction.atomic():
        inbox.save(update_fields=list(changes))
    return inbox


def pause(inbox: Inbox, reason: str) -> Inbox:
    """Stop its sending. Mail still comes in. Safe to repeat."""
    return _move(inbox, [Inbox.Status.ACTIVE, Inbox.Status.TRIPPED], Inbox.Status.PAUSED, Act.INBOX_PAUSED, reason)


def resume(inbox: Inbox, reason: str) -> Inbox:
    """It sends again. One that a breaker stopped begins with a clean record."""
    stopped = [Inbox.Status.PAUSED, Inbox.Status.TRIPPED]
    reset: dict[str, Any] = (
        {"record_from": timezone.now(), "trips": 0, "trials_at": None, "trials_left": None} if inbox.trials_at else {}
    )
    return _move(inbox, stopped, Inbox.Status.ACTIVE, Act.INBOX_RESUMED, reason, **reset)


def trip(inbox: Inbox, reason: str, trips: int, trials_at: datetime) -> Inbox:
    """Its breaker stops its sending until a few sends are tried at `trials_at`. Mail still comes in."""
    columns: dict[str, Any] = {"trips": trips, "trials_at": trials_at, "trials_left": None}
    sending = [Inbox.Status.ACTIVE, Inbox.Status.TRIPPED]
    return _move(inbox, sending, Inbox.Status.TRIPPED, Act.INBOX_TRIPPED, reason, **columns)


@transaction.atomic
def put_on_trial(inbox: Inbox, trials: int) -> Inbox:
    """It stays tripped, but so many recipients may be tried."""
    now = timezone.now()
    due = Inbox.objects.filter(pk=inbox.pk, status=Inbox.Status.TRIPPED, trials_at=inbox.trials_at, trials_left=None)
    if due.update(trials_left=trials, record_from=now):
        inbox.trials_left, inbox.record_from = trials, now
        record(
            Act.INBOX_ON_TRIAL, inbox, account_id=inbox.account_id, inbox_id=inbox.pk, changes={"recipients": trials}
        )
    return inbox


def end_trial(inbox: Inbox, reason: str) -> Inbox:
    """The trial went well: it sends again. Its record stays, and how often it tripped, should it do so again soon."""
    columns: dict[str, Any] = {"trials_at": None, "trials_left": None}
    return _move(inbox, [Inbox.Status.TRIPPED], Inbox.Status.ACTIVE, Act.INBOX_RESUMED, reason, **columns)


@transaction.atomic
def delete_inbox(inbox: Inbox, reason: str = "") -> Inbox:
    """End it: the address refuses mail from now on, what it holds stays readable. Safe to repeat. Raises inboxes.holds.Held."""
    now = timezone.now()
    if inbox.has_ended(now):
        return expire_inbox(inbox)
    keep_out_holds([inbox.account_id])
    refuse_if_held(inbox.account_id, [inbox.pk], "delete the inbox")
    return _move(inbox, LIVING, Inbox.Status.DELETED, Act.INBOX_DELETED, reason, deleted_at=now)


def expire_inbox(inbox: Inbox) -> Inbox:
    """Write down that its time is over, unless it was put off meanwhile. It was from that second on, whenever the sweep came by, so
    that second is when it was deleted. Safe to repeat."""
    over = Q(expires_at__lte=timezone.now())
    return _move(inbox, LIVING, Inbox.Status.DELETED, Act.INBOX_EXPIRED, EXPIRED, over, deleted_at=inbox.expires_at)


@transaction.atomic
def purge_inbox(inbox: Inbox) -> Inbox:
    """End it and erase what it holds, at once. The trail stays, and says so. Raises inboxes.holds.Held."""
    keep_out_holds([inbox.account_id])
    refuse_if_held(inbox.account_id, [inbox.pk], "purge the inbox")
    inbox_goes.send(Inbox, inbox=inbox)
    delete_inbox(inbox, "purged")
    inbox.purged_at = timezone.now()
    Inbox.objects.filter(pk=inbox.pk).update(purged_at=inbox.purged_at)
    forget_inbox(inbox.pk)
    record(Act.INBOX_PURGED, inbox, account_id=inbox.account_id, inbox_id=inbox.pk)
    inbox_purged.send(Inbox, inbox=inbox)
    see_whether_room(inbox.account_id)
    return inbox


@transaction.atomic
def _move(
    inbox: Inbox,
    old: Sequence[Inbox.Status],
    new: Inbox.Status,
    act: Act,
    reason: str,
    condition: Q = ALWAYS,
    **columns: Any,
) -> Inbox:
    before = inbox.status
    columns |= {"status": new, "status_reason": reason}
    if Inbox.objects.filter(condition, pk=inbox.pk, status__in=old).update(**columns):
        for name, value in columns.items():
            setattr(inbox, name, value)
        changes = {"status": [before, new.value], "reason": reason}
        record(act, inbox, account_id=inbox.account_id, inbox_id=inbox.pk, changes=changes)
        _announce(inbox, f"inbox.{EVENT_OF[new]}", {"reason": reason})
    else:
        inbox.refresh_from_db()
    return inbox


EVENT_OF = {
    Inbox.Status.PAUSED: "paused",
    Inbox.Status.ACTIVE: "resumed",
    Inbox.Status.TRIPPED: "tripped",
    Inbox.Status.DELETED: "deleted",
}


def _announce(inbox: Inbox, event: str, data: dict[str, Any]) -> None:
    inbox_changed.send(Inbox, inbox=inbox, event=event, data=data)
