"""Rows beside the mail that name the person: in each table that belongs to an account, whatever it is for, so that one that comes later is
gone over too. The address makes room for the pseudonym."""

import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import orjson
from django.apps import apps
from django.db import models, transaction
from django.db.models import QuerySet

from delivery.erasing.finding import inboxes_told_of, naming, provider_events_of, text_columns
from delivery.erasing.person import Person
from delivery.models import ErasedObject, Erasure, ProviderEvent
from delivery.outbound.loop_guard import forget_pairs, pairs_with
from inboxes.models import KeptAnswer
from mailbot.api.renderers import dumps
from mailbot.lib.bulk import batches
from mailbot.lib.failpoints import failpoint
from mailbot.lib.ids import ID_LENGTH
from mailbot.lib.scope import acting_for_everybody
from mailbot.lib.tenants import TenantManager
from threads.models import Event, Message
from threads.tombstones import rewrite_event

BATCH = 200
MAIL_OF_OTHERS = "mail between other people, which may mention anybody: what they wrote stays"
OF_THE_TRAIL = "the trail: delivery.erasing.trail"
OF_ITSELF = "it holds the pseudonym already"
# Tables, or columns of them, that are not gone over, and why.
KEPT: dict[str, tuple[tuple[str, ...] | None, str]] = {
    "threads.Attachment": (None, MAIL_OF_OTHERS),
    "threads.SearchDocument": (None, MAIL_OF_OTHERS),
    "audit.AuditEntry": (None, OF_THE_TRAIL),
    "audit.AuditLeaf": (None, OF_THE_TRAIL),
    "audit.AuditNode": (None, OF_THE_TRAIL),
    "audit.AuditHead": (None, OF_THE_TRAIL),
    "audit.AuditTree": (None, OF_THE_TRAIL),
    "audit.ExportPart": (None, "exports: delivery.erasing.bundles"),
    "delivery.Erasure": (None, OF_ITSELF),
    "delivery.ErasedObject": (None, OF_ITSELF),
    "delivery.Suppression": (("address", "digest"), "kept as a hash: delivery.erasing.suppressed"),
    "inboxes.AddressRule": (("pattern",), "an instruction of the operator, which says nothing without the address"),
    "inboxes.Inbox": (("address", "local_part", "domain"), "inboxes are no persons"),
}
# Of a mail only what its keeper wrote to it.
_OF_MESSAGES = ("labels", "metadata", "recipient_tag", "explanation")
_KEPT_IN_ANSWERS = frozenset({"id", "status", "direction", "mode", "object", "code", "request_id"})


def tables() -> Iterator[type[models.Model]]:
    for model in apps.get_models():
        columns, _ = KEPT.get(model._meta.label, ((), ""))
        if isinstance(model._default_manager, TenantManager) and columns is not None:
            yield model


