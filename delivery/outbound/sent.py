"""Writing down many mails at once that their providers took, which is nearly all of what is sent and one by one
the main cost of sending, or that were blocked: whoever has very many of these is to cost the others little."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from audit.record import Entry, record_many
from delivery.esps import ESPS
from delivery.esps.base import MessageId
from delivery.models import OutboundMail, SendAttempt
from delivery.outbound.outcomes import ACT_AFTER, EVENT_AFTER, STATE_AFTER, Report, Result
from delivery.outbound.sending import Handed
from delivery.outbound.states import State
from delivery.outbound.tracking import Moves
from mailbot.lib.bulk import bulk_insert, bulk_set, copied, new_row
from mailbot.lib.crypto import CannotDecrypt
from threads.conversation import note_final_message_ids


def is_plain(each: Handed) -> bool:
    """Whether it is nothing more than that the provider took it, for all recipients, or that it is blocked at its first try."""
    if each.outcome.result is Result.BLOCKED:
        return each.mail.attempts == 0
    return each.outcome.result is Result.SENT and not each.outcome.reports


@transaction.atomic
def write_together(handed: Sequence[Handed]) -> set[str]:
    """What `send.settle` writes of one plain outcome, for each of these; the ids of those whose lease was still ours.

    The rows are locked before the inboxes, and both in order, as everybody does who locks both.
    """
    ours = _still_ours(handed)
    done = [each for each in handed if each.mail.pk in ours]
    if not done:
        return set()
    moves = Moves(each.mail for each in done)
    rows = [_row(each) for each in done]
    bulk_set(
        rows,
        *("state", "attempts", "provider", "provider_message_id", "final_message_id", "error"),
        *("lease_token", "lease_until", "finished_at"),
    )
    bulk_insert([_attempt(each) for each in done])
    note_final_message_ids({row.message_id: row.final_message_id for row in rows if row.final_message_id})
    for each in done:
        for address in _addresses(each):
            moves.apply(each.mail, Report(EVENT_AFTER[_state(each)], address, each.outcome.detail[:500]))
    moves.write()
    record_many(_entry(each) for each in done)
    return ours


def _still_ours(handed: Sequence[Handed]) -> set[str]:
    tokens = {each.mail.pk: each.mail.lease_token for each in handed}
    rows = OutboundMail.objects.select_for_update(no_key=True).filter(pk__in=tokens, state=State.SENDING)
    return {pk for pk, token in rows.order_by("pk").values_list("pk", "lease_token") if tokens[pk] == token}


def _row(each: Handed) -> OutboundMail:
    """A copy: what was claimed stays as it was, should this be undone."""
    row = copied(each.mail)
    row.state, row.attempts, row.provider = _state(each), each.mail.attempts + 1, each.carrier
    row.error = each.outcome.detail[:2000]
    row.lease_token, row.lease_until, row.finished_at = "", None, timezone.now()
    row.provider_message_id = each.outcome.provider_message_id or row.provider_message_id
    row.final_message_id = final_message_id(each.mail, each.outcome.provider_message_id) or row.final_message_id
    return row


def final_message_id(mail: OutboundMail, provider_message_id: str) -> str:
    """The Message-ID that recipients see, where that can be told from the provider's id; otherwise empty."""
    esp = ESPS.get(mail.carrier.esp) if mail.carrier else None
    if esp is None or mail.carrier is None or esp.message_id is not MessageId.REPLACED or not provider_message_id:
        return ""
    try:
        return esp.final_message_id(provider_message_id, mail.carrier.credentials)
    except CannotDecrypt:  # since it was handed over
        return ""


def _attempt(each: Handed) -> SendAttempt:
    return new_row(
        SendAttempt,
        account_id=each.mail.account_id,
        mail_id=each.mail.pk,
        number=each.mail.attempts + 1,
        provider=each.carrier,
        outcome=each.outcome.result.value,
        detail=each.outcome.detail,
        started_at=each.started_at,
    )


def _entry(each: Handed) -> Entry:
    mail = each.mail
    detail = each.outcome.detail[:500]
    changes: dict[str, Any] = {"recipients": _addresses(each), "subject": mail.message.subject, "detail": detail}
    return Entry(
        ACT_AFTER[_state(each)],
        mail.message,
        mail.account_id,
        mail.inbox_id,
        changes=changes,
        request_id=mail.request_id,
    )


def _state(each: Handed) -> State:
    return STATE_AFTER[each.outcome.result]


def _addresses(each: Handed) -> list[str]:
    return [recipient.address for recipient in each.mail.remaining()]
