"""What an entry of the trail says, as a sentence for people. Pure: entry in, pieces of text out.

`SENTENCES` has one for each act of the closed vocabulary, under the group that it belongs to. `{name}` is a value of the entry; what
stands in brackets is left out where a value in it is missing; `{?name}` asks whether it is there and shows nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from audit.actors import ActorKind
from audit.models import AuditEntry


class Group(StrEnum):
    """Kinds of acts, in plain words."""

    MAIL = "mail"
    READS = "reads"
    ACCESS = "access"
    SETTINGS = "settings"
    LISTS = "lists"
    KEEPING = "keeping"
    EVIDENCE = "evidence"


GROUP_NAMES = {
    Group.MAIL: "Mail and threads",
    Group.READS: "Reads and searches",
    Group.ACCESS: "Keys, people, sign-ins",
    Group.SETTINGS: "Settings and states",
    Group.LISTS: "Lists, suppressions",
    Group.KEEPING: "Holds, retention, erasure",
    Group.EVIDENCE: "The trail and exports",
}

_READ = "[{?without}, without what it says][{?review}, in a review, because “{reason}”]"
_ASKED = "[, asked for by {query}]"
_WHY = "[, because “{reason}”]"

SENTENCES: dict[Group, dict[str, str]] = {
    Group.MAIL: {
        "message.queued": "{who} sent “{subject}”[ to {to}]; it waits in the queue",
        "message.sent": "{who} handed “{subject}” over to the provider[, for {recipients}]",
        "message.failed": "“{subject}” could not be sent[ to {recipients}][: {detail}], says {who}",
        "message.unknown": "Nobody knows whether “{subject}” was sent[ to {recipients}][: {detail}], says {who}",
        "message.settled": "{who} settled what became of “{subject}”: {state}" + _WHY,
        "message.cancelled": "{who} took “{subject}” back before it was sent[ to {recipients}]" + _WHY,
        "message.received": "“{subject}” came in[ from {from}], filed by {who}",
        "message.repeated": "“{subject}” came in again[, {times} more times], noted by {who}",
        "message.rejected": "“{subject}”[ from {from}] was set aside by a list, says {who}",
        "message.accepted": "{who} accepted “{subject}”[ from {from}], which a list had set aside" + _WHY,
        "message.report_received": "A report came in[ from {from}]: “{subject}”, filed by {who}",
        "message.labelled": "{who} changed the labels of “{it}”[ from {labels.old}][ to {labels.new}]",
        "thread.changed": "{who} changed the thread “{it}”[, from {status.old} to {status.new}][, labels to {labels.new}]",
        "thread.claimed": "{who} took the thread “{it}” to work on it[, as {owner}][: {note}]",
        "thread.released": "{who} gave the thread “{it}” free[: {note}]",
        "thread.handed_off": "{who} handed the thread “{it}” on[ to {owner}][: {note}]",
        "inbound.failed": "{who} could not read a mail that came in[: {error}]",
        "inbound.retried": "{who} had a mail that came in read again" + _WHY,
        "simulation.done": "{who} simulated in the sandbox: {simulated}",
    },
    Group.READS: {
        "message.read": "{who} read “{it}”[ ({part})]" + _READ,
        "message.listed": "{who} looked at a list of {messages.count}" + _ASKED + _READ,
        "thread.read": "{who} read the thread “{it}” with {messages.count}" + _READ,
        "thread.listed": "{who} looked at a list of {threads.count}" + _ASKED + _READ,
        "raw.read": "{who} downloaded the raw mail of “{it}”" + _READ,
        "attachment.read": "{who} downloaded an attachment[ of “{message.named}”]" + _READ,
        "search.done": "{who} searched for “{query}” and was shown {messages.count}" + _READ,
        "wait.answered": "{who} waited for mail and got “{it}”",
        "suppression.exported": "{who} took the list of suppressions away, {count} of them",
    },
    Group.ACCESS: {
        "key.issued": "{who} issued the key {key}[, for {inbox_ids} only], with {permissions.rights}",
        "key.updated": "{who} changed the key {key}[: {changed}]",
        "key.revoked": "{who} revoked the key {key}" + _WHY,
        "key.deleted": "{who} deleted the key {key}",
        "membership.created": "{who} made {object} a member[, as {role}]",
        "membership.updated": "{who} changed the membership of {object}[: {role.old} → {role.new}]",
        "membership.deleted": "{who} took the membership of {object} away",
        "member.role_changed": "{who} made {username} {role.new}[, who was {role.old}]" + _WHY,
        "member.removed": "{who} removed {username}[, who was {role.old}]" + _WHY,
        "user.created": "{who} made the user {object}",
        "user.updated": "{who} changed the user {object}[: {changed}]",
        "user.deleted": "{who} deleted the user {object}",
        "console.signed_in": "{who} signed in to the console",
        "console.sign_in_failed": "Somebody tried to sign in to the console as {username} and could not",
        "review.started": "{who} began to read what mail says, until {until.moment}" + _WHY,
        "review.ended": "{who} ended the review of {reviewer}" + _WHY,
    },
    Group.SETTINGS: {
        "inbox.created": "{who} made the inbox {object}",
        "inbox.updated": "{who} changed the inbox {object}[: {changed}]",
        "inbox.deleted": "{who} deleted the inbox {object}" + _WHY,
        "inbox.expired": "The time of the inbox {object} was over, says {who}",
        "inbox.purged": "{who} erased all that the inbox {object} held",
        "inbox.paused": "{who} paused the inbox {object}" + _WHY,
        "inbox.resumed": "{who} let the inbox {object} send again" + _WHY,
        "inbox.tripped": "{who} stopped the inbox {object}" + _WHY,
        "inbox.on_trial": "{who} lets the inbox {object} try {recipients} recipients",
        "account.created": "{who} made the account {object}",
        "account.updated": "{who} changed the account {object}[: {changed}]",
        "account.deleted": "{who} deleted the account {object}",
        "account.full": "The storage of {object} was full, says {who}",
        "account.has_room": "The storage of {object} had room again, says {who}",
        "domain.created": "{who} added the domain {object}",
        "domain.updated": "{who} changed the domain {object}[: {changed}]",
        "domain.deleted": "{who} removed the domain {object}",
        "domain.verified": "The domain {object} was proven, says {who}",
        "domain.degraded": "Records of the domain {object} were missing or wrong[: {broken}], says {who}",
        "domain.failing": "The domain {object} had no proof any more[: {broken}], says {who}",
        "domain.recovered": "The records of the domain {object} were right again, says {who}",
        "domain.lost": "The domain {object} was proven by somebody else, says {who}",
        "domain.key_made": "{who} made the signing key {selector} for {object}",
        "domain.key_changed": "{object} is signed by the key {selector.new}[ in place of {selector.old}], says {who}",
        "domain.key_removed": "{who} removed keys that signed for {object} once: {selectors}",
        "domain.tripped": "{who} stopped all sending from {domain}" + _WHY,
        "domain.on_trial": "{who} lets {domain} try a few sends[: {reason}]",
        "domain.resumed": "{who} let {domain} send again" + _WHY,
        "domain.warm_up_started": "{who} began the warm-up of {domain}" + _WHY,
        "domain.warm_up_ended": "{who} ended the warm-up of {domain}" + _WHY,
        "provider.created": "{who} added the provider {object}",
        "provider.updated": "{who} changed the provider {object}[: {changed}]",
        "provider.deleted": "{who} removed the provider {object}",
        "provider.credentials_changed": "{who} changed credentials of the provider {object}[: {credentials}]",
        "provider.tested": "{who} sent a test mail through {object}[ to {to}]",
        "provider.paused": "{who} paused the provider {object}" + _WHY,
        "provider.resumed": "{who} resumed the provider {object}" + _WHY,
        "provider.tripped": "{who} stopped the provider {object}" + _WHY,
        "provider.warned_of": "{who} warned of the provider {object}[: {reason}]",
        "provider.event_retried": "{who} had news of a provider looked at again" + _WHY,
        "outbox.paused": "{who} paused all sending" + _WHY,
        "outbox.resumed": "{who} resumed all sending" + _WHY,
    },
    Group.LISTS: {
        "list.entry_added": "{who} put {pattern} on the list {list}",
        "list.entry_removed": "{who} took {pattern.old} from the list {list}",
        "list.replaced": "{who} replaced the list {list}[; added: {added}][; removed: {removed}][{?notes}; {notes.count} changed]",
        "addressrule.updated": "{who} changed an entry of a list[: {changed}]",
        "suppression.added": "{who} stopped mail to {object}[: {cause}]",
        "suppression.changed": "{who} changed why no mail goes to {object}[: {cause.new}]",
        "suppression.removed": "{who} let mail go to {object} again" + _WHY,
        "suppression.imported": "{who} imported addresses that get no more mail[, from {source}]",
    },
    Group.KEEPING: {
        "raw.removed": "{who} removed the raw octets of {mails} mails, kept for {days} days",
        "hold.placed": "{who} placed a legal hold[ for “{matter}”]" + _WHY,
        "hold.released": "{who} released a legal hold[ for “{matter}”]" + _WHY,
        "hold.enforced": "A legal hold stood against what {who} asked for[: {refused}]",
        "content.removed": "{who} removed content whose time was over[: {messages} messages]",
        "events.removed": "{who} removed {events} events whose time was over",
        "erasure.previewed": "{who} looked at what an erasure of {person} would remove" + _WHY,
        "erasure.requested": "{who} asked that {object} be erased" + _WHY,
        "erasure.finished": "{object} was erased[, asked for by {asked_by}]" + _WHY,
        "erasure.failed": "The erasure of {object} failed[: {error}]",
        "erasure.refused": "The erasure of {object} was refused[: {error}]",
        "erasure.certificate_read": "{who} read the certificate of the erasure of {object}",
        "retention.class_created": "{who} made the retention class {object}[: {changed}]",
        "retention.class_changed": "{who} changed the retention class {object}[: {changed}]",
        "retention.class_deleted": "{who} deleted the retention class {object}",
    },
    Group.EVIDENCE: {
        "audit.read": "{who} looked at {entry.shown} of this trail" + _ASKED,
        "trail.streamed": "{who} took this trail away[ as {format}]",
        "trail.verified": "{who} verified the trail: {verdict}",
        "trail.removed": "{who} removed {removed.entries} from the trail" + _WHY,
        "trail.replaced": "{who} replaced personal values in {replaced.entries} of the trail" + _WHY,
        "trail.key_rotated": "{who} put the signing key {key.new} in place of {key.old}",
        "export.created": "{who} asked for an export[ with {include}]" + _WHY,
        "export.finished": "An export was made[, of {size} octets], by {who}",
        "export.failed": "An export failed[: {error}], says {who}",
        "export.downloaded": "{who} downloaded an export",
        "export.expired": "An export was removed when its time was over, by {who}",
    },
}
UNKNOWN = "{who} did {act}[ to {object}]"

# Values of acts that were told by `record`: which of them are [old, new]. Of a saved row (django-auditlog) all are.
PAIRS: dict[str, frozenset[str]] = {
    "message.settled": frozenset({"state"}),
    "message.labelled": frozenset({"labels"}),
    "thread.changed": frozenset({"labels", "status"}),
    "member.role_changed": frozenset({"role"}),
    "member.removed": frozenset({"role"}),
    "domain.degraded": frozenset({"status"}),
    "domain.failing": frozenset({"status"}),
    "domain.recovered": frozenset({"status"}),
    "domain.key_changed": frozenset({"selector"}),
    "trail.key_rotated": frozenset({"key"}),
    "suppression.changed": frozenset({"cause", "reason", "expires_at"}),
}

MOST_ITEMS = 3  # of a list that a sentence names
MOST_TEXT = 140  # characters of a value in a sentence


class Piece(NamedTuple):
    """A part of a sentence. `kind`: "" for ours, "foreign" for what others wrote, "who" for the actor's name."""

    text: str
    kind: str = ""


