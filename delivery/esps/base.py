"""What mailbot has to know of one ESP, in one class. Everything that differs between ESPs is said in its module and nowhere else.

Sources: the ESPs' own documentation, named in each module, and the source of django-anymail 15.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Any, ClassVar

from anymail.exceptions import AnymailAPIError, AnymailRecipientsRefused  # type: ignore[import-untyped]
from django.utils.module_loading import import_string

from delivery.esps.told import NOTHING, Told
from delivery.fidelity import Fidelity
from delivery.outbound.outcomes import Outcome, Result
from mailbot.lib.public_hosts import host_of

# As Anymail, boto and SMTP call them.
_HOSTS = frozenset({"host", "api_url", "endpoint_url"})


@dataclass(frozen=True, slots=True)
class Field:
    """One of its credentials. `name` is Anymail's setting without `ANYMAIL_<ESP>_`, in lower case."""

    name: str
    label: str
    help: str = ""
    is_secret: bool = True
    is_required: bool = True
    default: str = ""
    is_for_hooks: bool = False  # its webhooks are checked with it; mail leaves without

    @property
    def names_host(self) -> bool:
        """Whether the worker connects to what stands here: a tenant must not lead it into the server's own network."""
        return self.name in _HOSTS


class Hook(StrEnum):
    """What an ESP calls us for."""

    TRACKING = "tracking"
    INBOUND = "inbound"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A mail that an ESP took in for us. `raw` None: it is still at the ESP, and `Esp.fetch` gets it by `reference`.

    `key` is the ESP's id of it, the same each time it calls; empty: it has none. `told`: what it found out about the sender.
    """

    key: str
    sender: str
    recipients: tuple[str, ...]
    raw: bytes | None
    fidelity: Fidelity = Fidelity.EXACT
    reference: Mapping[str, Any] = field(default_factory=dict)
    told: Told = NOTHING


class NotForUs(ValueError):
    """A call that cannot be read as what its address is for; the message says what to change at the ESP."""


class MissingSecret(Exception):
    """Nothing proves that a call is the ESP's: the field that does is empty. `str()` is its label."""


class MessageId(Enum):
    """What becomes of the Message-ID that we wrote."""

    KEPT = "kept"
    REPLACED = "replaced by the ESP's own"
    NOT_KNOWN = "not known"


class Tracks(Enum):
    """What an ESP sees of its readers and tells, where it is asked to."""

    OPENS = "opens"
    CLICKS = "clicks"


