"""Times the ways to parse one ordinary mail, side by side in one process: `python -m benchmarks.parsing [path.eml]`.

Prints the median of five rounds in milliseconds a mail and the ratio to ours. Each way ends with the same things in
hand: subject, addresses, date, references, both bodies decoded, all headers. A generated mail of about 5 kB is taken
when no path is given; `fast-mail-parser` is timed when it is installed.
"""

from __future__ import annotations

import email
import email.policy
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from email.utils import getaddresses, parsedate_to_datetime
from importlib import import_module
from pathlib import Path
from statistics import median

from threads.mime import parse_mail

ROUNDS = 5
SECONDS_A_ROUND = 0.4


def ordinary_mail() -> bytes:
    """About 5 kB of multipart/alternative with the headers that a mail has after three hops."""
    mail = EmailMessage()
    for hop in range(3):
        mail["Received"] = (
            f"from mx{hop}.example.org (mx{hop}.example.org [192.0.2.{hop}]) by mx.example.com with ESMTPS"
        )
    mail["From"], mail["To"] = "Ann Example <ann@example.org>", '"Bob, the second" <bob@example.com>, carl@example.com'
    mail["Subject"] = "Grüße, and an ordinary subject"
    mail["Date"] = "Mon, 03 Feb 2025 11:00:00 +0100"
    mail["Message-ID"], mail["In-Reply-To"] = "<three@example.org>", "<two@example.com>"
    mail["References"] = "<one@example.org> <two@example.com>"
    for number in range(8):
        mail[f"X-Header-{number}"] = f"an ordinary value of an ordinary header, number {number}"
    mail.set_content("An ordinary line of an ordinary mail, with some words.\n" * 30)
    mail.add_alternative("<p>An ordinary line of an ordinary mail, with s&ouml;me words.</p>\n" * 30, subtype="html")
    return mail.as_bytes(policy=email.policy.SMTP)


def with_policy_default(raw: bytes) -> object:
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    text, page = mail.get_body(("plain",)), mail.get_body(("html",))
    bodies = [part.get_content() for part in (text, page) if part]
    addresses = [mail[name].addresses for name in ("From", "To")]
    return str(mail["Subject"]), addresses, mail["Date"].datetime, mail["References"], list(mail.items()), bodies


def with_compat32(raw: bytes) -> object:
    mail = email.message_from_bytes(raw)
    headers = [(name, _decoded(value)) for name, value in mail.items()]
    addresses = getaddresses(mail.get_all("From", []) + mail.get_all("To", []))
    bodies = [_body(part) for part in mail.walk() if part.get_content_maintype() == "text"]
    return addresses, parsedate_to_datetime(mail["Date"]), mail["References"].split(), headers, bodies


def _decoded(value: str) -> str:
    return str(make_header(decode_header(value))) if "=?" in value else value


def _body(part: Message) -> str:
    content = part.get_payload(decode=True)
    return content.decode(part.get_content_charset("utf-8")) if isinstance(content, bytes) else ""


def contenders() -> dict[str, Callable[[bytes], object]]:
    found: dict[str, Callable[[bytes], object]] = {
        "ours": parse_mail,
        "compat32": with_compat32,
        "policy.default": with_policy_default,
    }
    with suppress(ImportError):
        found["fast-mail-parser (Rust)"] = import_module("fast_mail_parser").parse_email
    return found


def milliseconds(parse: Callable[[bytes], object], raw: bytes) -> float:
    """Of one mail, on average over one round."""
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < SECONDS_A_ROUND:
        parse(raw)
        count += 1
    return 1000 * spent / count


def main() -> None:
    raw = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else ordinary_mail()
    parsers = contenders()
    # Rounds go through all contenders in turn, so that a slow moment of the machine hits each of them.
    rounds = [{name: milliseconds(parse, raw) for name, parse in parsers.items()} for _ in range(ROUNDS)]
    figures = {name: median(one[name] for one in rounds) for name in parsers}
    print(f"{len(raw)} bytes; Python {sys.version.split()[0]}")
    for name, figure in figures.items():
        print(f"{name:26}{figure:8.3f} ms{figure / figures['ours']:8.1f} x")


if __name__ == "__main__":
    main()
