"""Writing the trail: one function for acts that are no plain save of a configuration row."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.db import models

from audit.actors import current
from audit.models import AuditEntry, of_now
from mailbot.lib.bulk import bulk_insert, new_row


class Act(StrEnum):
    """The closed vocabulary of acts on mail. Saves of registered rows add `<model>.created|updated|deleted`."""

    INBOX_PAUSED = "inbox.paused"
    INBOX_RESUMED = "inbox.resumed"
    INBOX_TRIPPED = "inbox.tripped"
    INBOX_ON_TRIAL = "inbox.on_trial"
    INBOX_DELETED = "inbox.deleted"
    INBOX_EXPIRED = "inbox.expired"
    INBOX_PURGED = "inbox.purged"
    KEY_ISSUED = "key.issued"
    KEY_REVOKED = "key.revoked"
    SIMULATION_DONE = "simulation.done"
    MESSAGE_READ = "message.read"
    MESSAGE_LISTED = "message.listed"
    THREAD_READ = "thread.read"
    THREAD_LISTED = "thread.listed"
    RAW_READ = "raw.read"
    ATTACHMENT_READ = "attachment.read"
    SEARCH_DONE = "search.done"
    WAIT_ANSWERED = "wait.answered"
    SUPPRESSION_EXPORTED = "suppression.exported"
    AUDIT_READ = "audit.read"
    MESSAGE_RECEIVED = "message.received"
    MESSAGE_REPEATED = "message.repeated"
    MESSAGE_QUEUED = "message.queued"
    MESSAGE_SENT = "message.sent"
    MESSAGE_FAILED = "message.failed"
    MESSAGE_UNKNOWN = "message.unknown"
    MESSAGE_SETTLED = "message.settled"
    MESSAGE_CANCELLED = "message.cancelled"
    MESSAGE_LABELLED = "message.labelled"
    THREAD_CHANGED = "thread.changed"
    THREAD_CLAIMED = "thread.claimed"
    THREAD_RELEASED = "thread.released"
    THREAD_HANDED_OFF = "thread.handed_off"
    INBOUND_FAILED = "inbound.failed"
    INBOUND_RETRIED = "inbound.retried"
    RAW_REMOVED = "raw.removed"
    CONSOLE_SIGNED_IN = "console.signed_in"
    CONSOLE_SIGN_IN_FAILED = "console.sign_in_failed"
    MEMBER_ROLE_CHANGED = "member.role_changed"
    MEMBER_REMOVED = "member.removed"
    MESSAGE_REJECTED = "message.rejected"
    REPORT_RECEIVED = "message.report_received"
    MESSAGE_ACCEPTED = "message.accepted"
    LIST_REPLACED = "list.replaced"
    ACCOUNT_FULL = "account.full"
    OUTBOX_PAUSED = "outbox.paused"
    OUTBOX_RESUMED = "outbox.resumed"
    PROVIDER_PAUSED = "provider.paused"
    PROVIDER_RESUMED = "provider.resumed"
    PROVIDER_TRIPPED = "provider.tripped"
    PROVIDER_WARNED_OF = "provider.warned_of"
    DOMAIN_TRIPPED = "domain.tripped"
    DOMAIN_ON_TRIAL = "domain.on_trial"
    DOMAIN_RESUMED = "domain.resumed"
    WARM_UP_STARTED = "domain.warm_up_started"
    WARM_UP_ENDED = "domain.warm_up_ended"
    PROVIDER_CHANGED = "provider.credentials_changed"
    PROVIDER_TESTED = "provider.tested"
    PROVIDER_EVENT_RETRIED = "provider.event_retried"
    ACCOUNT_HAS_ROOM = "account.has_room"
    DOMAIN_VERIFIED = "domain.verified"
    DOMAIN_DEGRADED = "domain.degraded"
    DOMAIN_FAILING = "domain.failing"
    DOMAIN_RECOVERED = "domain.recovered"
    DOMAIN_LOST = "domain.lost"
    DOMAIN_KEY_MADE = "domain.key_made"
    DOMAIN_KEY_CHANGED = "domain.key_changed"
    DOMAIN_KEY_REMOVED = "domain.key_removed"
    SUPPRESSION_ADDED = "suppression.added"
    SUPPRESSION_CHANGED = "suppression.changed"
    SUPPRESSION_REMOVED = "suppression.removed"
    SUPPRESSION_IMPORTED = "suppression.imported"
    TRAIL_REMOVED = "trail.removed"
    TRAIL_REPLACED = "trail.replaced"
    TRAIL_KEY_ROTATED = "trail.key_rotated"
    TRAIL_STREAMED = "trail.streamed"
    TRAIL_VERIFIED = "trail.verified"
    EXPORT_CREATED = "export.created"
    EXPORT_FINISHED = "export.finished"
    EXPORT_FAILED = "export.failed"
    EXPORT_DOWNLOADED = "export.downloaded"
    EXPORT_EXPIRED = "export.expired"
    REVIEW_STARTED = "review.started"
    REVIEW_ENDED = "review.ended"
    ERASURE_PREVIEWED = "erasure.previewed"
    ERASURE_REQUESTED = "erasure.requested"
    ERASURE_FINISHED = "erasure.finished"
    ERASURE_FAILED = "erasure.failed"
    ERASURE_REFUSED = "erasure.refused"
    ERASURE_CERTIFICATE_READ = "erasure.certificate_read"
    HOLD_PLACED = "hold.placed"
    HOLD_RELEASED = "hold.released"
    HOLD_ENFORCED = "hold.enforced"
    CONTENT_REMOVED = "content.removed"
    EVENTS_REMOVED = "events.removed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One act, before it is written. `subject` is what was acted upon, None when that is no row."""

    act: Act
    subject: models.Model | None
    account_id: str
    inbox_id: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    remote_addr: str | None = None  # who caused it, where that is another than who acts
    request_id: str = ""  # the same


def record(
    act: Act,
    subject: models.Model | None,
    *,
    account_id: str,
    inbox_id: str = "",
    changes: dict[str, Any] | None = None,
) -> AuditEntry:
    """Write one entry, in the caller's transaction: an act and its entry exist together or not at all.

    `changes` must hold no secret and no body of a mail; subjects, addresses and states are what a reviewer needs.
    """
    (entry,) = record_many([Entry(act, subject, account_id, inbox_id, changes or {})])
    return entry


def record_many(entries: Iterable[Entry]) -> list[AuditEntry]:
    """The same for a batch. What is answered has no key yet: that is the database's to give."""
    context = current()
    written = [
        new_row(
            AuditEntry,
            **of_now(),
            act=entry.act,
            action=AuditEntry.Action.ACCESS,
            **_about(entry.subject),
            account_id=entry.account_id,
            inbox_id=entry.inbox_id,
            mode=getattr(entry.subject, "mode", "") or context.actor.mode,
            changes=entry.changes,
            actor_kind=context.actor.kind,
            actor_id=context.actor.id,
            actor_name=context.actor.name,
            cid=entry.request_id or context.request_id,
            remote_addr=entry.remote_addr or context.remote_addr,
        )
        for entry in entries
    ]
    bulk_insert(written)
    return written


def _about(subject: models.Model | None) -> dict[str, str]:
    if subject is None:
        return {"object_pk": "", "object_repr": "", "object_type": ""}
    return {
        "object_pk": str(subject.pk),
        "object_repr": str(subject)[:200],
        "object_type": subject._meta.model_name or "",
    }


def masked(value: str) -> str:
    """What django-auditlog shows for a masked field: nothing of it."""
    return "•••" if value else ""
