"""Whether a mail looks like a report, before anybody reads it as one: cheap, because it is asked of every mail."""

from collections.abc import Iterable

_SENDERS = (
    "mailer-daemon",
    "mailerdaemon",
    "postmaster",
    "mail delivery",
    "mail-daemon",
    "mail daemon",
    "mailbot-bounce",
)
_SENDING = ("complaint about message from ",)
_HAVE_ENVELOPES = ("smtp", "sandbox")  # ways on which an empty envelope sender means the null sender


def may_report(
    envelope_sender: str, source: str, headers: Iterable[tuple[str, str]], has_bounce_tag: bool = False
) -> bool:
    """By its envelope (the null sender, RFC 5321 4.5.5; a tag where bounces go to) or by its header: a report (RFC 6522), a daemon's.

    Whatever people send is none by its header alone: they could hide a mail that way, or write of one that came back.
    """
    if has_bounce_tag or is_from_nobody(envelope_sender, source):
        return True
    for name, value in headers:
        match name.lower():
            case "content-type":
                if value[:16].lower() == "multipart/report":
                    return True
            case "from":
                small = value.lower()
                if any(sender in small for sender in _SENDERS):
                    return True
            case "subject":
                if any(words in value for words in _SENDING):
                    return True
            case "x-failed-recipients" | "x-ms-exchange-message-is-ndr":
                return True
            case "return-path":
                if value.strip() == "<>":
                    return True
            case _:
                pass
    return False


def is_from_nobody(envelope_sender: str, source: str) -> bool:
    """Sent with the null sender. Mail from a webhook may come without an envelope."""
    return not envelope_sender and source in _HAVE_ENVELOPES
