"""What a tenant has: an inbox with something of each kind, all of it marked, and what a caller may give for each slot."""

import base64
import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from django.utils import timezone

from audit.models import AuditEntry
from audit.sealing import seal_all
from delivery.models import OutboundMail, Suppression
from inboxes.holds import place, release
from inboxes.models import Account, AddressRule, Inbox, LegalHold, Provider
from inboxes.retention_classes import make_class
from mailbot.api.pagination import encoded
from mailbot.lib.ids import new_id
from tests.audit.bundles import ask as ask_for_export
from tests.audit.bundles import make as make_exports
from tests.cast import Caller, run_workers
from tests.delivery.erasing.traces import erase
from tests.dns_zone import add_domain
from tests.isolation.asking import LIST, PATTERN, SUPPRESSED, ask
from tests.isolation.slots import Operation, Slot
from tests.mailing import deliver, mail
from threads.models import Attachment, Event, Message

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # of ids, which are in Crockford's base32
ID = re.compile(r"[a-z]{1,12}_[0-7][0-9a-hjkmnp-tv-z]{25}")
SENT = (Message.Status.SENT, Message.Status.DELIVERED)
SIMULATE = "/v1/simulate"  # of test keys only
HOLD = "POST /v1/holds"
MESSAGES, THREADS, EVENTS = ("message_id", "thread_id", "event_id")


@dataclass
class World:
    """`mark` is in all that the tenant wrote or was sent. `ids` by the name of the slot that takes them."""

    owner: Caller
    inbox: Inbox
    mark: str
    ids: dict[str, str]
    mail_ids: frozenset[str]
    cursors: dict[Operation, str] = field(default_factory=dict)

    @property
    def authorization(self) -> str:
        return f"Bearer {self.owner.secret}"

    def value(self, operation: Operation, slot: Slot) -> str:
        """What is right there for the owner."""
        match slot.word:
            case "after" | "before":
                return self.ids[_listed_by(operation) + ("" if slot.word == "after" else "_last")]
            case "cursor":
                if has(self, operation):
                    return self.cursors[operation]
                return encoded(Provider(pk=self.ids["provider_id"]), ("-id",))
            case "query":
                return f"thread:{self.ids['thread_id']}"
            case "message_id" if operation.path.endswith("/cancel"):
                return self.ids["message_id_waiting"]
            case "message_id" if operation.path.startswith(SIMULATE):
                return self.ids["message_id_sent"]
            case "Idempotency-Key":
                return f"{self.mark} {operation}"
        return self.ids[slot.word]

    def needed_values(self, operation: Operation) -> dict[Slot, str]:
        slots = [*operation.needed_slots]
        if str(operation) == HOLD:  # without an inbox it is of the whole account, which not everybody may do
            slots += [slot for slot in operation.slots if slot.word == "inbox_id"]
        return {slot: self.value(operation, slot) for slot in slots}


def _listed_by(operation: Operation) -> str:
    """What is put in order there, and so what `after` is an id of."""
    last = operation.path.rpartition("/")[2]
    return {"threads": THREADS, "events": EVENTS}.get(last, MESSAGES)


def build_world(account: Account, mode: str, mark: str) -> World:
    owner = Caller(account, "Owner", mode)
    providers = _providers(owner, mark)
    domains = [
        add_domain(owner, f"{secrets.token_hex(4)}.example")["id"] for _ in range(2)
    ]  # no mark: both modes see them
    owner.create_inbox(username=f"{mark}-too")  # lists have two pages
    inbox = owner.create_inbox(username=mark, display_name=mark, client_id=f"{mark} client")
    _fill(owner, inbox, mark)
    first, *_, last = Message.objects.filter(inbox=inbox).order_by("sequence")
    ids = {
        "inbox_id": inbox.pk,
        "inbox_ids": inbox.pk,
        "client_id": f"{mark} client",
        "actor": owner.key.pk,
        "message_id": first.pk,
        "message_id_last": last.pk,
        "reply_to_message_id": first.pk,
        "message_id_sent": Message.objects.filter(inbox=inbox, direction="outbound", status__in=SENT)
        .order_by("sequence")[0]
        .pk,
        "message_id_waiting": Message.objects.get(inbox=inbox, status=Message.Status.SCHEDULED).pk,
        "thread_id": first.thread_id,
        "thread_id_last": last.thread_id,
        "attachment_id": Attachment.objects.get(message=first).pk,
        "event_id": Event.objects.filter(inbox=inbox).order_by("pk")[0].pk,
        "key_id": owner.with_key(inbox=inbox).key.pk,
        "rule_id": AddressRule.objects.get(inbox=inbox, pattern=PATTERN).pk,
        "suppression_id": Suppression.objects.get(inbox=inbox, address=SUPPRESSED).pk,
        "entry_id": AuditEntry.objects.filter(inbox_id=inbox.pk).order_by("pk")[0].public_id,
        "provider_id": providers[0],
        "export_id": _exports(owner)[0],
        "erasure_id": _erasures(owner)[0],
        "domain_id": domains[0],
        "hold_id": _holds(owner, inbox, mark)[0],
        # No mark: both modes see them.
        "retention_class_id": _classes(account)[0],
        "fallback_id": providers[1],
    }
    seal_all()
    mails = OutboundMail.objects.filter(inbox=inbox).values_list("pk", flat=True)
    return World(owner, inbox, mark, ids, frozenset(mails))


