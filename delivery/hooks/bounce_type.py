"""Whether a bounce is for good, as the ESP that tells of it says itself. django-anymail makes one event of both kinds.

Sources: the ESPs' documentation of their webhooks; the source of django-anymail 15.2.
"""

from collections.abc import Mapping
from typing import Any

from anymail.signals import EventType, RejectReason  # type: ignore[import-untyped]

HARD, SOFT = "hard", "soft"
# Where ESPs say it, and in which words. The first that is there and known decides.
PLACES: tuple[tuple[str, ...], ...] = (
    ("bounce", "bounceType"),  # Amazon SES
    ("data", "bounce", "type"),  # Resend
    ("data", "type"),  # MailerSend
    ("bounce_class",),  # SparkPost
    ("hard_bounce",),  # Mailjet
    ("Type",),  # Postmark
    ("type",),  # SendGrid
    ("event",),  # Brevo, Mandrill
    ("severity",),  # Mailgun
)
SAID: dict[str, str] = {
    **dict.fromkeys(("permanent", "hardbounce", "bademailaddress", "hard_bounce", "hard_bounced", "invalid_email", "true"), HARD),
    **dict.fromkeys(("10", "30", "90"), HARD),
    **dict.fromkeys(("transient", "undetermined", "temporary", "softbounce", "dnserror", "soft_bounce", "soft_bounced"), SOFT),
    **dict.fromkeys(("blocked", "false", "spamnotification", "autoresponder", "virusnotification", "challengeverification"), SOFT),
    **dict.fromkeys(("1", "20", "21", "22", "23", "24", "25", "40", "50", "51", "52", "53", "54", "70"), SOFT),
}  # fmt: skip
NOT_THE_ADDRESS = frozenset({RejectReason.TIMED_OUT, RejectReason.BLOCKED, RejectReason.SPAM})


def bounce_data(event: Any) -> dict[str, str]:
    """`{"bounce_type": "hard" | "soft"}`, where the ESP says which; nothing for other events of Anymail's."""
    if event.event_type != EventType.BOUNCED:
        return {}
    for place in PLACES:
        if told := SAID.get(_at(event.esp_event, place)):
            return {"bounce_type": told}
    if event.reject_reason == RejectReason.INVALID:
        return {"bounce_type": HARD}
    return {"bounce_type": SOFT} if event.reject_reason in NOT_THE_ADDRESS else {}


def _at(value: Any, place: tuple[str, ...]) -> str:
    for name in place:
        value = value.get(name) if isinstance(value, Mapping) else None
    return str(value).lower() if isinstance(value, str | bool | int) else ""
