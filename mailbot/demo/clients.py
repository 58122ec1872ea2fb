"""The two ways to speak to mailbot: an agent calls the API, a customer has an ordinary mail client."""

import smtplib
import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as modern_policy
from email.utils import formatdate, make_msgid
from typing import Any

import httpx

from mailbot.demo.trail import Did

TIMEOUT = 30.0  # seconds; a wait is answered after 25 s at most


class Refused(Exception):
    """The server refused a call of ours. The message says what was asked, and what the server answered."""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    api_key: str
    smtp_host: str
    smtp_port: int


@dataclass(frozen=True, slots=True)
class Inbox:
    id: str
    address: str

    @property
    def path(self) -> str:
        return f"/v1/inboxes/{self.id}"


class Agent:
    """A client of /v1 with an API key. Every call returns what is in `data`. `did`: each call that was answered with success, in
    order."""

    def __init__(self, server: Server, name: str = "") -> None:
        headers = {"Authorization": f"Bearer {server.api_key}"}
        self.name, self.key_id, self.did = name, "", list[Did]()
        self._server = server
        self._http = httpx.Client(base_url=server.url, headers=headers, timeout=TIMEOUT)

    def close(self) -> None:
        self._http.close()

    def create_inbox(self, **body: Any) -> Inbox:
        made = self.post("/v1/inboxes", **body)
        return Inbox(made["id"], made["address"])

    def hire(self, name: str, inbox: Inbox, until: datetime) -> "Agent":
        """Another one, with a key of its own that opens this inbox only."""
        body = {"name": name, "preset": "agent", "inbox_id": inbox.id, "expires_at": until.isoformat()}
        key = self.post("/v1/api-keys", **body)
        agent = Agent(replace(self._server, api_key=key["secret"]), name)
        agent.key_id = key["id"]
        return agent

    def wait_for_message(self, inbox: Inbox, **query: Any) -> dict[str, Any]:
        """The next message that comes in and fits the query. Raises Refused (408) when none comes in time."""
        return dict(self.get(f"{inbox.path}/messages/wait", **query))

    def get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, params=query).json()["data"]

    def post(self, path: str, **body: Any) -> Any:
        return self._call("POST", path, json=body).json()["data"]

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path).json()["data"]

    def raw(self, inbox: Inbox, message_id: str) -> bytes:
        """The mail itself, as it came or as it leaves."""
        return self._call("GET", f"{inbox.path}/messages/{message_id}/raw").content

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self._http.request(method, path, **options)
        if response.is_error:
            raise Refused(f"{method} {path} answered {response.status_code}: {_reason(response)}")
        self.did.append(Did(method, path, *_ids_in(response)))
        return response


class OpenWait(threading.Thread):
    """A wait that is open while something else is done. `answered_at` is on the clock of time.monotonic.

    A daemon: when that something else fails, nobody has to wait for the wait.
    """

    def __init__(self, agent: Agent, inbox: Inbox, **query: Any) -> None:
        super().__init__(daemon=True)
        self._agent, self._inbox, self._query = agent, inbox, query
        self._error: Exception | None = None
        self.message: dict[str, Any] = {}
        self.answered_at = 0.0
        self.start()

    def run(self) -> None:
        try:
            self.message = self._agent.wait_for_message(self._inbox, **self._query)
        except Exception as error:
            self._error = error
        self.answered_at = time.monotonic()

    def result(self) -> dict[str, Any]:
        """The message. Raises what the call raised."""
        self.join()
        if self._error:
            raise self._error
        return self.message


def _reason(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return f"{error['message']} {error['fix']}".strip()
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def _ids_in(response: httpx.Response) -> tuple[str, str]:
    """Of what came back, and of its inbox; empty for a list and for octets."""
    is_json = response.headers.get("content-type", "").startswith("application/json")
    data = response.json()["data"] if is_json else None
    return (str(data.get("id") or ""), str(data.get("inbox_id") or "")) if isinstance(data, dict) else ("", "")


class Correspondent:
    """Somebody out on the internet, who writes and answers mail as a mail client does, and hands it over by SMTP."""

    def __init__(self, server: Server, name: str, address: str) -> None:
        self.name, self.address = name, address
        self._host, self._port = server.smtp_host, server.smtp_port

    def write(self, to: str, subject: str, text: str) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = f"{self.name} <{self.address}>"
        mail["To"] = to
        mail["Subject"] = subject
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid(domain=self.address.partition("@")[2])
        mail.set_content(text)
        return mail

    def answer(self, copy: bytes, text: str) -> EmailMessage:
        """An answer to the mail in `copy`: its id in In-Reply-To, its chain and its id in References.

        Source: RFC 5322 3.6.4.
        """
        theirs = read(copy)
        quoted = "".join(f"> {line}\n" for line in body(theirs).splitlines())
        subject = str(theirs["Subject"])
        mail = self.write(
            str(theirs["Reply-To"] or theirs["From"]),
            subject if subject.lower().startswith("re:") else f"Re: {subject}",
            f"{text}\n\nOn {theirs['Date']}, {theirs['From']} wrote:\n{quoted}",
        )
        mail["In-Reply-To"] = str(theirs["Message-ID"])
        mail["References"] = " ".join([*str(theirs["References"] or "").split(), str(theirs["Message-ID"])])
        return mail

    def send(self, mail: EmailMessage, to: str) -> None:
        with smtplib.SMTP(self._host, self._port, timeout=TIMEOUT) as smtp:
            smtp.send_message(mail, self.address, [to])

    def try_recipient(self, address: str) -> str:
        """What the server says to RCPT, without sending anything: `550 5.1.1 …`."""
        with smtplib.SMTP(self._host, self._port, timeout=TIMEOUT) as smtp:
            smtp.ehlo()
            smtp.mail(self.address)
            code, text = smtp.rcpt(address)
            return f"{code} {text.decode()}"


def read(raw: bytes) -> EmailMessage:
    return BytesParser(policy=modern_policy).parsebytes(raw)


def body(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    return str(part.get_content()) if part else ""