def columns_of(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    columns = text_columns(model, KEPT.get(model._meta.label, ((), ""))[0] or ())
    return [field for field in columns if field.name in _OF_MESSAGES] if model is Message else columns


def rows_naming(person: Person, model: type[models.Model]) -> Iterator[models.Model]:
    """In the order of their keys."""
    manager: Any = model._default_manager
    fields = columns_of(model)
    if not fields:
        return
    names = [field.name for field in fields]
    rows = manager.filter(naming(person, names), **{manager.account: person.account_id})
    for row in rows.order_by("pk").only("pk", *names).iterator(chunk_size=BATCH):
        if person.is_named_in([getattr(row, name) for name in names]):
            yield row


def inboxes_of(model: type[models.Model], keys: Iterable[Any]) -> set[str]:
    """That these rows belong to. One that is of the whole account is of none."""
    manager: Any = model._default_manager
    found: set[str] = set()
    for piece in batches(keys, BATCH) if manager.inbox else ():
        found |= set(manager.filter(pk__in=piece).order_by().values_list(manager.inbox, flat=True))
    return found - {None, ""}


def _rewrite_rows(person: Person, model: type[models.Model], keys: Collection[Any]) -> int:
    rows: Any = model._default_manager.filter(pk__in=keys).order_by("pk")
    for row in rows.select_for_update(no_key=True, of=("self",)).only("pk", *(f.name for f in columns_of(model))):
        _rewrite(person, row)
    return len(keys)


def _rewrite(person: Person, row: models.Model) -> None:
    if isinstance(row, Event):
        rewrite_event(row, person.without(row.recipient), person.without(row.data))
        return
    changed: dict[str, Any] = {}
    for field in columns_of(type(row)):
        value = getattr(row, field.name)
        new = person.without(value)
        if new != value:
            longest = getattr(field, "max_length", None)
            changed[field.name] = new[:longest] if longest and isinstance(new, str) else new
    if changed:
        rows: QuerySet[Any] = type(row)._default_manager.filter(pk=row.pk)
        rows.update(**changed)


# --- What is of no account, and what is compressed -----------------------------------------------------------------------


def _remove_provider_events(keys: Collection[str]) -> int:
    """What an ESP told of the person goes; what became of it stands in events."""
    with acting_for_everybody("what ESPs tell is of no account"):
        return ProviderEvent.objects.filter(pk__in=keys).delete()[0]


def _rewrite_answers(erasure: Erasure, person: Person, keys: Collection[Any]) -> int:
    """Kept answers to requests with an Idempotency-Key. The request still counts as done: only what the answer says of the person goes."""
    changed = 0
    for kept in KeptAnswer.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk"):
        body = orjson.loads(zlib.decompress(kept.body))
        new = person.without(_emptied(body) if _shows_erased(erasure.pk, body) else body)
        changed += KeptAnswer.objects.filter(pk=kept.pk).update(body=zlib.compress(dumps(new), level=1))
    return changed


def answers_naming(erasure_id: str, person: Person) -> Iterator[KeptAnswer]:
    for kept in KeptAnswer.objects.filter(account_id=person.account_id).order_by("pk").iterator(chunk_size=BATCH):
        body = orjson.loads(zlib.decompress(kept.body))
        if person.is_named_in(body) or (_shows_erased(erasure_id, body) and _emptied(body) != body):
            yield kept


def _shows_erased(erasure_id: str, body: Any) -> bool:
    """Whether it tells of a message or thread that an erasure took away."""
    ids = sorted({one for one in _texts(body) if one.startswith(("msg_", "thread_")) and len(one) <= ID_LENGTH})
    return bool(ids) and ErasedObject.objects.filter(erasure_id=erasure_id, object_id__in=ids).exists()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item)


def _emptied(value: Any, name: str = "") -> Any:
    """The same shape without words: ids, states and times are left."""
    if isinstance(value, dict):
        return {key: _emptied(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_emptied(item, name) for item in value if isinstance(item, dict)]
    if isinstance(value, str):
        return value if name in _KEPT_IN_ANSWERS or name.endswith(("_id", "_at")) else ""
    return value


# --- A batch of any of them ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one kind, and the inboxes that they belong to. `work` takes the person out of them, and says of how many."""

    kind: str
    inbox_ids: set[str]
    work: Callable[[], int]

    @transaction.atomic
    def run(self) -> Counter[str]:
        """Do it. Of how many, by kind."""
        counted = Counter({self.kind: self.work()})
        failpoint("erasure.erased")
        return counted


def next_rows(erasure: Erasure, person: Person) -> Batch | None:
    """The first kind of which there are any that name the person. Nothing is changed yet."""
    for model in tables():
        if keys := [row.pk for row in islice(rows_naming(person, model), BATCH)]:
            return Batch(kind_of(model), inboxes_of(model, keys), partial(_rewrite_rows, person, model, keys))
    if events := list(islice(provider_events_of(person), BATCH)):
        inboxes, keys = inboxes_told_of(person, events), [event.pk for event in events]
        return Batch("provider_events", inboxes, partial(_remove_provider_events, keys))
    if keys := [kept.pk for kept in islice(answers_naming(erasure.pk, person), BATCH)]:
        return Batch("kept_answers", set(), partial(_rewrite_answers, erasure, person, keys))
    if pairs_with(person.account_id, person.address).exists():
        return Batch("loop_counts", set(), partial(forget_pairs, person.account_id, person.address))
    return None


def kind_of(model: type[models.Model]) -> str:
    """`events`, `threads`, `api_keys`: as counts name it."""
    return str(model._meta.verbose_name_plural).lower().replace(" ", "_")