def _fill(owner: Caller, inbox: Inbox, mark: str) -> None:
    known = f"<first@{mark}.example>"
    body = f"The secret of {mark}. Code: 482913. https://{mark}.example/verify\n"
    files = {f"{mark}.txt": mark.encode()}
    deliver(mail(Subject=f"Secret of {mark}", Message_ID=known, body=body, attachments=files), inbox)
    deliver(mail(Subject=f"Re: Secret of {mark}", In_Reply_To=known, body=body), inbox)
    owner.send(inbox, subject=f"Secret plan of {mark}", body_text=body, labels=[mark])
    owner.send(
        inbox, subject=f"Another secret of {mark}", body_text=body
    )  # lists of what became of mail have two pages
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat()
    owner.send(inbox, subject=f"Secret plan of {mark} for later", body_text=body, send_at=tomorrow)
    run_workers()
    deliver(mail(Subject=f"Last secret of {mark}", body=body), inbox)
    path = "/v1/lists/{direction}/{effect}".format(**LIST)
    for pattern in (PATTERN, f"{mark}.example.net"):
        owner.post(path, {"pattern": pattern, "note": mark, "inbox_id": inbox.pk})
    for address in (SUPPRESSED, f"ann@{mark}.example.net"):
        owner.post("/v1/suppressions", {"address": address, "reason": mark, "inbox_id": inbox.pk})
    owner.post("/v1/suppressions", {"address": SUPPRESSED})  # of the account: all its keys see that
    owner.post(path, {"pattern": PATTERN})  # of the account: all its keys see that
    owner.with_key(inbox=inbox)


def _erasures(owner: Caller) -> list[str]:
    """Two, so that lists have two pages."""
    live = owner.with_key(mode="live")
    return [erase(live, f"{secrets.token_hex(4)}@shop.example")["id"] for _ in range(2)]


def _holds(owner: Caller, inbox: Inbox, mark: str) -> list[str]:
    """Two, so that lists have two pages. Released, so that nothing stands against what else is tried."""
    holds = [place(owner.account, inbox=inbox, matter=f"Case of {mark}", reason=mark) for _ in range(2)]
    return [release(hold, reason=mark).pk for hold in holds]


def _classes(account: Account) -> list[str]:
    return [make_class(account, {"name": secrets.token_hex(4)}).pk for _ in range(2)]


def _exports(owner: Caller) -> list[str]:
    """Two, so that lists have two pages. No mark in the reason: all keys of the account that are not limited see them."""
    made = [ask_for_export(owner)["id"] for _ in range(2)]
    make_exports()
    return made


def _providers(owner: Caller, mark: str) -> list[str]:
    """Two, so that lists have two pages. A test key has none: ids of nobody's stand for what it could mean."""
    if owner.mode == "test":
        return [new_id("provider"), new_id("provider")]
    # No mark in the name: a test mail, which any inbox of the account may send, speaks of it.
    body = {"name": "Postmark", "esp": "postmark", "credentials": {"server_token": mark}}
    return [owner.post("/v1/providers", body).json()["data"]["id"] for _ in range(2)]


def has(world: World, operation: Operation) -> bool:
    """Whether there is anything of the kind in the world's mode."""
    if operation.path.startswith(SIMULATE):
        return world.owner.mode == "test"
    of_live = operation.path.startswith("/v1/providers") or str(operation) == "POST /v1/erasures"
    return world.owner.mode == "live" or not of_live


def use_everything(world: World, operations: list[Operation]) -> None:
    """Have the owner take a cursor from each list, and use an Idempotency-Key of his own for each POST."""
    for operation in [operation for operation in operations if has(world, operation)]:
        if operation.slot("cursor"):
            world.cursors[operation] = _cursor_of(world, operation)
        if key := operation.slot("Idempotency-Key"):
            given = world.needed_values(operation) | {key: world.value(operation, key)}
            assert ask(operation, given, world.authorization).is_success, operation
    for hold in LegalHold.objects.filter(inbox=world.inbox, released_at=None):
        release(hold, reason=world.mark)


def _cursor_of(world: World, operation: Operation) -> str:
    if operation.path.endswith("{thread_id}"):  # it gives none for less than two hundred messages
        return encoded(Message.objects.get(pk=world.ids["message_id"]), ("sequence",))
    answer = ask(operation, world.needed_values(operation), world.authorization, limit=1)  # type: ignore[arg-type]
    cursor = answer.json()["meta"]["next_cursor"]
    assert cursor, f"{operation}: the world has too little of it for a second page"
    return str(cursor)


def twin(value: str) -> str:
    """Of the same kind, at the same place in every order, and nobody's."""
    if ID.search(value):
        return ID.sub(lambda found: _right_below(found[0]), value)
    if (inside := _read_cursor(value)) is not None:
        return base64.urlsafe_b64encode(ID.sub(lambda found: _right_below(found[0]), inside).encode()).decode()
    return value[:-1] + ("0" if value[-1] != "0" else "1")


def _right_below(id_: str) -> str:
    """Never above: from there a list, which is newest first, would go on with the row of `id_` itself."""
    digits = id_.rstrip("0")
    return digits[:-1] + ALPHABET[ALPHABET.index(digits[-1]) - 1] + ALPHABET[-1] * (len(id_) - len(digits))


def _read_cursor(value: str) -> str | None:
    try:
        inside = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
        return inside if isinstance(json.loads(inside), list) else None
    except ValueError:
        return None
