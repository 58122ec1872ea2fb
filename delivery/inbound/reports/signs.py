"""Whether a mail looks like a report, before anybody reads it as one: cheap, because it is asked of every mail."""

from collections.abc import Callable, Iterable

_SENDERS = (
    "mailer-daemon",
    "mailerdaemon",
    "postmaster",
    "mail delivery",
    "mail-daemon",
    "mail daemon",
    "mailbot-bounce",
)
_COMPLAINT = "complaint about message from "
_SIGNS: dict[str, Callable[[str], bool]] = {
    "content-type": lambda value: value[:16].lower() == "multipart/report",
    "from": lambda value: any(sender in value.lower() for sender in _SENDERS),
    "subject": lambda value: _COMPLAINT in value,
    "return-path": lambda value: value.strip() == "<>",
    "x-failed-recipients": bool,
    "x-ms-exchange-message-is-ndr": lambda value: True,
}
_HAVE_ENVELOPES = ("smtp", "sandbox")  # ways on which an empty envelope sender means the null sender


def may_report(
    envelope_sender: str, source: str, headers: Iterable[tuple[str, str]], has_bounce_tag: bool = False
) -> bool:
    """By its envelope (the null sender, RFC 5321 4.5.5; a tag where bounces go to) or by its header: a report (RFC 6522), a daemon's.

    Whatever people send is none by its header alone: they could hide a mail that way, or write of one that came back.
    """
    if has_bounce_tag or is_from_nobody(envelope_sender, source):
        return True
    return any(_SIGNS[small](value) for name, value in headers if (small := name.lower()) in _SIGNS)


def is_from_nobody(envelope_sender: str, source: str) -> bool:
    """Sent with the null sender. Mail from a webhook may come without an envelope."""
    return not envelope_sender and source in _HAVE_ENVELOPES
