"""Filing mail into threads: the one place where messages come to be, in batches on the way in, one by one on the way out."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import chain
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from audit.record import Act, Entry, record_many
from inboxes.models import AddressRule, Inbox
from inboxes.rules import NO_RULES, Reason, Rules, Verdict
from inboxes.rules import decide as decide_by_lists
from inboxes.rules_in_force import find_rules, with_rules_flag
from inboxes.usage import Tally, add_to_usage
from mailbot.api.renderers import timestamp
from mailbot.lib.addresses import comparable
from mailbot.lib.bulk import bulk_insert, bulk_set, new_row
from mailbot.lib.clock import this_millisecond
from threads.address_tags import TaggedMail, find_tagged, read_tag
from threads.attachments import attachment_rows, kept
from threads.authenticity import NOT_CHECKED, Authenticity, Standing
from threads.automatic import MAX_VALUE, Sign, flags_of, signs_of
from threads.events import EventType, News, record_events
from threads.filters import SET_ASIDE
from threads.labels import BLOCKED, REPORT
from threads.matching import Decision, KnownMessage, ancestors, decide, number_of_recent
from threads.models import Attachment, Message, Thread
from threads.reading import MailContent, is_ours, message_id_digest
from threads.trust import Trust, judge
from threads.wakeups import wake_on_commit

REPEAT_WINDOW = timedelta(hours=24)
LATELY = timedelta(hours=1)  # in which nobody but machines exchanges many mails
MAX_PARTICIPANTS = 500


@dataclass(frozen=True, slots=True)
class Incoming:
    """One delivery for one inbox."""

    inbox_id: str
    content: MailContent
    raw_sha256: str
    size: int
    source_id: str
    tag: str = ""
    envelope_sender: str = ""
    remote_addr: str = ""
    source: str = "smtp"
    fidelity: str = "exact"  # of the raw mail: see delivery.fidelity
    authenticity: Authenticity = NOT_CHECKED
    report: "Reporting | None" = None


@dataclass(frozen=True, slots=True)
class Reporting:
    """A mail that reports on another one, as delivery found out. `thread_id`: beside that of the mail, which is in the same inbox; nothing
    where it is not known, and then it is filed as any mail is, with a flag."""

    thread_id: str
    explained: dict[str, Any]


@dataclass
class Desk:
    """What filing a batch needs to know, read in a fixed number of queries, and what it will write."""

    inboxes: dict[str, Inbox]
    known: dict[str, dict[str, KnownMessage]] = field(default_factory=dict)
    threads: dict[str, Thread] = field(default_factory=dict)
    rules: dict[str, Rules] = field(default_factory=dict)
    tagged: dict[tuple[str, str], TaggedMail] = field(default_factory=dict)
    by_raw: dict[tuple[str, str, bool], str] = field(default_factory=dict)
    new_threads: list[Thread] = field(default_factory=list)
    changed_threads: dict[str, Thread] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    repeats: dict[str, int] = field(default_factory=dict)
    news: list[News] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


def file_incoming(mails: Sequence[Incoming]) -> list[Message]:
    """File each mail into its inbox, in the order given, all in one transaction; the new messages.

    A delivery that the inbox had within 24 hours with the same bytes makes no message but counts on the first one. A mail for an
    inbox that is purged by now makes none either. A mail whose sender is blocked is kept as `rejected`, apart from the conversation. Takes
    the inboxes' locks in order of their ids, so that two workers cannot race for one thread and cannot wait for each other. The caller
    is within `attachments_kept` of the mails.
    """
    with transaction.atomic(savepoint=False):  # one that fails ends the caller's transaction too, and is meant to
        desk = _set_up(mails)
        for mail in mails:
            _file(desk, mail)
        _write(desk)
    return desk.messages


def attachments_kept(mails: Sequence[Incoming]) -> AbstractContextManager[None]:
    """The transaction to file them in: see `threads.attachments.kept`."""
    with_files = [mail for mail in mails if mail.content.parsed.attachments]
    inboxes = {mail.inbox_id for mail in with_files}
    accounts = dict(Inbox.objects.filter(pk__in=inboxes).values_list("pk", "account_id")) if inboxes else {}
    return kept(
        (accounts[mail.inbox_id], attachment.content)
        for mail in with_files
        if mail.inbox_id in accounts
        for attachment in mail.content.parsed.attachments
    )


def _set_up(mails: Sequence[Incoming]) -> Desk:
    addressed = (
        Inbox.objects.select_for_update(no_key=True).filter(pk__in={mail.inbox_id for mail in mails}).order_by("pk")
    )
    inboxes = list(with_rules_flag(addressed, AddressRule.Direction.RECEIVE))
    desk = Desk({inbox.pk: inbox for inbox in inboxes if inbox.purged_at is None})
    _look_up_rules(desk, mails, {inbox.pk for inbox in inboxes if inbox.has_rules})
    _look_up_ancestors(desk, mails)
    _look_up_repeats(desk, mails)
    return desk


def _look_up_rules(desk: Desk, mails: Sequence[Incoming], ruled: Collection[str]) -> None:
    """Asked only where there are any."""
    senders: dict[Inbox, list[str]] = defaultdict(list)
    for mail in mails:
        if mail.inbox_id in ruled and (inbox := desk.inboxes.get(mail.inbox_id)):
            senders[inbox] += [mail.content.parsed.sender.address, mail.envelope_sender]
    desk.rules = find_rules(AddressRule.Direction.RECEIVE, senders)


def _look_up_repeats(desk: Desk, mails: Sequence[Incoming]) -> None:
    wanted = {(mail.inbox_id, mail.raw_sha256) for mail in mails if mail.inbox_id in desk.inboxes}
    since = connection.ops.adapt_datetimefield_value(timezone.now() - REPEAT_WINDOW)
    ending = "WHERE created_at >= %s ORDER BY sequence DESC"
    rows = find_messages_by("raw_sha256", wanted, "id, inbox_id, raw_sha256, status", ending, since)
    rejected = Message.Status.REJECTED
    desk.by_raw = {(inbox_id, raw, status == rejected): message_id for message_id, inbox_id, raw, status in rows}


def _look_up_ancestors(desk: Desk, mails: Sequence[Incoming]) -> None:
    here = [mail for mail in mails if mail.inbox_id in desk.inboxes]
    wanted = {(mail.inbox_id, message_id_digest(name)) for mail in here for _, name in ancestors(mail.content.parsed)}
    # The same mail once more: our own that came back, or one that is signed (see _signs and _trust).
    own = {(mail.inbox_id, message_id_digest(name)) for mail in here if (name := _id_to_look_for(mail))}
    desk.known = {inbox_id: {} for inbox_id in desk.inboxes}
    desk.tagged = find_tagged({tag for mail in mails if mail.inbox_id in desk.inboxes and (tag := _tag_of(mail))})
    beside = {mail.report.thread_id for mail in mails if mail.report and mail.report.thread_id}
    if not (wanted or own or desk.tagged or beside):
        return
    # Where an id is there twice, what we sent wins over what came in, and the older over the newer: dict keeps the last one set.
    # What is set aside takes no part in any conversation: nobody gets into one by answering it.
    columns = "id, inbox_id, thread_id, direction, created_at >= %s, "
    ending = "WHERE status NOT IN ('rejected', 'report') ORDER BY direction, sequence DESC"
    since = connection.ops.adapt_datetimefield_value(timezone.now() - LATELY)
    found = find_messages_by("message_id_digest", wanted | own, columns + "message_id_digest", ending, since)
    # What a provider gave an id of its own is answered by that one.
    if unknown := wanted - {(inbox_id, digest) for _, inbox_id, _, _, _, digest in found}:
        ending = f"AND final_id_digest <> '' {ending}"
        found += find_messages_by("final_id_digest", unknown, columns + "final_id_digest", ending, since)
    for message_id, inbox_id, thread_id, direction, is_recent, digest in found:
        is_outbound = direction == Message.Direction.OUTBOUND
        desk.known[inbox_id][digest] = KnownMessage(message_id, thread_id, is_outbound, is_recent=bool(is_recent))
    answered = {message.thread_id for known in desk.known.values() for message in known.values()}
    threads = Thread.objects.filter(pk__in=answered | beside | {mail.thread_id for mail in desk.tagged.values()})
    desk.threads = {thread.pk: thread for thread in threads}


def _tag_of(mail: Incoming) -> tuple[str, str] | None:
    """(inbox, beginning of a digest) that the tag of the address names, when this server made it."""
    read = read_tag(mail.tag, mail.inbox_id) if mail.tag else None
    return (mail.inbox_id, read[1]) if read else None


def find_messages_by(
    column: str, wanted: Collection[tuple[str, str]], columns: str, ending: str, *parameters: Any
) -> list[Any]:
    """Messages by (inbox, value of `column`), each pair by itself in the index.

    Of two lists, as the ORM would ask, PostgreSQL reads all messages of all the inboxes: with 12,000 of them that took 14 ms, pairs 0.4.
    """
    if not wanted:
        return []
    pairs = ", ".join(["(%s, %s)"] * len(wanted))
    statement = (
        f"WITH wanted (inbox, value) AS (VALUES {pairs}) SELECT {columns} FROM wanted"  # noqa: S608 (our own text)
        f" JOIN threads_message ON inbox_id = wanted.inbox AND {column} = wanted.value {ending}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*chain.from_iterable(wanted), *parameters])
        return list(cursor.fetchall())


def _file(desk: Desk, mail: Incoming) -> None:
    inbox = desk.inboxes.get(mail.inbox_id)
    if inbox is None:
        return
    if mail.report and mail.report.thread_id in desk.threads:
        _file_report(desk, inbox, mail, mail.report)
        return
    sender = mail.content.parsed.sender.address
    verdict = decide_by_lists(desk.rules.get(inbox.pk, NO_RULES), sender, also=[mail.envelope_sender])
    same = (inbox.pk, mail.raw_sha256, verdict.is_blocked)  # a copy of what was rejected is news once the rule is gone
    if first := desk.by_raw.get(same):
        desk.repeats[first] = desk.repeats.get(first, 0) + 1
        return
    known, tagged, standing = desk.known[inbox.pk], _tagged_message(desk, mail), mail.authenticity.standing
    decision = decide(mail.content.parsed, known, desk.threads, inbox.address, standing, tagged)
    signs = _signs(inbox, mail, known)
    message = _incoming_message(inbox, mail, decision, verdict, _trust(desk, inbox, mail, decision), signs)
    about: dict[str, Any] = {"from": message.from_address, "subject": message.subject}
    if verdict.is_blocked:
        _set_aside(desk, inbox, message, decision)
        told = (EventType.MESSAGE_REJECTED, Act.MESSAGE_REJECTED, about | {"list": verdict.explained()})
    else:
        _enter_thread(desk, inbox, message, decision, mail.content.participants)
        if standing is Standing.VERIFIED:
            _note_verified(desk.threads[message.thread_id], message)
        told = (EventType.MESSAGE_RECEIVED, Act.MESSAGE_RECEIVED, about)
    desk.by_raw[same] = message.pk
    _note(desk, message, *told, mail.remote_addr or None)
    desk.attachments += attachment_rows(message, mail.content.parsed.attachments)


def _tagged_message(desk: Desk, mail: Incoming) -> KnownMessage | None:
    named = _tag_of(mail)
    found = desk.tagged.get(named) if named else None
    return KnownMessage(found.message_id, found.thread_id, outbound=True) if found else None


def _id_to_look_for(mail: Incoming) -> str:
    name = mail.content.parsed.message_id
    return name if is_ours(name) or mail.authenticity.dkim == "pass" else ""


def _signs(inbox: Inbox, mail: Incoming, known: Mapping[str, KnownMessage]) -> list[Sign]:
    """Of a machine, or of a loop. ESPs do not always tell the sender of the envelope: there an empty one says nothing."""
    parsed = mail.content.parsed
    sender = mail.envelope_sender or ("" if mail.source == "smtp" else None)
    signs = signs_of(parsed.headers, sender=sender, own_address=inbox.address, most_hops=settings.LOOP_HOPS)
    itself = known.get(message_id_digest(parsed.message_id)) if is_ours(parsed.message_id) else None
    if itself and itself.outbound:
        signs.append(Sign("came_back", "Message-ID", parsed.message_id[:MAX_VALUE]))
    most = settings.LOOP_OWN_MAILS
    if most and len(parsed.references) >= most and (number := number_of_recent(parsed, known)) >= most:
        signs.append(Sign("quick_exchange", "thread", str(number)))
    return signs


def _trust(desk: Desk, inbox: Inbox, mail: Incoming, decision: Decision) -> Trust:
    named = desk.threads.get(decision.thread_id or decision.suspect_thread)
    same = desk.known[inbox.pk].get(message_id_digest(mail.content.parsed.message_id))
    is_replay = mail.authenticity.dkim == "pass" and same is not None and not same.outbound
    return judge(inbox.address, mail.content, mail.authenticity, decision, named, is_replay=is_replay)


def _note_verified(thread: Thread, message: Message) -> None:
    """Its sender takes part by now; _enter_thread has set the thread down to be written."""
    sender, before = comparable(message.from_address), thread.verified_senders or []
    if sender not in before:
        thread.verified_senders = [*before, sender][-MAX_PARTICIPANTS:]


def _file_report(desk: Desk, inbox: Inbox, mail: Incoming, report: Reporting) -> None:
    """Beside the thread that it speaks of, which does not notice. What it says is told by events of the mail that it is about. No list
    is asked: nobody is reached by it."""
    same = (inbox.pk, mail.raw_sha256, False)
    if first := desk.by_raw.get(same):
        desk.repeats[first] = desk.repeats.get(first, 0) + 1
        return
    decision = Decision(report.thread_id, "report", matched_message=str(report.explained.get("message_id", "")))
    signs, trust = _signs(inbox, mail, desk.known[inbox.pk]), _trust(desk, inbox, mail, decision)
    message = _incoming_message(inbox, mail, decision, Verdict(Reason.NO_RULE, ""), trust, signs)
    message.status, message.labels = Message.Status.REPORT, [REPORT]
    _set_aside(desk, inbox, message, decision)
    desk.by_raw[same] = message.pk
    about = {"from": message.from_address, "subject": message.subject, **report.explained}
    desk.entries.append(
        Entry(Act.REPORT_RECEIVED, message, message.account_id, inbox.pk, about, mail.remote_addr or None)
    )
    desk.attachments += attachment_rows(message, mail.content.parsed.attachments)


def _incoming_message(
    inbox: Inbox, mail: Incoming, decision: Decision, verdict: Verdict, trust: Trust, signs: Sequence[Sign]
) -> Message:
    checks = {
        "envelope_sender": mail.envelope_sender,
        "degraded": mail.content.parsed.degraded,
        "authentication": mail.authenticity.explained(),
        "trust": trust.explained(),
    }
    lists = {"list": verdict.explained()} if verdict.is_decided else {}
    told = {"automatic": [sign.explained() for sign in signs]} if signs else {}
    return new_row(
        Message,
        **mail.content.columns(),
        account_id=inbox.account_id,
        inbox_id=inbox.pk,
        direction=Message.Direction.INBOUND,
        status=Message.Status.REJECTED if verdict.is_blocked else Message.Status.RECEIVED,
        labels=[BLOCKED] if verdict.is_blocked else [],
        flags=[*mail.content.flags(), *trust.flags, *flags_of(signs), *(["report"] if mail.report else [])],
        auth={**mail.authenticity.verdicts(), "score": trust.score},
        recipient_tag=mail.tag,
        explanation={
            "thread": decision.explained(),
            "checks": checks,
            "intake": {"source": mail.source, "raw": mail.fidelity},
            **lists,
            **told,
            **({"report": mail.report.explained} if mail.report else {}),
        },
        size=mail.size,
        raw_sha256=mail.raw_sha256,
        source_id=mail.source_id,
        created_at=this_millisecond(),
    )


def _set_aside(desk: Desk, inbox: Inbox, message: Message, decision: Decision) -> None:
    """Beside the thread it would be in, which does not notice: no count, no participant, no news. A thread of its own is not there for
    anybody while it counts no message."""
    thread = desk.threads[decision.thread_id] if decision.thread_id else _empty_thread(desk, inbox, message)
    message.thread_id = thread.pk
    _number(inbox, message)
    desk.messages.append(message)


def _number(inbox: Inbox, message: Message) -> None:
    inbox.message_count += 1  # ours while we hold the inbox's lock
    message.sequence = inbox.message_count


def _enter_thread(desk: Desk, inbox: Inbox, message: Message, decision: Decision, participants: Sequence[str]) -> None:
    """Put the message into the thread of the decision, or into a new one, and remember it for the mails behind it."""
    thread = desk.threads[decision.thread_id] if decision.thread_id else _new_thread(desk, inbox, message)
    message.thread_id = thread.pk
    _number(inbox, message)
    _count_in(desk, thread, message, participants)
    desk.messages.append(message)
    if message.message_id_digest:
        known = KnownMessage(message.pk, thread.pk, message.direction == Message.Direction.OUTBOUND)
        desk.known.setdefault(inbox.pk, {}).setdefault(message.message_id_digest, known)


def _count_in(desk: Desk, thread: Thread, message: Message, participants: Sequence[str]) -> None:
    thread.message_count += 1
    thread.last_message_at = message.created_at
    thread.preview = message.preview
    thread.participants = list(dict.fromkeys([*thread.participants, *participants]))[:MAX_PARTICIPANTS]
    desk.changed_threads[thread.pk] = thread


def _new_thread(desk: Desk, inbox: Inbox, message: Message) -> Thread:
    thread = _empty_thread(desk, inbox, message)
    _announce_thread(desk, inbox, thread)
    return thread


def _announce_thread(desk: Desk, inbox: Inbox, thread: Thread) -> None:
    inbox.thread_count += 1
    about = {"subject": thread.subject}
    desk.news.append(News(EventType.THREAD_CREATED, inbox.account_id, inbox.pk, thread.pk, data=about))


def _empty_thread(desk: Desk, inbox: Inbox, message: Message) -> Thread:
    thread = new_row(
        Thread,
        account_id=inbox.account_id,
        inbox_id=inbox.pk,
        subject=message.subject,
        last_message_at=message.created_at,
        created_at=message.created_at,
    )
    desk.threads[thread.pk] = thread
    desk.new_threads.append(thread)
    return thread


def _note(
    desk: Desk, message: Message, event: EventType, act: Act, about: dict[str, Any], remote_addr: str | None = None
) -> None:
    desk.news.append(News(event, message.account_id, message.inbox_id, message.thread_id, message.pk, data=about))
    desk.entries.append(Entry(act, message, message.account_id, message.inbox_id, about, remote_addr))


def _write(desk: Desk) -> None:
    """Everything in one statement a table; counters once per inbox and thread."""
    created = {thread.pk for thread in desk.new_threads}
    bulk_insert(desk.new_threads)
    changed = [thread for thread in desk.changed_threads.values() if thread.pk not in created]
    bulk_set(changed, "message_count", "last_message_at", "preview", "participants", "verified_senders")
    bulk_insert(desk.messages)
    bulk_insert(desk.attachments)
    for message_id, times in desk.repeats.items():
        Message.objects.filter(pk=message_id).update(repeat_count=F("repeat_count") + times)
    if desk.repeats:
        _record_repeats(desk)
    record_events(desk.news)
    record_many(desk.entries)
    filed_in = {message.inbox_id for message in desk.messages}
    _count(desk)
    counters = ("message_count", "thread_count", "message_octets", "attachment_octets")
    bulk_set([desk.inboxes[inbox_id] for inbox_id in filed_in], *counters)
    wake_on_commit({message.inbox_id for message in desk.messages if message.status not in SET_ASIDE})


def _count(desk: Desk) -> None:
    """What the inboxes hold, and what they took in and sent that day."""
    tallies: dict[tuple[str, date], Tally] = {}
    for message in desk.messages:
        inbox, day = desk.inboxes[message.inbox_id], message.created_at.date()
        inbox.message_octets += message.size
        tally = tallies.setdefault((inbox.pk, day), Tally(inbox.account_id, inbox.pk, inbox.mode, day))
        tally.octets += message.size
        if message.direction == Message.Direction.INBOUND:
            tally.received += 1
        else:
            tally.sent += 1
            tally.recipients += sum(item["status"] != Message.Status.BLOCKED for item in message.recipients)
    for attachment in desk.attachments:
        desk.inboxes[attachment.message.inbox_id].attachment_octets += attachment.size
    add_to_usage(tallies.values())


def _record_repeats(desk: Desk) -> None:
    for message in Message.objects.filter(pk__in=desk.repeats).only("subject", "account_id", "inbox_id"):
        about = {"times": desk.repeats[message.pk]}
        desk.entries.append(Entry(Act.MESSAGE_REPEATED, message, message.account_id, message.inbox_id, about))


def file_outgoing(inbox: Inbox, message: Message, attachments: Iterable[Attachment], parent: Message | None) -> Message:
    """File a mail written here: into the thread of `parent`, or into a new one. Call it in the transaction that queues it, which is
    `threads.attachments.kept`.
    """
    inbox = Inbox.objects.select_for_update(no_key=True).get(pk=inbox.pk)
    desk = Desk({inbox.pk: inbox})
    decision = Decision(None, "composed")
    if parent is not None:
        desk.threads[parent.thread_id] = Thread.objects.get(pk=parent.thread_id)
        decision = Decision(parent.thread_id, "reply_by_api", "In-Reply-To", parent.message_id_header, parent.pk)
    message.explanation = {"thread": decision.explained(), "checks": {}}
    people = [message.from_address, *(item["address"] for item in [*message.to, *message.cc, *message.bcc])]
    _enter_thread(desk, inbox, message, decision, people)
    desk.attachments = list(attachments)
    about = {"to": [item["address"] for item in message.to], "subject": message.subject}
    _note(desk, message, EventType.MESSAGE_QUEUED, Act.MESSAGE_QUEUED, about)
    _write(desk)
    return message


def complete_outgoing(message: Message, attachments: Sequence[Attachment], size: int) -> None:
    """Add files that were fetched for a mail written here, which now has `size` octets. Call it in the transaction that queues it,
    which is `threads.attachments.kept`."""
    inbox = Inbox.objects.select_for_update(no_key=True).get(pk=message.inbox_id)
    bulk_insert(attachments)
    more = size - message.size
    Message.objects.filter(pk=message.pk).update(size=size, attachment_count=F("attachment_count") + len(attachments))
    Inbox.objects.filter(pk=inbox.pk).update(
        message_octets=F("message_octets") + more,
        attachment_octets=F("attachment_octets") + sum(attachment.size for attachment in attachments),
    )
    add_to_usage([Tally(inbox.account_id, inbox.pk, inbox.mode, message.created_at.date(), octets=more)])


@transaction.atomic
def accept_rejected(message: Message, reason: str) -> bool:
    """Make a mail that a list set aside a part of its conversation, as if it came now; False when it is rejected no more.

    It gets a new number and time, so that whoever reads or waits behind the last message does not miss it.
    """
    inbox = Inbox.objects.select_for_update(no_key=True).get(pk=message.inbox_id)
    rejected = Message.objects.filter(pk=message.pk, status=Message.Status.REJECTED).select_related("thread").first()
    if rejected is None:
        return False
    desk = Desk({inbox.pk: inbox})
    if not rejected.thread.message_count:
        _announce_thread(desk, inbox, rejected.thread)
    _make_received(inbox, rejected, reason)
    people = [{"address": rejected.from_address}, *rejected.reply_to, *rejected.to, *rejected.cc]
    participants = [comparable(person["address"]) for person in people if person["address"]]
    _count_in(desk, rejected.thread, rejected, participants)
    about = {"from": rejected.from_address, "subject": rejected.subject}
    _note(desk, rejected, EventType.MESSAGE_RECEIVED, Act.MESSAGE_ACCEPTED, about | {"reason": reason})
    _write(desk)
    inbox.save(update_fields=["message_count", "thread_count"])
    wake_on_commit({inbox.pk})
    return True


def _make_received(inbox: Inbox, message: Message, reason: str) -> None:
    accepted = {"reason": reason, "rejected_at": timestamp(message.created_at)}
    message.status = Message.Status.RECEIVED
    message.labels = [label for label in message.labels if label != BLOCKED]
    message.explanation = {**message.explanation, "accepted": accepted}
    message.created_at = this_millisecond()
    _number(inbox, message)
    message.save(update_fields=["status", "labels", "explanation", "created_at", "sequence"])


def note_final_message_ids(finals: Mapping[str, str]) -> None:
    """A provider gave these mails of ours another Message-ID, by the message's id: answers name that one."""
    rows = [new_row(Message, id=pk, final_id_digest=final_id_digest(final)) for pk, final in sorted(finals.items())]
    bulk_set(rows, "final_id_digest")


def final_id_digest(final: str) -> str:
    """What such a Message-ID is found by; nothing for none. Some providers tell it without its brackets."""
    return message_id_digest(final if final.startswith("<") or not final else f"<{final}>")
