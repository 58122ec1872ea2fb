"""Which mail of ours a report speaks of, always inside the inbox that the report came to.

1. The tag of the address that it came to (`verp`): this server made it for this mail.
2. A Message-ID in the report (`message_id`), ours or the one that a provider gave, if the report is about a recipient of that mail:
   whoever has seen a mail knows its Message-ID, and must not be able to close other addresses with it.
3. Without either, the last mail to the failing recipient (`recipient`): enough to know where the report belongs, too little to act on it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from delivery.inbound.reports.report import Kind, Report
from delivery.models import OutboundMail, Recipient
from mailbot.lib.addresses import comparable
from threads.address_tags import Tag, find_tagged, read_tag
from threads.conversation import final_id_digest, find_messages_by
from threads.models import Message
from threads.reading import message_id_digest

RECENT = timedelta(days=7)
MAX_RECENT = 200


@dataclass(frozen=True, slots=True)
class Arrived:
    """A mail that may report, for one inbox. `report` None: nothing could be read. `is_from_nobody`: it came with the null sender."""

    key: tuple[str, str]  # (id of the InboundMail, id of the inbox)
    inbox_id: str
    tag: str
    report: Report | None
    is_from_nobody: bool

    @property
    def bounce_digest(self) -> str:
        read = read_tag(self.tag, self.inbox_id) if self.tag else None
        return read[1] if read and read[0] is Tag.BOUNCE else ""

    @property
    def is_report(self) -> bool:
        """Answers of programs are mail like other answers."""
        if self.report:
            return self.report.kind is not Kind.AUTO_REPLY
        return bool(self.is_from_nobody and self.bounce_digest)


@dataclass(frozen=True, slots=True)
class Matched:
    """`mail` None: no mail of this inbox is known. `matched_by`: verp, message_id, recipient, or nothing.

    `counts`: sure enough to act on."""

    mail: OutboundMail | None = None
    matched_by: str = ""

    @property
    def counts(self) -> bool:
        return self.mail is not None and self.matched_by in ("verp", "message_id")


def match_reports(arrived: Sequence[Arrived]) -> dict[tuple[str, str], Matched]:
    """In a fixed number of queries. The mails that are found are locked: call it in the transaction, before any inbox is locked."""
    reports = [each for each in arrived if each.is_report]
    if not reports:
        return {}
    by_tag = find_tagged({(each.inbox_id, each.bounce_digest) for each in reports if each.bounce_digest})
    by_id = _by_message_id(reports)
    named = {each.key: _named(each, by_tag, by_id) for each in reports}
    recent = _by_recipient([each for each in reports if not named[each.key]])
    wanted = {message_id for found in named.values() for message_id in found.values()} | set(recent.values())
    mails = _locked(wanted)
    return {each.key: _best(each, named[each.key], recent, mails) for each in reports}


def _named(each: Arrived, by_tag: dict[Any, Any], by_id: dict[tuple[str, str], str]) -> dict[str, str]:
    """Ids of messages by how they were found."""
    found = {}
    if each.bounce_digest and (tagged := by_tag.get((each.inbox_id, each.bounce_digest))):
        found["verp"] = tagged.message_id
    ids = [by_id[named] for named in _digests(each) if named in by_id]
    if ids:
        found["message_id"] = ids[0]
    return found


def _digests(each: Arrived) -> list[tuple[str, str]]:
    ids = each.report.message_ids if each.report else ()
    return [(each.inbox_id, digest) for name in ids for digest in (message_id_digest(name), final_id_digest(name))]


def _by_message_id(reports: Iterable[Arrived]) -> dict[tuple[str, str], str]:
    wanted = {named for each in reports for named in _digests(each)}
    columns = "inbox_id, {}, id"
    ours = "WHERE direction = 'outbound' ORDER BY sequence DESC"
    found = find_messages_by("message_id_digest", wanted, columns.format("message_id_digest"), ours)
    if missing := wanted - {(inbox_id, digest) for inbox_id, digest, _ in found}:
        theirs = f"AND final_id_digest <> '' {ours}"
        found += find_messages_by("final_id_digest", missing, columns.format("final_id_digest"), theirs)
    return {(inbox_id, digest): message_id for inbox_id, digest, message_id in found}


def _by_recipient(reports: Sequence[Arrived]) -> dict[tuple[str, str], str]:
    """(inbox, address) → the last message that went there lately."""
    wanted = {(each.inbox_id, address) for each in reports for address in addresses_in(each.report)}
    if not wanted:
        return {}
    rows = (
        Recipient.objects.filter(
            mail__inbox_id__in={inbox_id for inbox_id, _ in wanted},
            mail__created_at__gt=timezone.now() - RECENT,
            address__in={address for _, address in wanted},
        )
        .order_by("-mail_id")
        .values_list("mail__inbox_id", "address", "mail__message_id")[:MAX_RECENT]
    )
    return {(inbox_id, comparable(address)): message_id for inbox_id, address, message_id in reversed(rows)}


def _locked(message_ids: set[str]) -> dict[str, OutboundMail]:
    if not message_ids:
        return {}
    mails = OutboundMail.objects.select_for_update(no_key=True, of=("self",)).filter(message_id__in=message_ids)
    found = list(mails.defer("raw").order_by("pk").prefetch_related("recipients"))
    messages = Message.objects.only("account_id", "inbox_id", "thread_id").in_bulk({mail.message_id for mail in found})
    for mail in found:
        mail.message = messages[mail.message_id]
    return {mail.message_id: mail for mail in found}


def _best(
    each: Arrived, named: dict[str, str], recent: dict[tuple[str, str], str], mails: dict[str, OutboundMail]
) -> Matched:
    if mail := mails.get(named.get("verp", "")):
        return Matched(mail, "verp")
    if mail := mails.get(named.get("message_id", "")):
        return Matched(mail, "message_id")
    for address in addresses_in(each.report):
        if mail := mails.get(recent.get((each.inbox_id, address), "")):
            return Matched(mail, "recipient")
    return Matched()


def addresses_in(report: Report | None) -> list[str]:
    """Whom the report is about, as addresses are compared."""
    if report is None:
        return []
    told = [name for one in report.recipients for name in (one.address, one.alias) if "@" in name]
    return list(dict.fromkeys(comparable(name) for name in [*told, *report.complained]))
