"""Mail on its way across the process boundary: the two queues, and what became of each attempt.

These rows are the queues. The broker only rings: a row whose hint was lost is found by a sweep.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from delivery.erasure_models import ErasedObject as ErasedObject
from delivery.erasure_models import Erasure as Erasure
from delivery.fidelity import Fidelity
from delivery.outbound.states import UNSETTLED, State
from delivery.suppression_model import Suppression as Suppression
from inboxes.models import Account, DomainKey, Inbox, Mode, Provider
from mailbot.lib.addresses import addresses_in
from mailbot.lib.clock import database_now, is_over, limits, over
from mailbot.lib.ids import ID_LENGTH, TypeIDField
from mailbot.lib.json_columns import JSONColumn
from mailbot.lib.receipts import Outcome
from mailbot.lib.tenants import TenantManager
from threads.models import Message, account_key


def any_of(column: str, *values: str) -> Q:
    """The condition of a partial index over unfinished work. Written with OR, because SQLite uses no index that says IN."""
    return reduce(or_, (Q(**{column: value}) for value in values))


def held_by_nobody(now: datetime) -> Q:
    """Not claimed, or by somebody whose lease is over."""
    return Q(lease_until=None) | Q(lease_until__lt=now)


class InboundMailQuerySet(models.QuerySet["InboundMail"]):
    def unfinished(self) -> InboundMailQuerySet:
        """What the partial index holds: new, being read, or failed. Ask for a state that is unfinished through this."""
        return self.filter(processed_at=None)

    def due(self, now: datetime | None = None) -> InboundMailQuerySet:
        """Unfinished mail that nobody holds: new, due for another try, or held by a worker whose lease ran out."""
        return self.filter(RawSQL(DUE, due_limits(now or database_now()), models.BooleanField()))  # noqa: S611 (our own text)


# New mail is due whatever the clock said of the process that took it in. In SQL, because delivery.inbound.claim is.
DUE = (
    "(processed_at IS NULL AND ("
    f"state = 'stored' AND (attempts = 0 OR {over('next_attempt_at')}) OR state = 'processing' AND {over('lease_until')}))"
)


def due_limits(now: datetime) -> list[Any]:
    """The parameters of DUE."""
    longest_pause = timedelta(seconds=max(settings.INBOUND_RETRY_AFTER))
    return [*limits(now, longest_pause), *limits(now, timedelta(seconds=settings.INBOUND_LEASE))]


class InboundMail(models.Model):
    """One delivery as it came in: the raw bytes and the envelope. Committed before the sender gets its 250.

    It may be addressed to inboxes of several accounts, so it is the server's row and no tenant's: the API never reads one except
    through a message that was made of it.
    """

    class State(models.TextChoices):
        STORED = "stored"
        PROCESSING = "processing"
        PROCESSED = "processed"
        REJECTED = "rejected"
        FAILED = "failed"

    id = TypeIDField("inmail")
    source = models.CharField(max_length=20, default="smtp")
    dedupe_key = models.CharField(max_length=100)
    envelope_sender = models.TextField(blank=True)
    recipients = models.JSONField(help_text="[{address, tag, inbox_id}]: inboxes as they were found at RCPT")
    remote_addr = models.CharField(max_length=45, blank=True)
    helo = models.CharField(max_length=255, blank=True)
    tls = models.BooleanField(default=False)
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    lane = models.PositiveSmallIntegerField(default=0, help_text="see delivery.inbound.lanes")
    state = models.CharField(max_length=12, choices=State.choices, default=State.STORED)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    error = models.TextField(blank=True)
    received_at = models.DateTimeField(default=timezone.now)
    # The only column that takes a row out of the queue and its index: claiming and giving back change no index at all, so that on
    # PostgreSQL they stay in the row's page (heap-only tuples; the table's fill factor leaves room for them).
    processed_at = models.DateTimeField(null=True, blank=True)
    raw_in_row = models.BooleanField(default=True, help_text="not yet moved to the object store; see RawObject")
    fidelity = models.CharField(
        max_length=8,
        choices=[(kept.value, kept.value) for kept in Fidelity],
        default=Fidelity.EXACT.value,
        help_text="whether these are the octets that were sent, or what an ESP made of them",
    )
    raw = models.BinaryField(default=bytes)  # last: SQLite walks through a long value to reach what stands behind it

    objects = InboundMailQuerySet.as_manager()

    class Meta:
        verbose_name = "inbound mail"
        verbose_name_plural = "inbound mail"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["source", "dedupe_key"], name="one_row_per_delivery")]
        indexes = [
            models.Index(fields=["id", "lane"], condition=Q(processed_at=None), name="inbound_unfinished"),
            models.Index(
                fields=["processed_at"],
                condition=Q(raw_in_row=True, processed_at__isnull=False),
                name="inbound_raw_to_move",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.envelope_sender or '<>'} → {', '.join(item['address'] for item in self.recipients)}"


class InboundLane(models.Model):
    """The right to process the mail of one lane, held by one worker at a time."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"lane {self.pk}"


