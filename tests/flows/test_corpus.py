"""Mail that nobody here wrote, sent over SMTP: every file is accepted, filed, shown, and given back byte for byte."""

import hashlib
import logging
import re
import smtplib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mailbot.demo.story import eventually
from tests.threads.corpus import CORPUS, corpus_files, needs_corpus

pytestmark = [pytest.mark.flows, pytest.mark.one_profile]

FOLDERS = ("stalwart/legacy", "stalwart/rfc", "mikel", "bounces", "reply_quoting")
NOT_MAIL = re.compile(r"LICENSE|COPYING|README|\.gitignore|\.(?:json|html|talon|md)$|[-.]LICENSE")
CONNECTIONS = 4


def corpus_mail() -> list[bytes]:
    files = [path for path in corpus_files(*FOLDERS) if not NOT_MAIL.search(path.name)]
    return [path.read_bytes() for path in files]


def on_the_wire(content: bytes) -> bytes:
    """What is received for a file: itself, with the CRLF that the end of data needs before it."""
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def stuffed(mail: bytes) -> bytes:
    """RFC 5321 4.5.2: a dot at the beginning of a line is doubled, and only CRLF ends a line."""
    return re.sub(rb"(\A|(?<=\r\n))\.", b"..", mail)


def send_all(mails: list[bytes], smtp_address: str, recipient: str) -> list[int]:
    """One connection; the reply code to each mail."""
    host, port = smtp_address.split(":")
    with smtplib.SMTP(host, int(port), timeout=30) as smtp:
        smtp.ehlo()
        return [send_one(smtp, mail, recipient) for mail in mails]


def send_one(smtp: smtplib.SMTP, mail: bytes, recipient: str) -> int:
    """smtplib's own `data` would change line ends."""
    smtp.mail("sender@shop.example")
    smtp.rcpt(recipient)
    assert smtp.docmd("DATA")[0] == 354
    smtp.send(stuffed(mail) + b".\r\n")
    return smtp.getreply()[0]


class Reader:
    """Reads everything that an inbox shows, and counts the answers by status."""

    def __init__(self, server: Any) -> None:
        self.http = httpx.Client(
            base_url=f"{server.url}/v1", headers={"Authorization": f"Bearer {server.api_key}"}, timeout=30, verify=False
        )
        self.statuses: Counter[int] = Counter()

    def get(self, path: str, **query: Any) -> httpx.Response:
        response = self.http.get(path, params=query)
        self.statuses[response.status_code] += 1
        return response

    def every_page(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        while query.get("cursor", "") is not None:
            page = self.get(path, limit=100, **query).json()
            yield from page["data"]
            query["cursor"] = page["meta"]["next_cursor"]


@pytest.fixture
def reader(server, caplog):
    caplog.set_level(logging.WARNING, logger="httpx")  # it tells of each request, and there are a thousand
    reader = Reader(server)
    yield reader
    reader.http.close()


def test_it_stuffs_dots_as_the_protocol_asks():
    assert stuffed(b".a\r\n.\r\n..b\n.c\r\n") == b"..a\r\n..\r\n...b\n.c\r\n"


@needs_corpus
@pytest.mark.timeout(240)  # 300 mails and 1,000 requests, with both cores busy
def test_it_takes_and_shows_all_of_it(server, reader, capsys):
    mails = [on_the_wire(content) for content in corpus_mail()]
    assert len(mails) > 300, f"the corpus at {CORPUS} is not whole"
    inbox = reader.http.post("/inboxes", json={}).json()["data"]
    path = f"/inboxes/{inbox['id']}"

    assert Counter(sent(mails, server.smtp, inbox["address"])) == {250: len(mails)}
    messages = eventually(
        lambda: list(reader.every_page(f"{path}/messages")), lambda seen: deliveries(seen) == len(mails)
    )
    shown = {reader.get(f"{path}/messages/{m['id']}/raw").content: 1 + m["repeat_count"] for m in messages}
    assert shown == Counter(mails), "raw bytes differ, or a repeat was counted wrongly"
    assert len(messages) == len(shown)

    threads = list(reader.every_page(f"{path}/threads"))
    read_everything(reader, path, messages, threads)
    received = list(reader.every_page("/events", inbox_id=inbox["id"], type="message.received"))
    assert {event["message_id"] for event in received} == {message["id"] for message in messages}
    assert set(reader.statuses) == {200}, reader.statuses
    assert [
        line for _, log in server.news() for line in log.splitlines() if re.search(r"ERROR|CRITICAL|Traceback", line)
    ] == []
    assert {name for name, process in server._running.items() if process.poll() is not None} == set()
    with capsys.disabled():
        print(totals(mails, messages, threads, reader))


def sent(mails: list[bytes], smtp_address: str, recipient: str) -> list[int]:
    """Over several connections at a time; all the reply codes."""
    shares = [mails[first::CONNECTIONS] for first in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return [
            code for codes in pool.map(lambda share: send_all(share, smtp_address, recipient), shares) for code in codes
        ]


def read_everything(reader: Reader, path: str, messages: list[dict[str, Any]], threads: list[dict[str, Any]]) -> None:
    for message in messages:
        assert_listed(message, reader.get(f"{path}/messages/{message['id']}").json()["data"])
        for attachment in message["attachments"]:
            content = reader.get(f"{path}/messages/{message['id']}/attachments/{attachment['id']}").content
            assert hashlib.sha256(content).hexdigest() == attachment["sha256"]
    for thread in threads:
        assert len(reader.get(f"{path}/threads/{thread['id']}").json()["data"]["messages"]) == thread["message_count"]


def assert_listed(listed: dict[str, Any], whole: dict[str, Any]) -> None:
    """A list shows the message itself, but the beginnings only of bodies that are very long."""
    if "body_truncated" in listed["trust"]["flags"]:
        bodies = ("body_text", "body_html", "extracted_text", "extracted_html")
        assert all(whole[name].startswith(listed[name]) for name in bodies)
        listed = listed | {name: whole[name] for name in bodies} | {"trust": whole["trust"]}
    assert listed == whole


def deliveries(messages: list[dict[str, Any]]) -> int:
    return sum(1 + message["repeat_count"] for message in messages)


def totals(mails: list[bytes], messages: list[Any], threads: list[Any], reader: Reader) -> str:
    degraded = sum(bool(message["degraded_reason"]) for message in messages)
    attachments = sum(len(message["attachments"]) for message in messages)
    return (
        f"\n{len(mails)} files sent, {len(mails)} accepted: {len(messages)} messages and {len(mails) - len(messages)} repeats, "
        f"raw bytes identical in all; {degraded} degraded, {attachments} attachments, {len(threads)} threads; "
        f"{reader.statuses.total()} requests, all 200"
    )
