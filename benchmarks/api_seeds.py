"""The mail that `benchmarks.api` fills its databases with: conversations of five mails, as customers write them.

Runs in Django, in a process of its own: every mail is stored and filed as any other is.
"""

from email.message import EmailMessage

from benchmarks.lab import INBOXES
from delivery.inbound.process import process_inbound
from delivery.inbound.receive import InboundRecipient, Outcome, ReceivedMail, store_inbound_mail
from inboxes.models import Account, Inbox

LENGTH = 5  # mails in a conversation
WITH_A_FILE = 10  # every so many mails
WITH_THE_WORD = 10  # every so many conversations are about an invoice
HOST = "mailbot.localhost"
_WORDS = "order delivery question answer account address parcel number price month contract service".split()


def prepare(*, mails: int, others: int) -> None:
    """An account, the inboxes bench0 to bench19 and `others` more; so many mails are in bench0."""
    account = Account.objects.create(name="benchmark")
    names = [f"bench{number}" for number in range(INBOXES)] + [f"other{number}" for number in range(others)]
    inboxes = [
        Inbox(account=account, mode="test", address=f"{name}@{HOST}", local_part=name, domain=HOST) for name in names
    ]
    Inbox.objects.bulk_create(inboxes, batch_size=500)
    recipients = (InboundRecipient(inboxes[0].address, "", inboxes[0].pk),)
    for number in range(mails):
        received = ReceivedMail("smtp", f"seed{number}", "customer@example.com", recipients, mail(number))
        assert store_inbound_mail([received]) == [Outcome.STORED]
        while process_inbound():
            pass


def mail(number: int) -> bytes:
    """About 3 kB: two bodies, in every tenth a file."""
    conversation, place = divmod(number, LENGTH)
    topic = "Invoice" if conversation % WITH_THE_WORD == 0 else "Question"
    message = EmailMessage()
    message["From"] = f"Customer {conversation} <customer{conversation}@example.com>"
    message["To"] = f"bench0@{HOST}"
    message["Subject"] = f"{'Re: ' if place else ''}{topic} {conversation}"
    message["Message-ID"] = _message_id(conversation, place)
    if place:
        message["In-Reply-To"] = _message_id(conversation, place - 1)
        message["References"] = " ".join(_message_id(conversation, earlier) for earlier in range(place))
    text = "\n".join(f"Line {line} on {_words(number + line)}." for line in range(20)) + "\n"
    message.set_content(text)
    message.add_alternative(f"<html><body><p>{text}</p></body></html>", subtype="html")
    if number % WITH_A_FILE == 0:
        message.add_attachment(text.encode(), maintype="application", subtype="pdf", filename=f"file{number}.pdf")
    return message.as_bytes().replace(b"\n", b"\r\n")


def _message_id(conversation: int, place: int) -> str:
    return f"<{conversation}.{place}@example.com>"


def _words(first: int) -> str:
    return " ".join(_WORDS[(first * step) % len(_WORDS)] for step in (1, 3, 5, 7))