class SlowTurn(models.Model):
    """One row: which process waits for servers of others (delivery.slow_work)."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return "taken" if self.lease_token else "free"


class Heartbeat(models.Model):
    """One row: when a worker last did what beat asked it to. All three were well then: beat, the broker and a worker."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    beaten_at = models.DateTimeField(help_text="by the clock of the database")

    def __str__(self) -> str:
        return str(self.beaten_at)


# Of a message, what only its readers need: most of its octets, and most of the work of loading it.
FOR_READERS = (
    *("body_text", "body_html", "extracted_text", "extracted_html", "preview", "headers", "references"),
    *("to", "cc", "bcc", "reply_to", "recipients", "codes", "links"),
)


class OutboundMailQuerySet(models.QuerySet["OutboundMail"]):
    def with_message(self) -> OutboundMailQuerySet:
        """But for what only readers of it need."""
        return self.select_related("message").defer(*(f"message__{column}" for column in FOR_READERS))

    def due(self, now: datetime | None = None) -> OutboundMailQuerySet:
        return self.filter(state=State.QUEUED, next_attempt_at__lte=now or database_now())

    def to_prepare(self, now: datetime | None = None) -> OutboundMailQuerySet:
        """With attachments to be fetched, due, and held by nobody."""
        now = now or database_now()
        return self.filter(held_by_nobody(now), state=State.PREPARING, next_attempt_at__lte=now)

    def to_look_into(self, now: datetime | None = None) -> OutboundMailQuerySet:
        """Unknown, due for a look at what became of it, and held by nobody."""
        now = now or database_now()
        return self.filter(held_by_nobody(now), state=State.UNKNOWN, next_attempt_at__lte=now)

    def stranded(self, now: datetime | None = None) -> OutboundMailQuerySet:
        """Handed to a worker that did not come back within its lease: whether the provider has it is unknown."""
        return self.filter(state=State.SENDING, lease_until__lt=now or database_now())


