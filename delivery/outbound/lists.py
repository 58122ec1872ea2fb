"""Whom the lists let an inbox write to: asked when a mail is queued, and again when it is handed over, which may be days later."""

from collections.abc import Collection

from inboxes.models import Inbox
from inboxes.rules import Direction, Verdict, decide, decide_answer
from inboxes.rules_in_force import rules_of
from mailbot.lib.addresses import comparable
from threads.models import Message


def refused_recipients(
    inbox: Inbox, addresses: Collection[str], parent: Message | None
) -> dict[str, tuple[Direction, Verdict]]:
    """By address, whose lists refuse it and why; empty when the mail may go. `parent` is the message that is answered or forwarded.

    The lists for replies are asked first, of those whom `parent` names; where they say nothing, and of everybody else, the lists for
    sending. So who may answer anybody still writes to no stranger by putting him into Cc.
    """
    named = people_of(parent) if parent else frozenset()
    answered = {address for address in addresses if comparable(address) in named}
    send = rules_of(Direction.SEND, inbox, addresses)
    reply = rules_of(Direction.REPLY, inbox, answered)
    judged = {
        address: decide_answer(reply, send, address) if address in answered else (Direction.SEND, decide(send, address))
        for address in addresses
    }
    return {address: told for address, told in judged.items() if told[1].is_blocked}


def people_of(message: Message) -> frozenset[str]:
    """Everybody whom a message names, in comparable form: whom an answer to it may go to."""
    people = [message.from_address, *(item["address"] for item in [*message.reply_to, *message.to, *message.cc])]
    return frozenset(map(comparable, people))
