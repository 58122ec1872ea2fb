"""Every place of the API that takes an id, found in the OpenAPI schema."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Part = dict[str, Any]

# A cursor holds ids, `after` and `before` take them, an actor is named by his, a search may be for those of a thread.
TAKES_IDS = re.compile(r"(\w+_)?ids?|cursor|after|before|actor|query|Idempotency-Key")
NO_ID_OF_OURS = {"content_id": "names a file inside of one mail (RFC 2392)"}
# Whatever is in neither list fails a test, until somebody has said whether it takes an id.
TAKES_NONE = frozenset(
    "page limit purge status type level pattern direction effect address domain note entries labels label metadata name display_name"
    " username email_prefix expires_in expires_at daily_send_limit oversight purge_on_expiry permissions preset mode reason"
    " to cc bcc from reply_to reply_all subject body_text body_html headers attachments filename content content_type url track_opens"
    " send_at participant has_attachment action from_address subject_contains has_code has_link_host timeout_ms poll_interval_ms"
    " event bounce date recipients force agent to_agent seconds token thread_token esp credentials is_default is_paused"
    " concurrency inbox_subdomains own_subdomain list_unsubscribe scope cause content format entries period track_clicks"
    " from_seq size root include state dry_run matter active content_days raw_days events_days audit_days".split()
)


class Place(StrEnum):
    PATH = "path"
    QUERY = "query"
    HEADER = "header"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Slot:
    """`name` of one inside of a body says the way to it: `inbox_ids[]`, `entries[].inbox_id`."""

    place: Place
    name: str

    @property
    def word(self) -> str:
        return self.name.removesuffix("[]").rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.place}:{self.name}"


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    right: str
    slots: tuple[Slot, ...]
    required: frozenset[str] = frozenset()  # of its body

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def path_slots(self) -> tuple[Slot, ...]:
        return tuple(slot for slot in self.slots if slot.place is Place.PATH)

    @property
    def needed_slots(self) -> tuple[Slot, ...]:
        """Without ids in these nothing can be asked at all."""
        body = (slot for slot in self.slots if slot.place is Place.BODY and slot.name in self.required)
        return (*self.path_slots, *body)

    def slot(self, word: str) -> Slot | None:
        return next((slot for slot in self.slots if slot.word == word), None)


class Unclassified(Exception):
    """The schema has a name of which nobody has said whether it takes an id: see TAKES_IDS and TAKES_NONE."""


def operations(document: Part) -> list[Operation]:
    """All of the document. Raises Unclassified."""
    return [
        Operation(
            method.upper(), path, told.get("x-right", ""), tuple(_slots(document, told)), _required(document, told)
        )
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]


def _slots(document: Part, told: Part) -> Iterator[Slot]:
    found = [(Place(part["in"]), part["name"]) for part in (_resolved(document, p) for p in told["parameters"])]
    for media in told.get("requestBody", {}).get("content", {}).values():
        found += [(Place.BODY, name) for name in _names(document, media["schema"])]
    yield from (Slot(place, name) for place, name in found if _takes_id(Slot(place, name).word))


def _required(document: Part, told: Part) -> frozenset[str]:
    bodies = told.get("requestBody", {}).get("content", {}).values()
    return frozenset(name for media in bodies for name in _resolved(document, media["schema"]).get("required", ()))


def _names(document: Part, schema: Part) -> Iterator[str]:
    """Of all that a body may hold, however deep."""
    schema = _resolved(document, schema)
    for choice in (*schema.get("oneOf", ()), *schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from _names(document, choice)
    for name, inner in schema.get("properties", {}).items():
        inner = _resolved(document, inner)
        items = inner.get("items")
        yield f"{name}[]" if items else name
        yield from (f"{name}[].{deeper}" for deeper in _names(document, items or {}))
        yield from (f"{name}.{deeper}" for deeper in _names(document, inner))


def _takes_id(word: str) -> bool:
    if word in TAKES_NONE or word in NO_ID_OF_OURS:
        return False
    if not TAKES_IDS.fullmatch(word):
        raise Unclassified(f"{word}: say in {__name__} whether it takes an id")
    return True


def _resolved(document: Part, part: Part) -> Part:
    while "$ref" in part:
        found: Any = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part
