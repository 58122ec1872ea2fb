"""What kind of mail an inbox sends, told from what it sent lately: receivers ask more of bulk than of answers."""

import re
from collections import Counter
from collections.abc import Collection
from enum import StrEnum

from inboxes.models import Inbox
from threads.models import Message

LOOKED_AT = 100  # mails that were sent
AMONG = 500  # the last messages of each inbox, either way
MANY_RECIPIENTS = 10  # on average
ALIKE = 20  # so many mails, most of them with one subject, are one mail to many
_NUMBERS = re.compile(r"\d+")


class ContentClass(StrEnum):
    NONE = "none"  # it sent nothing lately
    CONVERSATION = "conversation"  # mostly answers
    TRANSACTIONAL = "transactional"
    BULK = "bulk"


def content_class(inboxes: Collection[Inbox]) -> ContentClass:
    """One query for each inbox, by index, however much they hold."""
    mails: list[tuple[str, str, int]] = []
    for inbox in inboxes:
        recent = Message.objects.filter(inbox=inbox, sequence__gt=inbox.message_count - AMONG)
        sent = recent.filter(direction=Message.Direction.OUTBOUND).order_by("-sequence")
        rows = sent.values_list("in_reply_to", "subject", "recipients")[:LOOKED_AT]
        mails += [(in_reply_to, subject, len(recipients)) for in_reply_to, subject, recipients in rows]
    return _class_of(mails)


def _class_of(mails: Collection[tuple[str, str, int]]) -> ContentClass:
    """`mails`: (In-Reply-To, subject, number of recipients)."""
    if not mails:
        return ContentClass.NONE
    if sum(1 for in_reply_to, _, _ in mails if in_reply_to) * 2 >= len(mails):
        return ContentClass.CONVERSATION
    subjects = Counter(_NUMBERS.sub("#", subject.strip().lower()) for _, subject, _ in mails)
    is_one_mail = len(mails) >= ALIKE and max(subjects.values()) * 2 > len(mails)
    is_to_many = sum(number for _, _, number in mails) >= MANY_RECIPIENTS * len(mails)
    return ContentClass.BULK if is_one_mail or is_to_many else ContentClass.TRANSACTIONAL
