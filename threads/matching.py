"""Which thread a mail belongs to. Only ids count, and only those of the inbox that it was addressed to.

RFC 5322 3.6.4: In-Reply-To names the parent, References the line of ancestors. The subject alone never joins two mails: strangers
write "Invoice" too. A known id alone is not enough either: whoever has seen one could push a mail into a conversation that he
takes no part in, so the sender must be one of its participants. And a participant's address is easily written into From: mail of which his
domain says that it is not his, and mail that nobody vouches for where his mail was vouched for before, stays outside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailbot.lib.addresses import comparable
from threads.authenticity import Standing
from threads.mime import ParsedMail
from threads.models import Thread
from threads.reading import message_id_digest

MAX_ANCESTORS = 30  # looked up per mail: the nearest ones, and the root


@dataclass(frozen=True, slots=True)
class KnownMessage:
    """A message that the inbox has, as far as matching needs it. `is_recent`: of the last hour."""

    id: str
    thread_id: str
    outbound: bool
    is_recent: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`thread_id` None: a new thread. The rest says why, for people (`…/explain`)."""

    thread_id: str | None
    rule: str
    matched_header: str = ""
    matched_id: str = ""
    matched_message: str = ""
    suspect_thread: str = ""

    @property
    def is_suspect(self) -> bool:
        return bool(self.suspect_thread)

    def explained(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "reason": REASONS[self.rule],
            "matched_header": self.matched_header,
            "matched_message_id_header": self.matched_id,
            "matched_message": self.matched_message,
            "suspect_thread": self.suspect_thread,
        }


REASONS = {
    "report": "It reports on a message of this thread. It is kept beside it and is no part of the conversation.",
    "reply": "Its In-Reply-To or References name a message of this inbox, and the sender takes part in that thread.",
    "no_ancestors": "It names no earlier message, so it begins a thread of its own. The subject alone never joins threads.",
    "reply_by_tag": "The tag of the address that it came to is of a message of this inbox, and the sender takes part in that thread.",
    "unknown_ancestors": "The messages that it names are not in this inbox, so it begins a thread of its own.",
    "sender_takes_no_part": (
        "It names a message of this inbox, but its sender takes no part in that thread: it begins a thread of its own,"
        " flagged thread_suspect."
    ),
    "sender_fails_dmarc": (
        "It names a message of this inbox and comes under the address of a participant, but his domain does not vouch for it (DMARC fail):"
        " it begins a thread of its own, flagged thread_suspect."
    ),
    "sender_no_longer_verified": (
        "It names a message of this inbox and comes under the address of a participant whose mail in that thread was authenticated,"
        " and this one is not: it begins a thread of its own, flagged thread_suspect."
    ),
    "composed": "It was written here as a new mail.",
    "reply_by_api": "It was written here as a reply to a message of this thread.",
}


def ancestors(parsed: ParsedMail) -> list[tuple[str, str]]:
    """(header, Message-ID) of the mails it answers, nearest first, without its own id (a loop) and without doubles."""
    named = [("In-Reply-To", name) for name in parsed.in_reply_to]
    named += [("References", name) for name in reversed(parsed.references)]
    first_mention = {name: header for header, name in reversed(named) if name != parsed.message_id}
    ordered = [(header, name) for header, name in named if first_mention.get(name) == header]
    unique = list(dict.fromkeys(ordered))
    return unique if len(unique) <= MAX_ANCESTORS else [*unique[: MAX_ANCESTORS - 1], unique[-1]]


def number_of_recent(parsed: ParsedMail, known: Mapping[str, KnownMessage]) -> int:
    """How many of its ancestors we sent within the last hour."""
    named = (known.get(message_id_digest(name)) for name in {name for _, name in ancestors(parsed)})
    return sum(1 for message in named if message and message.outbound and message.is_recent)


def decide(
    parsed: ParsedMail,
    known: Mapping[str, KnownMessage],
    threads: Mapping[str, Thread],
    own_address: str,
    standing: Standing = Standing.UNVERIFIED,
    tagged: KnownMessage | None = None,
) -> Decision:
    """`known`: this inbox's messages by the digest of their Message-ID. `threads`: theirs, by id. `tagged`: the message that the tag of the
    address names, for a mail that names none that is known: whoever has the mail has its tag, so it proves no more than a Message-ID does.

    The inbox itself takes part in nearly every thread, but what comes in under its own name was not written here.
    """
    named = ancestors(parsed)
    if tagged and not any(message_id_digest(name) in known for _, name in named):
        takes_part = comparable(parsed.sender.address) in threads[tagged.thread_id].participants
        if takes_part and comparable(parsed.sender.address) != own_address:
            return Decision(tagged.thread_id, "reply_by_tag", "address tag", "", tagged.id)
    if not named:
        return Decision(None, "no_ancestors")
    for header, name in named:
        if parent := known.get(message_id_digest(name)):
            sender = comparable(parsed.sender.address)
            if why_not := _why_not(sender, threads[parent.thread_id], own_address, standing):
                return Decision(None, why_not, header, name, parent.id, suspect_thread=parent.thread_id)
            return Decision(parent.thread_id, "reply", header, name, parent.id)
    return Decision(None, "unknown_ancestors")


def _why_not(sender: str, thread: Thread, own_address: str, standing: Standing) -> str:
    """Why mail in this name does not get into the thread; empty if it does.

    That DNS does not answer keeps nobody out: a failure would tear all conversations apart.
    """
    if sender == own_address or sender not in thread.participants:
        return "sender_takes_no_part"
    if standing in (Standing.FORGED, Standing.DISPUTED):
        return "sender_fails_dmarc"
    was_verified = sender in (thread.verified_senders or ())
    return "sender_no_longer_verified" if was_verified and standing is Standing.UNVERIFIED else ""
