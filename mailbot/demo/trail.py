"""The audit trail of an inbox, told by a client: each entry as a sentence, and whether all of it is true.

It is held against what each agent knows that it did, call by call: nothing that it did may be missing, and nothing else be there.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

SENTENCES = {
    "inbox.created": "made the inbox {inbox}",
    "key.issued": "issued a key for it, to “{name}”",
    "inbox.deleted": "deleted the inbox {inbox}",
    "message.queued": "wrote “{subject}” to {to}",
    "message.sent": "handed “{subject}” over for {recipients}",
    "message.received": "took in “{subject}” from {from}",
    "message.read": "read {it}",
    "message.listed": "listed {count} of the messages[: {messages}]",
    "raw.read": "took the octets of {it}",
    "wait.answered": "was shown {it} by an open wait",
}


class Did(NamedTuple):
    """A call that was answered with success; `id` and `inbox_id` are those of what came back, empty for a list."""

    method: str
    path: str
    id: str
    inbox_id: str


class Act(NamedTuple):
    action: str
    object_id: str


def acts_in(calls: Iterable[Did], inbox_id: str) -> list[Act]:
    """What these calls did in one inbox, as its trail must tell it."""
    acts = (_act(call, call.path.removeprefix(f"/v1/inboxes/{inbox_id}"), inbox_id) for call in calls)
    return [act for act in acts if act]


def _act(call: Did, rest: str, inbox_id: str) -> Act | None:
    parts = rest.strip("/").split("/")
    match (call.method, *parts):
        case ("POST", "v1", "inboxes") if call.id == inbox_id:
            return Act("inbox.created", inbox_id)
        case ("POST", "v1", "api-keys") if call.inbox_id == inbox_id:
            return Act("key.issued", call.id)
        case ("DELETE", "") if rest != call.path:
            return Act("inbox.deleted", inbox_id)
        case ("POST", "messages") | ("POST", "messages", _, "reply"):
            return Act("message.queued", call.id)
        case ("GET", "messages"):
            return Act("message.listed", "")
        case ("GET", "messages", "wait"):
            return Act("wait.answered", call.id)
        case ("GET", "messages", message_id) | ("GET", "messages", message_id, "explain"):
            return Act("message.read", message_id)
        case ("GET", "messages", message_id, "raw"):
            return Act("raw.read", message_id)
    return None  # in another inbox, or what shows no mail


def act_of(entry: Mapping[str, Any]) -> Act:
    return Act(str(entry["action"]), str(entry["object"]["id"] or ""))


def subjects_in(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By id of the message."""
    told = ((entry["object"]["id"], entry["changes"].get("subject")) for entry in entries)
    return {message_id: subject for message_id, subject in told if message_id and subject}


def sentence(entry: Mapping[str, Any], inbox: str, subjects: Mapping[str, str]) -> str:
    """Of an action that it does not know, its name."""
    changes = {name: _as_text(value, subjects) for name, value in entry["changes"].items()}
    subject = subjects.get(entry["object"]["id"])
    values = defaultdict(lambda: "…", inbox=inbox, it=f"“{subject}”" if subject else "a message", **changes)
    plain, _, optional = SENTENCES.get(entry["action"], entry["action"]).partition("[")
    text = plain.format_map(values)
    more = optional.rstrip("]")
    return str(text) + (more.format_map(values) if more and values.get("count") != "0" else "")


def _as_text(value: object, subjects: Mapping[str, str]) -> str:
    if isinstance(value, list) and len(value) == 2 and value[0] is None:  # what was not there before
        return _as_text(value[1], subjects)
    if isinstance(value, list):
        return ", ".join(_as_text(one, subjects) for one in value)
    if isinstance(value, Mapping):
        return str(value.get("address", value))
    return f"“{subjects[value]}”" if isinstance(value, str) and value in subjects else str(value)