class Change(NamedTuple):
    """One value of an entry; where it is no pair it says only what is so, in `new`."""

    name: str
    old: Any
    new: Any
    is_pair: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """An entry, and what ids in it are called."""

    entry: AuditEntry
    names: Mapping[str, str]

    def value(self, name: str) -> Any:
        """By `name`, of a pair the new one; `name.old` and `name.new` are those of a pair."""
        plain, _, which = name.partition(".")
        changes = self.entry.changes if isinstance(self.entry.changes, dict) else {}
        value: Any = changes.get(plain)
        if not self.is_pair(plain, value):
            return None if which == "old" else value
        return value[0] if which == "old" else value[1]

    def is_pair(self, name: str, value: Any) -> bool:
        is_of_two = isinstance(value, list) and len(value) == 2
        return is_of_two and (is_save(self.entry) or name in PAIRS.get(self.entry.act, frozenset()))


def is_save(entry: AuditEntry) -> bool:
    """Whether django-auditlog wrote it, of a row that was saved."""
    return bool(entry.action != AuditEntry.Action.ACCESS)


@cache
def templates() -> Mapping[str, str]:
    return {act: text for of_group in SENTENCES.values() for act, text in of_group.items()}


@cache
def groups() -> Mapping[str, Group]:
    return {act: group for group, of_group in SENTENCES.items() for act in of_group}


