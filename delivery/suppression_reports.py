"""What is heard of mail that suppresses by itself: a bounce for good, a complaint, a recipient who unsubscribed.

The inbox that sent the mail sends nothing more there; a bounce for good may stop all inboxes of the account (Account.bounce_scope).
"""

from collections.abc import Iterable

from audit.actors import acting_as
from delivery.models import OutboundMail
from delivery.outbound.bounce_kind import is_hard, status_code_of
from delivery.outbound.outcomes import Report
from delivery.suppression import Target, Wanted, is_simulated, suppress
from delivery.suppression_model import Cause
from inboxes.models import BounceScope
from threads.events import EventType

CAUSES: dict[EventType, Cause] = {
    EventType.MESSAGE_BOUNCED: Cause.HARD_BOUNCE,
    EventType.MESSAGE_COMPLAINED: Cause.COMPLAINT,
    EventType.MESSAGE_UNSUBSCRIBED: Cause.UNSUBSCRIBE,
}


def suppress_reported(told: Iterable[tuple[OutboundMail, Report]]) -> None:
    """To be called in the transaction of the reports, with the inboxes locked; each is of somebody to whom the mail went: who tells of a
    mail says nothing about others. Addresses of the simulator stay usable."""
    telling = [
        (_target(mail, CAUSES[report.event]), _wanted(mail, report), report)
        for mail, report in told
        if _suppresses(report)
    ]
    # In the order in which an import locks them too: nobody waits in a circle.
    for target, wanted, report in sorted(telling, key=lambda one: one[0].digest(one[1].address)):
        with acting_as(report.told_by):
            suppress(target, wanted)


def _suppresses(report: Report) -> bool:
    if report.event not in CAUSES or is_simulated(report.recipient):
        return False
    return report.event is not EventType.MESSAGE_BOUNCED or is_hard(report)


def _target(mail: OutboundMail, cause: Cause) -> Target:
    whole_account = cause is Cause.HARD_BOUNCE and mail.account.bounce_scope == BounceScope.ACCOUNT
    return Target(mail.account_id, mail.mode) if whole_account else Target.of_inbox(mail.inbox)


def _wanted(mail: OutboundMail, report: Report) -> Wanted:
    code = status_code_of(report.reason) if report.event is EventType.MESSAGE_BOUNCED else ""
    return Wanted(report.recipient, CAUSES[report.event], report.reason, code, mail.message_id)