class OutboundMail(models.Model):
    """One mail that has to leave, for all its recipients, with the bytes and the Message-ID fixed when it was accepted."""

    id = TypeIDField("outmail")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE, related_name="outbound_mail")
    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="+")
    mode = models.CharField(max_length=4, choices=Mode.choices)
    envelope_sender = models.TextField()
    to_fetch = models.JSONField(
        null=True, help_text="while it is being prepared: headers and attachments, see delivery.outbound.fetching"
    )
    track_opens = models.BooleanField(default=False)
    state = models.CharField(
        max_length=10, choices=[(state.value, state.value) for state in State], default=State.QUEUED.value
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    carrier = models.ForeignKey(
        Provider,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        help_text="who was chosen for it; empty: the server's own backend, or the sandbox",
    )
    provider = models.CharField(max_length=100, blank=True, help_text="the name of who had it last, as it was then")
    provider_message_id = models.TextField(blank=True, help_text="the provider's id, which its webhooks name")
    final_message_id = models.TextField(
        blank=True, help_text="the Message-ID that recipients see, where the provider replaces ours"
    )
    error = models.TextField(blank=True)
    request_id = models.CharField(max_length=100, blank=True, help_text="of the call of the API that it came by")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    again_before = models.DateTimeField(
        null=True,
        blank=True,
        help_text="until when its carrier, which may have it, knows it by its key; then it is not handed over",
    )
    finished_at = models.DateTimeField(null=True, blank=True)
    raw_in_row = models.BooleanField(default=True, help_text="not yet moved to the object store; see RawObject")
    raw = models.BinaryField(default=bytes)  # last, as above
    # No column: what it is signed with, given to those that are about to leave (delivery.outbound.signing).
    signing_key: DomainKey | None = None

    objects = TenantManager.from_queryset(OutboundMailQuerySet)()

    class Meta:
        base_manager_name = "objects"
        verbose_name = "outbound mail"
        verbose_name_plural = "outbound mail"
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["state", "next_attempt_at"],
                condition=any_of("state", *UNSETTLED),
                name="outbound_unfinished",
            ),
            models.Index(
                fields=["inbox", "next_attempt_at", "id"],
                condition=Q(state=State.QUEUED.value),
                name="outbound_queue",
            ),
            models.Index(fields=["carrier"], condition=Q(state=State.SENDING.value), name="outbound_on_the_wire"),
            models.Index(
                fields=["next_attempt_at"], condition=Q(state=State.PREPARING.value), name="outbound_to_prepare"
            ),
            models.Index(
                fields=["finished_at"],
                condition=Q(raw_in_row=True, finished_at__isnull=False),
                name="outbound_raw_to_move",
            ),
            models.Index(
                fields=["provider_message_id"],
                condition=~Q(provider_message_id=""),
                name="outbound_by_provider_id",
            ),
        ]

    def __str__(self) -> str:
        return str(self.message)

    def remaining(self) -> list[Recipient]:
        """Whom it goes to: its recipients without those who are left out (delivery.suppression)."""
        return [recipient for recipient in self.recipients.all() if recipient.status != Message.Status.BLOCKED]


class Recipient(models.Model):
    """One address that an outbound mail goes to, and how far it got there."""

    class Kind(models.TextChoices):
        TO = "to"
        CC = "cc"
        BCC = "bcc"

    id = TypeIDField("rcpt")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    mail = models.ForeignKey(OutboundMail, on_delete=models.CASCADE, related_name="recipients")
    kind = models.CharField(max_length=3, choices=Kind.choices)
    address = models.TextField()
    status = models.CharField(max_length=20, choices=Message.Status.choices, default=Message.Status.QUEUED)
    reason = models.TextField(blank=True)
    counted = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="what of it is in the sending record: delivery.outbound.reputation",
    )
    updated_at = models.DateTimeField(default=timezone.now)

    objects = TenantManager(inbox="mail__inbox_id")

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return self.address


