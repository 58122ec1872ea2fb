"""What a mail reports, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    BOUNCE = "bounce"  # a server tells what became of a mail: it came back, waits, or arrived
    COMPLAINT = "complaint"  # a recipient calls it spam
    AUTO_REPLY = "auto_reply"  # a program of the recipient's answered


@dataclass(frozen=True, slots=True)
class Recipient:
    """What befell a mail on its way to one recipient.

    `action` is one of RFC 3464's (`failed`, `delayed`, `delivered`, `relayed`, `expanded`) or empty, `status` a code of RFC 3463's
    or one of ours (`codes.own_status`), `smtp_code` the reply of the server, `reason` one of `reasons.REASONS`. `hard_bounce`: the
    address is wrong for good. `diagnostic` are the words of the server.
    """

    address: str
    action: str = ""
    status: str = ""
    smtp_code: str = ""
    reason: str = "undefined"
    hard_bounce: bool = False
    diagnostic: str = ""
    smtp_command: str = ""
    remote_mta: str = ""
    alias: str = ""

    @property
    def is_delayed(self) -> bool:
        """Not lost yet: the server goes on trying."""
        return self.action == "delayed" and not self.status.startswith("5")

    @property
    def is_delivered(self) -> bool:
        return (
            self.reason == "delivered"
            or self.status.startswith("2.")
            or self.action in ("delivered", "relayed", "expanded")
        )


@dataclass(frozen=True, slots=True)
class Report:
    """A mail that speaks of another one.

    `recipients`: whom that mail did not reach, or who answered by a program; none in a complaint, where `complained` names who
    complained as far as it is told. `message_ids`: Message-IDs that the report has of the mail it speaks of, likeliest first, with their
    brackets. `returned`: its header as far as it came back, names in small letters. `dialect`: who wrote the report.
    """

    kind: Kind
    recipients: tuple[Recipient, ...] = ()
    complained: tuple[str, ...] = ()
    feedback_type: str = ""
    message_ids: tuple[str, ...] = ()
    returned: Mapping[str, str] = field(default_factory=dict)
    reporting_mta: str = ""
    dialect: str = ""

    @property
    def message_id(self) -> str:
        return self.message_ids[0] if self.message_ids else ""
