"""From a report that was matched to what is known of the mail it speaks of: its recipients' status, and events of its thread."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from delivery.inbound.reports.addresses import first_address
from delivery.inbound.reports.matching import Arrived, Matched
from delivery.inbound.reports.report import Kind, Recipient, Report
from delivery.models import OutboundMail
from delivery.outbound.bounce_kind import BOUNCE_TYPE, HARD, SOFT
from delivery.outbound.outcomes import Report as News
from delivery.outbound.tracking import apply_many
from delivery.outbound.unknown import settle_by_news
from mailbot.lib.addresses import comparable
from threads.conversation import Reporting
from threads.events import EventType

MAX_WORDS = 500  # characters of what the server said


def reporting(each: Arrived, matched: Matched) -> Reporting:
    """How the mail is filed, and why."""
    report = each.report
    explained = {
        "kind": report.kind.value if report else Kind.BOUNCE.value,
        "matched_by": matched.matched_by,
        "counts": bool(matched.mail and next(_news(each, matched), None)),
        "message_id": matched.mail.message_id if matched.mail else "",
        "recipients": [
            {"address": one.address, "status": one.status, "reason": one.reason, "hard_bounce": one.hard_bounce}
            for one in (report.recipients[:20] if report else ())
        ],
    }
    return Reporting(matched.mail.message.thread_id if matched.mail else "", explained)


def apply_matched(
    arrived: Sequence[Arrived], matched: Mapping[tuple[str, str], Matched], filed: Mapping[tuple[str, str], str]
) -> None:
    """Record what the reports say that were filed now, and not before. `filed`: ids of their messages.

    In the transaction that files them; the mails are locked (`match_reports`).
    """
    news: dict[str, list[News]] = defaultdict(list)
    mails: dict[str, OutboundMail] = {}
    for each in arrived:
        found = matched.get(each.key)
        if found is None or found.mail is None or each.key not in filed:
            continue
        told = list(_news(each, found, filed[each.key]))
        if told:
            mails[found.mail.pk] = found.mail
            news[found.mail.pk] += told
    for pk in sorted(mails):
        settle_by_news(mails[pk], "", "A report came back for it.")
    apply_many([(mails[pk], news[pk]) for pk in sorted(mails)])


def _news(each: Arrived, matched: Matched, report_id: str = "") -> Iterator[News]:
    if matched.mail is None or not matched.counts:
        return
    about = {"matched_by": matched.matched_by, "report_id": report_id}
    if each.report is None:
        data = {**about, BOUNCE_TYPE: SOFT}
        yield News(EventType.MESSAGE_BOUNCED, _only(matched) or "", "undefined", data=data)
    elif each.report.kind is Kind.COMPLAINT:
        for address in _complained(each.report, matched):
            data = {**about, "feedback_type": each.report.feedback_type}
            yield News(EventType.MESSAGE_COMPLAINED, address, each.report.feedback_type, data=data)
    else:
        for recipient in each.report.recipients:
            event, whom = _event(recipient), _recipient(recipient, each.report, matched)
            if event and whom is not None:
                yield News(event, whom, _words(recipient), data=about | _told(recipient, each.report))


def _event(recipient: Recipient) -> EventType | None:
    if recipient.action in ("relayed", "expanded"):
        return None  # on its way, where nobody tells any more
    if recipient.is_delivered:
        return EventType.MESSAGE_DELIVERED
    return EventType.MESSAGE_DEFERRED if recipient.is_delayed else EventType.MESSAGE_BOUNCED


def _words(recipient: Recipient) -> str:
    return (recipient.diagnostic or recipient.reason)[:MAX_WORDS]


def _told(recipient: Recipient, report: Report) -> dict[str, str]:
    told = {
        "reason": recipient.reason,
        "status": recipient.status,
        "smtp_code": recipient.smtp_code,
        "diagnostic": recipient.diagnostic[:MAX_WORDS],
        BOUNCE_TYPE: "" if recipient.is_delivered else HARD if recipient.hard_bounce else SOFT,
        "reporting_mta": report.reporting_mta,
    }
    return {name: value for name, value in told.items() if value}


def _recipient(recipient: Recipient, report: Report, matched: Matched) -> str | None:
    """The recipient of ours that is meant, in our spelling; None: nobody of this mail. By the tag alone it may be the only one of the mail,
    whose address was changed on the way, or nobody by name."""
    ours = _ours(matched)
    for name in (recipient.address, recipient.alias):
        if (address := ours.get(comparable(name))) is not None:
            return address
    if matched.matched_by != "verp":
        return None
    only = _only(matched)
    return only if only and len(report.recipients) == 1 else ""


def _complained(report: Report, matched: Matched) -> list[str]:
    """Most hosts black out who complained: then it is to whom the mail that came back was addressed, or the only recipient."""
    ours = _ours(matched)
    named = [*report.complained, first_address(report.returned.get("to", ""))]
    found = [ours[comparable(name)] for name in named if comparable(name) in ours]
    if found:
        return found[:1] if not report.complained else list(dict.fromkeys(found))
    return [_only(matched) or ""] if matched.matched_by == "verp" else []


def _ours(matched: Matched) -> dict[str, str]:
    assert matched.mail is not None
    return {comparable(recipient.address): recipient.address for recipient in matched.mail.recipients.all()}


def _only(matched: Matched) -> str | None:
    ours = list(_ours(matched).values())
    return ours[0] if len(ours) == 1 else None