class OutboxState(models.Model):
    """One row: whether mail is handed out at all, and how far this database has come (delivery.outbound.outbox)."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    lineage = models.CharField(max_length=ID_LENGTH, help_text="which database this is; a restored copy has the same")
    epoch = models.PositiveBigIntegerField(help_text="rises while mail is handed out, here and outside of the database")
    advanced_at = models.DateTimeField(help_text="when the epoch rose, by the clock of the database")
    is_paused = models.BooleanField(default=False)
    reason = models.TextField(blank=True)
    changed_by = models.CharField(max_length=200, blank=True, help_text="who paused or resumed it last")
    changed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_outbox")]

    def __str__(self) -> str:
        return "paused" if self.is_paused else "running"


class SendAttempt(models.Model):
    """One try to hand a mail to a provider."""

    id = TypeIDField("attempt")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    mail = models.ForeignKey(OutboundMail, on_delete=models.CASCADE, related_name="send_attempts")
    number = models.PositiveSmallIntegerField()
    provider = models.CharField(max_length=100)
    outcome = models.CharField(max_length=10)
    detail = models.TextField(blank=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(default=timezone.now)

    objects = TenantManager(inbox="mail__inbox_id")

    class Meta:
        base_manager_name = "objects"
        ordering = ["mail", "number"]

    def __str__(self) -> str:
        return f"{self.number}: {self.outcome}"


IN_TROUBLE = any_of("state", "unmatched", "failed")  # events that were given up, as the index has them


class ProviderEventQuerySet(models.QuerySet["ProviderEvent"]):
    def due(self, now: datetime | None = None) -> ProviderEventQuerySet:
        """Not processed, and held by nobody: what came in just now, or is due for another try."""
        now = now or database_now()
        return self.filter(held_by_nobody(now), processed_at=None, next_attempt_at__lte=now)


class ProviderEvent(models.Model):
    """What an ESP told us by one of its calls, as it told it. Stored before it is answered, and processed afterwards: in any order, late
    or repeated.

    It is the server's row and no tenant's, like InboundMail: what it says of a mail is read through that mail.
    """

    class Kind(models.TextChoices):
        TRACKING = "tracking", "news of a mail that we sent"
        INBOUND = "inbound", "a mail that is still to be fetched"
        CONFIRMATION = "confirmation", "asks whether it may call us"

    class State(models.TextChoices):
        PENDING = "pending"
        PROCESSED = "processed"
        UNMATCHED = "unmatched", "of no mail of ours"
        FAILED = "failed"

    id = TypeIDField("pevt")
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="events", db_index=False)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    key = models.CharField(max_length=64, help_text="SHA-256 of what names it: told twice, it is one row")
    type = models.CharField(max_length=20, blank=True, help_text="in the words of django-anymail")
    told_mail_id = models.CharField(max_length=100, blank=True, help_text="our id of the mail, as the ESP gave it back")
    provider_message_id = models.TextField(blank=True)
    final_message_id = models.TextField(blank=True)
    recipient = models.TextField(blank=True)
    reason = models.TextField(blank=True)
    data = models.JSONField(default=dict, help_text="url and user_agent, where it says them")
    payload = models.JSONField(default=dict, help_text="what the ESP sent of it, or what it takes to fetch the mail")
    occurred_at = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField(default=timezone.now)
    mail = models.ForeignKey(OutboundMail, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    error = models.TextField(blank=True)
    processed_at = models.DateTimeField(null=True, blank=True)

    objects = ProviderEventQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["provider", "key"], name="one_row_per_provider_event")]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(processed_at=None), name="provider_event_unfinished"),
            models.Index(fields=["processed_at"], name="provider_event_processed"),
            models.Index(fields=["provider", "id"], name="provider_event_of_provider"),
            models.Index(
                fields=["provider", "id"],
                condition=IN_TROUBLE,
                name="provider_event_in_trouble",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type or self.kind} {self.recipient}".strip()

    @property
    def addressed(self) -> set[str]:
        """Whom a mail was for of which an ESP told that it came in: with some ESPs its text is here."""
        return addresses_in(self.recipient) if self.kind == self.Kind.INBOUND else set()


class RecentSend(models.Model):
    """A send without an Idempotency-Key in the last minute, and whether its answer has arrived (delivery.outbound.recent)."""

    class Answer(models.TextChoices):
        PENDING = Outcome.PENDING.value
        DELIVERED = Outcome.DELIVERED.value
        LOST = Outcome.LOST.value

    message = models.OneToOneField(Message, on_delete=models.CASCADE, primary_key=True, related_name="+")
    account = account_key()
    asked = models.UUIDField(help_text="of API key, path and body")
    answer = models.CharField(max_length=9, choices=Answer.choices, default=Answer.PENDING)
    created_at = models.DateTimeField(help_text="by the clock of the database")
    answered_at = models.DateTimeField(help_text="when it was last answered, by the same clock")

    objects = TenantManager(inbox="message__inbox_id")

    class Meta:
        base_manager_name = "objects"
        indexes = [models.Index(fields=["asked"], name="recent_send_asked")]

    def __str__(self) -> str:
        return f"{self.message_id}: {self.answer}"


class LoopCount(models.Model):
    """When an inbox wrote within the last hour: in a thread, or to an address (delivery.outbound.loop_guard)."""

    account = account_key()
    # Its key in the database takes the account along.
    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    key = models.CharField(max_length=ID_LENGTH, help_text="the id of the thread, or a digest of the address")
    times = JSONColumn(default=list, help_text="milliseconds since 1970; no more than the limit")
    last_at = models.DateTimeField()

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["inbox", "key"], name="one_loop_count")]
        indexes = [models.Index(fields=["last_at"], name="loop_count_over")]

    def __str__(self) -> str:
        return f"{self.inbox_id}: {self.key}"


RAW_LEASE = timedelta(minutes=10)  # of who moves a raw mail into the object store


class RawObject(models.Model):
    """The card of a raw mail in the object store, written before the object and removed after it.

    So whoever is killed in between leaves a card, and a sweep needs no list of the store to find what is left over. It outlives
    the row of the queue and the inbox, so it keeps plain ids and no cascading key. That of a large mail is there before its row.
    """

    class State(models.TextChoices):
        MOVING = "moving", "on its way in: the row still has the bytes"
        KEPT = "kept", "the bytes are in the store and nowhere else"
        LEAVING = "leaving", "nobody may read it any more; the object is to be deleted"

    mail_id = models.CharField(max_length=ID_LENGTH, primary_key=True, help_text="its InboundMail or OutboundMail")
    account_id = models.CharField(max_length=ID_LENGTH, blank=True, help_text="of the first inbox that it was for")
    inbox_id = models.CharField(max_length=ID_LENGTH, blank=True)
    other_inboxes = models.JSONField(default=list, help_text="inbound: ids of the others that it was for")
    name = models.CharField(max_length=200, help_text="in the object store")
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=7, choices=State.choices, default=State.MOVING)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    mail_at = models.DateTimeField(help_text="when the mail was received or written")
    moved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["mail_id"]
        indexes = [
            models.Index(fields=["inbox_id", "mail_at"], name="raw_object_by_inbox_and_time"),
            models.Index(
                fields=["state", "lease_until"],
                condition=any_of("state", "moving", "leaving"),
                name="raw_object_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def name_of(mail_id: str, mail_at: datetime, sha256: str) -> str:
        """Of what it holds, so that whoever writes under this name writes the same bytes."""
        kind = "inbound" if mail_id.startswith("inmail_") else "outbound"
        return f"raw/{kind}/{mail_at:%Y-%m-%d/%H}/{mail_id}.{sha256}.eml"

    @staticmethod
    def is_free(state: RawObject.State) -> Q:
        """Cards in this state that nobody holds, whatever clock the lease was written by."""
        return Q(state=state) & (Q(lease_until=None) | is_over("lease_until", database_now(), RAW_LEASE))


class StorageFigures(models.Model):
    """How much of what there is, counted now and then: one row for each account, and one without an account for the server."""

    account_id = models.CharField(max_length=ID_LENGTH, primary_key=True)
    messages = models.PositiveBigIntegerField(default=0)
    raw_in_rows = models.PositiveBigIntegerField(default=0)
    raw_in_rows_octets = models.PositiveBigIntegerField(default=0)
    raw_in_store = models.PositiveBigIntegerField(default=0)
    raw_in_store_octets = models.PositiveBigIntegerField(default=0)
    attachments = models.PositiveBigIntegerField(default=0)
    attachments_octets = models.PositiveBigIntegerField(default=0, help_text="as messages refer to them")
    files = models.PositiveBigIntegerField(default=0)
    files_octets = models.PositiveBigIntegerField(default=0, help_text="as the store has them")
    database_octets = models.PositiveBigIntegerField(default=0, help_text="of the server")
    oldest_in_rows = models.DateTimeField(
        null=True, help_text="of the server: when the oldest one to be moved was finished"
    )
    counted_at = models.DateTimeField()
    seconds = models.FloatField(default=0, help_text="how long the counting took")

    objects = TenantManager(inbox=None)

    class Meta:
        base_manager_name = "objects"
        verbose_name = verbose_name_plural = "storage"

    def __str__(self) -> str:
        return self.account_id or "server"