class InvalidCredentials(ValueError):
    """What is missing or too much; `fields` says it by field."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {why}" for name, why in fields.items()))
        self.fields = fields


TIMEOUT = 30  # seconds for the answer of an ESP
# Answers of HTTP APIs after which the ESP surely does not have the mail, and may take it later (RFC 9110, RFC 6585).
TEMPORARY_STATUSES = frozenset({408, 425, 429})


class Esp:
    """One ESP. Its classes have no state: what belongs to a customer of it is in inboxes.Provider."""

    key: ClassVar[str]
    label: ClassVar[str]
    backend: ClassVar[str]
    fields: ClassVar[tuple[Field, ...]]
    message_id: ClassVar[MessageId] = MessageId.NOT_KNOWN
    # Whether a mail may be handed over again after an answer that never came: the ESP knows the second one by our key.
    retries_safely: ClassVar[bool] = False
    key_lifetime: ClassVar[timedelta] = timedelta(hours=24)  # of that key; later the same mail would be a new one
    # What its backend takes: an object with fields, or the bytes; whether a worker may keep it open, and all threads use the same.
    takes_fields: ClassVar[bool] = True
    keeps_open: ClassVar[bool] = True
    is_thread_safe: ClassVar[bool] = False
    signs: ClassVar[bool] = True  # with DKIM for the sender's domain, once that is set up there
    takes_metadata: ClassVar[bool] = True  # and gives them back with its news
    tracks: ClassVar[frozenset[Tracks]] = (
        frozenset()
    )  # by what Anymail asks it for; for the others we do it (delivery.engagement)
    # Anymail's views that check and read its calls; None: it does not call for that. Where it signs them, with which of its fields.
    views: ClassVar[Mapping[Hook, str]] = {}
    signs_with: ClassVar[Mapping[Hook, str]] = {}
    # Beside TEMPORARY_STATUSES: answers of this ESP that mean “not now”, and those after which it is not known.
    temporary_statuses: ClassVar[frozenset[int]] = frozenset()
    # Answers of 500 and above after which its documentation says that it did not take the mail.
    refusing_statuses: ClassVar[frozenset[int]] = frozenset()

    # --- Credentials ---

    @classmethod
    def check(cls, credentials: Mapping[str, str]) -> dict[str, str]:
        """The credentials as they are kept, defaults filled in. Raises InvalidCredentials: a row that lacked one would be sent with
        whatever the settings have."""
        known = {field.name: field for field in cls.fields}
        wrong = {name: "is not a credential of " + cls.label for name in credentials if name not in known}
        kept = {name: str(credentials.get(name) or field.default).strip() for name, field in known.items()}
        wrong |= {name: "is required" for name, field in known.items() if field.is_required and not kept[name]}
        if wrong:
            raise InvalidCredentials(wrong)
        return {name: value for name, value in kept.items() if value}

    @classmethod
    def options(cls, credentials: Mapping[str, str]) -> dict[str, Any]:
        """The keywords of its backend."""
        sending = {field.name for field in cls.fields if not field.is_for_hooks}
        return {name: value for name, value in credentials.items() if name in sending} | {"timeout": TIMEOUT}

    @classmethod
    def hosts(cls, credentials: Mapping[str, str]) -> dict[str, str]:
        """By field, the hosts that a customer chose himself."""
        named = {field.name: credentials.get(field.name, "") for field in cls.fields if field.names_host}
        return {name: host_of(value) for name, value in named.items() if value}

    # --- Handing over ---

    @classmethod
    def prepare(cls, message: Any, mail_id: str) -> None:
        """What this ESP needs on Anymail's message object: by `mail_id` its webhooks are matched, and it is the idempotency key."""
        if cls.takes_metadata:
            message.metadata = {"mailbot_id": mail_id}

    @classmethod
    def outcome_of(cls, error: Exception) -> Outcome:
        """What an exception of its backend means: surely refused for now, surely refused for good, or perhaps taken."""
        if isinstance(error, AnymailRecipientsRefused):
            return Outcome(Result.PERMANENT, str(error))
        if isinstance(error, AnymailAPIError):
            return cls.by_status(getattr(error, "status_code", None), str(error))
        if isinstance(error, OSError):
            return Outcome(Result.UNKNOWN, f"{type(error).__name__}: {error}")
        return Outcome(Result.PERMANENT, f"{type(error).__name__}: {error}")

    @classmethod
    def by_status(cls, status: int | None, detail: str) -> Outcome:
        """No status: the line was cut or the time was over, so that nobody knows. 2xx: taken, and the answer could not be read."""
        if status is None or status < 300:
            return Outcome(Result.UNKNOWN, detail)
        if status in TEMPORARY_STATUSES | cls.temporary_statuses | cls.refusing_statuses:
            return Outcome(Result.TEMPORARY, detail)
        return Outcome(Result.UNKNOWN if status >= 500 else Result.PERMANENT, detail)

    # --- Its calls ---

    @classmethod
    def signing_field(cls, hook: Hook) -> Field | None:
        """The credential that its calls are checked with; None: it signs none, and the address is the secret."""
        return next((field for field in cls.fields if field.name == cls.signs_with.get(hook)), None)

    @classmethod
    def view(cls, hook: Hook, credentials: Mapping[str, str]) -> Any:
        """Anymail's view with the secrets of one row and none of the settings'. Raises MissingSecret."""
        signing = cls.signing_field(hook)
        if signing and not credentials.get(signing.name):
            raise MissingSecret(signing.label)
        made: type[Any] = import_string(cls.views[hook])
        return made(**{"webhook_secret": [], **cls.view_options(hook, credentials)})

    @classmethod
    def view_options(cls, hook: Hook, credentials: Mapping[str, str]) -> dict[str, Any]:
        """Without the secrets of its other calls: what a view does not know it takes for an attribute, whichever that is."""
        others = {field.name for field in cls.fields if field.is_for_hooks} - {cls.signs_with.get(hook, "")}
        return {name: value for name, value in credentials.items() if name not in others}

    @classmethod
    def verify(cls, hook: Hook, request: Any, credentials: Mapping[str, str]) -> None:
        """What Anymail does not check. Raises AnymailWebhookValidationFailure."""

    @classmethod
    def confirmation(cls, request: Any) -> str:
        """The URL to get, where the ESP asks whether it may call us at all; otherwise empty."""
        return ""

    @classmethod
    def key_of(cls, event: Any) -> list[Any]:
        """What names an event the same each time the ESP tells it: its id, or all of its content."""
        return [event.event_id or event.esp_event, event.event_type, event.recipient]

    @classmethod
    def final_message_id(cls, provider_message_id: str, credentials: Mapping[str, str]) -> str:
        """The Message-ID that recipients see, where it can be told from the ESP's id when that took the mail; otherwise empty."""
        return ""

    @classmethod
    def final_message_id_in(cls, event: Any) -> str:
        """The same where its news tell it."""
        return ""

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """The mails of a call that has been checked. Raises NotForUs."""
        raise NotImplementedError

    @classmethod
    def fetch(cls, credentials: Mapping[str, str], reference: Mapping[str, Any]) -> Arrived:
        """A mail that was not in the call. Raises FetchFailed."""
        raise NotImplementedError

    @classmethod
    def look_up(cls, credentials: Mapping[str, str], mail_id: str, message_id: str) -> str | None:
        """The ESP's id of a mail that it has by ours; None: it does not say that it has it, which proves nothing. Raises FetchFailed."""
        return None
