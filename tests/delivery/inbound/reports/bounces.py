"""Reports as servers write them, about a mail of a test."""

from typing import Any

DAEMON = "Mail Delivery System <MAILER-DAEMON@mx.example.net>"


def bounce(
    recipient: str,
    *,
    message_id: str = "",
    said: str = "550 5.1.1 user unknown",
    action: str = "failed",
    status: str = "5.1.1",
    sender: str = DAEMON,
) -> bytes:
    """A report by RFC 3464; `message_id` is that of the mail that comes back, nothing: only a few words come back."""
    returned = f"Message-ID: {message_id}\r\nSubject: Hello\r\n" if message_id else "Subject: Hello\r\n"
    return _multipart(
        "report; report-type=delivery-status",
        sender,
        "Content-Type: text/plain\r\n\r\nYour mail could not be delivered.\r\n",
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Remote-MTA: dns; mx.example.org\r\nDiagnostic-Code: smtp; {said}\r\n",
        f"Content-Type: message/rfc822\r\n\r\nFrom: us@example.com\r\nTo: {recipient}\r\n{returned}\r\nHello\r\n",
    )


def complaint(recipient: str = "", *, message_id: str = "", to: str = "") -> bytes:
    """By RFC 5965. Most hosts black out the recipient."""
    named = f"Original-Rcpt-To: {recipient}\r\n" if recipient else ""
    return _multipart(
        "report; report-type=feedback-report",
        "Feedback <feedback@mailbox.example>",
        "Content-Type: text/plain\r\n\r\nThis is an email abuse report.\r\n",
        f"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\n{named}",
        f"Content-Type: message/rfc822\r\n\r\nFrom: us@example.com\r\nTo: {to or 'redacted'}\r\n"
        f"Message-ID: {message_id}\r\nSubject: Hello\r\n\r\nHello\r\n",
    )


def words(recipient: str) -> bytes:
    """Of a server that sends nothing of the mail back."""
    text = f"Hi. This is the qmail-send program at mx.example.net.\n\n<{recipient}>:\nSorry, no mailbox here by that name. (#5.1.1)\n"
    head = f"From: {DAEMON}\nSubject: failure notice\nDate: Thu, 26 Nov 2026 10:00:00 +0000\n\n"
    return (head + text).replace("\n", "\r\n").encode()


def away(sender: str, **headers: Any) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"From: {sender}\r\nSubject: Automatic reply: Hello\r\nAuto-Submitted: auto-replied\r\n{more}"
        "Message-ID: <away@example.org>\r\n\r\nI am out of the office.\r\n"
    ).encode()


def _multipart(kind: str, sender: str, *parts: str) -> bytes:
    head = (
        f"From: {sender}\r\nSubject: Undelivered\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/{kind}; boundary="b1"\r\n\r\n'
    )
    return (head + "".join(f"--b1\r\n{part}\r\n" for part in parts) + "--b1--\r\n").encode()
