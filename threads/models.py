"""What was said: threads, messages, their attachments, and the events that happened to them."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, NoReturn

from django.db import models
from django.db.models import Q
from django.utils import timezone

from inboxes.models import Account, Inbox
from mailbot.lib.ids import ID_LENGTH, TypeIDField
from mailbot.lib.json_columns import JSONColumn
from mailbot.lib.tenants import TenantManager


def account_key() -> models.ForeignKey[Account, Account]:
    """The tenant of a row of mail: always its inbox's, whose own key the database checks.

    Each index and each check is paid for by every mail, and no question goes by the account alone: it narrows what was found by inbox.
    """
    return models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False)


class Thread(models.Model):
    """A conversation, inside one inbox only."""

    class Status(models.TextChoices):
        OPEN = "open"
        CLOSED = "closed"

    id = TypeIDField("thread")
    account = account_key()
    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE, related_name="threads", db_index=False)
    subject = models.TextField(blank=True)
    preview = models.CharField(max_length=200, blank=True)
    participants = JSONColumn(default=list)
    labels = JSONColumn(default=list, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    message_count = models.PositiveIntegerField(default=0)
    last_message_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # The lease of whoever works on it (threads.leases). Null where nobody ever did: a column without a default is added to a table of
    # any size at once.
    owner_id = models.CharField(
        max_length=ID_LENGTH, null=True, editable=False, help_text="the API key that claimed it"
    )
    owner_name = models.CharField(max_length=100, null=True, editable=False, help_text="of that key, as it was then")
    owner_agent = models.CharField(max_length=100, null=True, editable=False, help_text="whom of its users it named")
    claimed_at = models.DateTimeField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    lease_token = models.PositiveBigIntegerField(null=True, editable=False, help_text="grows with each new owner")
    # Nullable like these. Mail in their name that nobody vouches for does not get in (threads.matching).
    verified_senders = JSONColumn(
        null=True, editable=False, help_text="participants whose mail in this thread was authenticated"
    )

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"
        ordering = ["-last_message_at", "-id"]
        indexes = [models.Index(fields=["inbox", "-last_message_at", "-id"], name="thread_list")]

    def __str__(self) -> str:
        return self.subject or "(no subject)"


class Message(models.Model):
    """One mail as one inbox has it. The raw bytes stay with delivery, which moved them."""

    class Direction(models.TextChoices):
        INBOUND = "inbound"
        OUTBOUND = "outbound"

    class Status(models.TextChoices):
        RECEIVED = "received"
        HELD = "held"
        REJECTED = "rejected"
        REPORT = "report"
        SCHEDULED = "scheduled"
        AWAITING_APPROVAL = "awaiting_approval"
        QUEUED = "queued"
        SENDING = "sending"
        SENT = "sent"
        DELIVERED = "delivered"
        DEFERRED = "deferred"
        BOUNCED = "bounced"
        COMPLAINED = "complained"
        FAILED = "failed"
        BLOCKED = "blocked"
        UNKNOWN = "unknown"
        CANCELLED = "cancelled"

    id = TypeIDField("msg")
    account = account_key()
    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE, related_name="messages", db_index=False)
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="messages", db_index=False)
    # Given under the inbox's lock, so it is the order in which messages became visible, whatever clocks do: who has seen
    # number 7 has missed nothing before it. Ids only sort by the clock of whoever made them.
    sequence = models.PositiveBigIntegerField(help_text="its number in the inbox, from 1")
    direction = models.CharField(max_length=8, choices=Direction.choices)
    status = models.CharField(max_length=20, choices=Status.choices)
    message_id_header = models.TextField(blank=True)
    # A Message-ID may be longer than a database's index entry: what is looked up is its digest.
    message_id_digest = models.CharField(max_length=32, blank=True)
    final_id_digest = models.CharField(
        max_length=32, blank=True, help_text="of the Message-ID that its recipients saw, where a provider replaced ours"
    )
    in_reply_to = models.TextField(blank=True)
    references = JSONColumn(default=list)
    subject = models.TextField(blank=True)
    from_address = models.TextField(blank=True)
    from_name = models.TextField(blank=True)
    to = JSONColumn(default=list, help_text="[{name, address}], likewise cc, bcc and reply_to")
    cc = JSONColumn(default=list)
    bcc = JSONColumn(default=list)
    reply_to = JSONColumn(default=list)
    recipients = JSONColumn(default=list, help_text="outbound: [{address, status, reason}]")
    headers = JSONColumn(default=list, help_text="[[name, value]]")
    body_text = models.TextField(blank=True)
    body_html = models.TextField(blank=True)
    extracted_text = models.TextField(blank=True)
    extracted_html = models.TextField(blank=True)
    preview = models.CharField(max_length=200, blank=True)
    codes = JSONColumn(default=list)
    links = JSONColumn(default=list)
    labels = JSONColumn(default=list, blank=True)
    flags = JSONColumn(default=list, help_text="degraded, thread_suspect, …")
    degraded_reason = models.TextField(blank=True)
    recipient_tag = models.CharField(max_length=64, blank=True, help_text="the +tag of the address it came to")
    repeat_count = models.PositiveIntegerField(default=0, help_text="how often the same delivery came again")
    explanation = JSONColumn(default=dict)
    metadata = JSONColumn(default=dict, blank=True)
    size = models.PositiveIntegerField(default=0, help_text="octets of the raw mail")
    raw_sha256 = models.CharField(max_length=64, blank=True)
    source_id = models.CharField(max_length=ID_LENGTH, blank=True, help_text="the InboundMail it was read from")
    attachment_count = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True, help_text="the Date header")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Lists show it, and do without the explanation, which has the details.
    auth = JSONColumn(
        null=True, editable=False, help_text="{spf, dkim, dmarc, score}: of who sent it; null for what was written here"
    )

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["inbox", "sequence"], name="message_list")]
        indexes = [
            models.Index(fields=["thread", "sequence"], name="message_in_thread"),
            models.Index(fields=["inbox", "message_id_digest"], name="message_by_message_id"),
            models.Index(
                fields=["inbox", "final_id_digest"], condition=~Q(final_id_digest=""), name="message_by_final_id"
            ),
            models.Index(fields=["inbox", "raw_sha256"], name="message_by_raw"),
        ]

    def __str__(self) -> str:
        return self.subject or "(no subject)"


class Attachment(models.Model):
    """A file that came with or goes with a message; its bytes are in the storage, found by account and SHA-256."""

    id = TypeIDField("att")
    account = account_key()
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="attachments")
    position = models.PositiveSmallIntegerField(default=0)
    filename = models.CharField(max_length=255)
    content_type = models.CharField(max_length=255)
    disposition = models.CharField(max_length=10, default="attachment")
    content_id = models.TextField(blank=True)
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    storage_name = models.CharField(max_length=255)

    objects = TenantManager(inbox="message__inbox_id")

    class Meta:
        base_manager_name = "objects"
        ordering = ["message", "position"]
        indexes = [models.Index(fields=["storage_name"], name="attachment_by_file")]

    def __str__(self) -> str:
        return self.filename


# What happens seldom to mail that was sent. Written with OR, because SQLite uses no partial index that says IN.
SELDOM = reduce(
    or_,
    (Q(type=f"message.{kind}") for kind in "opened clicked bounced complained unsubscribed deferred failed".split()),
)


class EventQuerySet(models.QuerySet["Event"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise RuntimeError("Events are append-only.")

    def delete(self) -> NoReturn:
        raise RuntimeError("Events are append-only.")

    def remove(self) -> int:
        """For threads.events.remove_events alone."""
        return int(self._raw_delete(self.db))


class Event(models.Model):
    """Something that happened. Append-only, and the outbox from which webhooks and streams are fed."""

    id = TypeIDField("evt")
    account = account_key()
    # None: of the whole account, as news of a domain are.
    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE, null=True, related_name="events", db_index=False)
    type = models.CharField(max_length=40)
    thread_id = models.CharField(max_length=ID_LENGTH, blank=True)
    message_id = models.CharField(max_length=ID_LENGTH, blank=True)
    recipient = models.TextField(blank=True)
    data = JSONColumn(default=dict)
    occurred_at = models.DateTimeField(default=timezone.now)
    recorded_at = models.DateTimeField(default=timezone.now)

    objects = TenantManager.from_queryset(EventQuerySet)(none_is_shared=False)

    class Meta:
        base_manager_name = "objects"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["inbox", "-id"], name="event_by_inbox"),
            models.Index(fields=["account", "-id"], name="event_by_account"),
            models.Index(fields=["thread_id", "id"], name="event_by_thread"),
            models.Index(fields=["message_id", "id"], name="event_by_message"),
            # Of a million events a few: to find them, the others would have to be read. They cost nothing where mail comes in or is sent.
            models.Index(fields=["inbox", "type", "-id"], condition=SELDOM, name="event_seldom_by_inbox"),
            models.Index(fields=["account", "type", "-id"], condition=SELDOM, name="event_seldom_by_account"),
        ]

    def __str__(self) -> str:
        return self.type

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise RuntimeError("Events are append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError("Events are append-only.")


class DailyEvents(models.Model):
    """How often something became of mail that an inbox sent, on one day (UTC); see threads.event_counts. Kept when the inbox is purged."""

    account = account_key()
    # Its key in the database takes the account along.
    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    day = models.DateField()
    kind = models.CharField(max_length=20)
    number = models.PositiveBigIntegerField(default=0)

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["inbox", "day", "kind"], name="one_count_of_events")]
        indexes = [models.Index(fields=["account", "day"], name="event_counts_by_account")]

    def __str__(self) -> str:
        return f"{self.inbox_id} {self.day}: {self.number} {self.kind}"


class SearchDocument(models.Model):
    """What search knows of a message: its words (threads.search_words), with a space before and behind each, a column a field.

    The index over all of them is the database's own, made by migration 0003: GIN on PostgreSQL, and on SQLite an FTS5 table that two
    triggers keep. Whoever changes this table on SQLite, where Django makes it anew, has to make the triggers again.
    """

    id = models.BigAutoField(primary_key=True)
    account = account_key()
    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE, related_name="+", db_index=False)
    # Messages go only with all of their inbox, and threads.erasure takes these rows along.
    message = models.ForeignKey(
        Message, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    created_at = models.DateTimeField(help_text="the message's")
    scope = models.CharField(max_length=8, help_text="stands before each word in the index; see threads.search_index")
    subject = models.TextField(blank=True)
    sender = models.TextField(blank=True)
    recipients = models.TextField(blank=True)
    files = models.TextField(blank=True)
    body = models.TextField(blank=True)

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"
        indexes = [
            models.Index(fields=["inbox", "-created_at", "-id"], name="search_by_inbox"),
            models.Index(fields=["account", "-created_at", "-id"], name="search_by_account"),
        ]

    def __str__(self) -> str:
        return self.message_id


class SearchProgress(models.Model):
    """Which messages of an inbox are indexed: the numbers from `oldest` to `newest`, without a gap. None: newest is oldest - 1."""

    inbox = models.OneToOneField(Inbox, on_delete=models.CASCADE, primary_key=True, related_name="search_progress")
    account = account_key()
    oldest = models.PositiveBigIntegerField(default=1)
    newest = models.PositiveBigIntegerField(default=0)

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name_plural = "search progress"
        indexes = [models.Index(fields=["inbox"], condition=Q(oldest__gt=1), name="search_to_fill")]

    def __str__(self) -> str:
        return self.inbox_id