def acts_of(chosen: Sequence[str]) -> list[str]:
    return [act for group in Group if group.value in chosen for act in SENTENCES[group]]


def sentence(entry: AuditEntry, names: Mapping[str, str]) -> list[Piece]:
    """`names`: what is called how, by id (subjects of messages, addresses of inboxes)."""
    fact = Fact(entry, names)
    first, *rest = _filled(_parsed(templates().get(entry.act, UNKNOWN)), fact)
    if first.text.startswith(("the ", "somebody ")):
        first = first._replace(text=first.text[0].upper() + first.text[1:])
    return [first, *rest, Piece(".")]


def as_text(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def changes_of(entry: AuditEntry) -> list[Change]:
    """All that the entry holds, by name; nothing that is empty before and after."""
    fact, told = Fact(entry, {}), entry.changes if isinstance(entry.changes, dict) else {}
    found = []
    for name, value in told.items():
        is_pair = fact.is_pair(name, value)
        old, new = value if is_pair else (None, value)
        if not (_is_empty(old) and _is_empty(new)):
            found.append(Change(name, old, new, is_pair))
    return found


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def called(kind: str, id_: str, name: str) -> list[Piece]:
    """An actor as sentences call him: Billing agent (key key_…a1)."""
    if kind == ActorKind.API_KEY:
        return [Piece(name or "A key", "who"), Piece(f" (key {short(id_)})")]
    if kind == ActorKind.USER:
        return [Piece(name or f"User {id_}", "who"), Piece(" (console)")]
    if kind == ActorKind.SYSTEM:
        return [Piece(f"the {name or id_ or 'server'}", "who"), Piece(" (system)")]
    if kind == ActorKind.PROVIDER:
        return [Piece(name or id_ or "A provider", "who"), Piece(" (provider)")]
    return [Piece("somebody who is not known", "who")]


def short(id_: str) -> str:
    """An id as people compare it: its kind and its end."""
    prefix, _, rest = id_.partition("_")
    return f"{prefix}_…{rest[-4:]}" if len(rest) > 8 else id_


# --- The small language of the templates ------------------------------------------------------------------------------

Part = Any  # a text, a Field, or a list of these: what stands in brackets
_TOKEN = re.compile(r"(\[|\]|\{[^{}]+\})")


class Field(NamedTuple):
    name: str


@cache
def _parsed(template: str) -> list[Part]:
    whole: list[Part] = []
    open_ = [whole]
    for word in filter(None, _TOKEN.split(template)):
        if word == "[":
            inner: list[Part] = []
            open_[-1].append(inner)
            open_.append(inner)
        elif word == "]":
            open_.pop()
        else:
            open_[-1].append(Field(word[1:-1]) if word[0] == "{" else word)
    return whole


def _filled(parts: list[Part], fact: Fact) -> list[Piece]:
    """Without what stands in brackets and lacks a value; outside of brackets a dash stands for it."""
    return list(_pieces(parts, fact, optional=False) or ())


def _pieces(parts: list[Part], fact: Fact, *, optional: bool) -> list[Piece] | None:
    found: list[Piece] = []
    for part in parts:
        if isinstance(part, str):
            found.append(Piece(part))
        elif isinstance(part, Field):
            shown = _shown(part.name, fact)
            if shown is None and optional:
                return None
            found += shown if shown is not None else [Piece("–")]
        else:
            found += _pieces(part, fact, optional=True) or []
    return found


def _shown(name: str, fact: Fact) -> list[Piece] | None:
    if name.startswith("?"):
        return [] if fact.value(name[1:]) not in (None, "", [], {}) else None
    if special := _SPECIAL.get(name):
        return special(fact)
    if name.endswith((".count", ".rights", ".entries")):
        return _counted(name, fact)
    text = _text(fact.value(name), fact.names)
    return [Piece(text, "foreign")] if text else None


def _text(value: Any, names: Mapping[str, str]) -> str:
    if value is None or value == "" or value == {}:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        shown = [_text(item, names) for item in value[:MOST_ITEMS]]
        more = f" and {len(value) - MOST_ITEMS} more" if len(value) > MOST_ITEMS else ""
        return ", ".join(shown) + more
    text = " ".join(names.get(str(value), str(value))[: 4 * MOST_TEXT].split())
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"


def _counted(name: str, fact: Fact) -> list[Piece]:
    """“3 messages”, “1 right”. How many a list had, also where it names only the first ones."""
    plain, _, what = name.partition(".")
    value = fact.value(plain)
    number = len(value) if isinstance(value, list) else 0
    if what == "count":
        told = fact.value("count")
        number, what = told if isinstance(told, int) else number, plain
    if plain == "removed" and isinstance(value, list):
        number = sum(last - first + 1 for first, last in _ranges(value))
    singular = {"entries": "entry"}.get(what, what.removesuffix("s"))
    return [Piece(f"1 {singular}" if number == 1 else f"{number:,} {what}")]


def _ranges(value: list[Any]) -> Iterator[tuple[int, int]]:
    yield from ((one[0], one[1]) for one in value if isinstance(one, list) and len(one) == 2)


def _who(fact: Fact) -> list[Piece]:
    return called(fact.entry.actor_kind, fact.entry.actor_id, fact.entry.actor_name)


def _subject(fact: Fact) -> list[Piece]:
    return [Piece(_text(fact.value("subject"), {}) or _named(fact) or "(no subject)", "foreign")]


def _it(fact: Fact) -> list[Piece]:
    """What a message or thread is called: by its subject, as the trail told it, else by its id."""
    return [Piece(_named(fact) or short(fact.entry.object_pk), "foreign")]


def _named(fact: Fact) -> str:
    entry = fact.entry
    known = fact.names.get(entry.object_pk, "")
    messages = fact.value("messages")
    if not known and entry.object_type == "thread" and isinstance(messages, list) and messages:
        known = fact.names.get(str(messages[0]), "")
    return _text(known or entry.object_repr, {})


def _object(fact: Fact) -> list[Piece] | None:
    text = _text(fact.entry.object_repr or short(fact.entry.object_pk), {})
    return [Piece(text, "foreign")] if text else None


def _key(fact: Fact) -> list[Piece]:
    """By name and id. How its secret begins, which the name of the row has, is nothing that a sentence needs."""
    name = _text(fact.entry.object_repr.rpartition(" (")[0] or fact.value("name"), {})
    return [Piece(f"“{name}”", "foreign"), Piece(f" ({short(fact.entry.object_pk)})")]


def _changed(fact: Fact) -> list[Piece] | None:
    names = [change.name.replace("_", " ") for change in changes_of(fact.entry)]
    return [Piece(", ".join(names))] if names else None


def _message_named(fact: Fact) -> list[Piece] | None:
    id_ = str(fact.value("message") or "")
    return [Piece(fact.names.get(id_) or short(id_), "foreign")] if id_ else None


def _list(fact: Fact) -> list[Piece]:
    told = [_text(fact.value(name) or fact.value(f"{name}.old"), {}) for name in ("direction", "effect")]
    return [Piece(" ".join(told))]


def _entries_shown(fact: Fact) -> list[Piece]:
    count = fact.value("count")
    if count is None:
        return [Piece("an entry")]
    return [Piece("1 entry" if count == 1 else f"{count} entries")]


def _verdict(fact: Fact) -> list[Piece]:
    if fact.value("holds") is False:
        return [Piece("it is not as it was sealed")]
    return [Piece(f"{fact.value('verified') or 0:,} of {fact.value('size') or 0:,} entries are as they were sealed")]


def _until(fact: Fact) -> list[Piece]:
    return [Piece(str(fact.value("until") or "–")[:16].replace("T", " "))]


def _act(fact: Fact) -> list[Piece]:
    return [Piece(f"“{fact.entry.act}”")]


_SPECIAL: dict[str, Callable[[Fact], list[Piece] | None]] = {
    "who": _who,
    "subject": _subject,
    "it": _it,
    "object": _object,
    "key": _key,
    "changed": _changed,
    "message.named": _message_named,
    "list": _list,
    "entry.shown": _entries_shown,
    "verdict": _verdict,
    "until.moment": _until,
    "act": _act,
}
