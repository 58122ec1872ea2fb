"""The way out through a smart host: a real SMTP server on loopback that does as it is told."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import anymail.backends.test as module  # type: ignore[import-untyped]
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from inboxes.models import Inbox
from mailbot.lib.addresses import canonical
from mailbot.lib.env import relay
from tests.cast import Caller, run_workers


class SmartHost:
    """Keeps what it takes. `answers` maps a recipient to the reply to his RCPT, `at_end` is the reply to DATA, or "hang"."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.answers: dict[str, str] = {}
        self.at_end = "250 taken"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.answers.get(address, "250 fine")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.taken.append(envelope)
        if self.at_end == "hang":
            await asyncio.sleep(3)
        return self.at_end


@pytest.fixture
def smart_host(settings: Any) -> Iterator[SmartHost]:
    host = SmartHost()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    controller = Controller(host, hostname="127.0.0.1", port=port, decode_data=False)
    controller.start()
    for name, value in relay(f"smtp://127.0.0.1:{port}", timeout=1).items():
        setattr(settings, name, value)
    yield host
    controller.stop()


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox()


def shown(caller: Caller, inbox: Inbox, message: dict[str, Any]) -> dict[str, Any]:
    return dict(caller.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}").json()["data"])


class TestSmartHost:
    def test_it_gets_the_bytes_and_the_envelope(self, live: Caller, inbox: Inbox, smart_host: SmartHost) -> None:
        message = live.send(inbox, to="ann@example.com", bcc="ben@example.com", subject="ü", body_text=".\n..\nline")
        run_workers()
        (envelope,) = smart_host.taken
        raw = live.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content
        assert envelope.content == raw
        sent_by = canonical(str(envelope.mail_from))
        assert (sent_by.address, sent_by.tag[:2]) == (inbox.address, "b.")
        assert envelope.rcpt_tos == ["ann@example.com", "ben@example.com"]
        assert shown(live, inbox, message)["status"] == "sent"

    def test_it_says_who_was_refused_while_others_were_taken(
        self, live: Caller, inbox: Inbox, smart_host: SmartHost
    ) -> None:
        smart_host.answers = {"gone@example.com": "550 5.1.1 no such user"}
        message = live.send(inbox, to=["ann@example.com", "gone@example.com"])
        run_workers()
        recipients = shown(live, inbox, message)["recipients"]
        assert [(r["address"], r["status"]) for r in recipients] == [
            ("ann@example.com", "sent"),
            ("gone@example.com", "bounced"),
        ]
        assert "no such user" in recipients[1]["reason"]

    @pytest.mark.parametrize(
        ("at_end", "status"),
        [("451 later", "deferred"), ("554 spam", "failed"), ("hang", "unknown")],
    )
    def test_it_reads_the_answer_to_the_data(
        self, live: Caller, inbox: Inbox, smart_host: SmartHost, at_end: str, status: str
    ) -> None:
        smart_host.at_end = at_end
        message = live.send(inbox)
        run_workers()
        assert shown(live, inbox, message)["status"] == status
        assert len(smart_host.taken) == 1

    def test_it_tries_again_when_nobody_is_there(self, live: Caller, inbox: Inbox, settings: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        for name, value in relay(f"smtp://127.0.0.1:{port}", timeout=1).items():
            setattr(settings, name, value)
        message = live.send(inbox)
        run_workers()
        assert shown(live, inbox, message)["status"] == "deferred"


class TestAnymail:
    def test_it_hands_every_field_to_an_esp(self, live: Caller, inbox: Inbox, settings: Any) -> None:
        sent: list[Any] = []

        class Recording(module.EmailBackend):  # type: ignore[misc]
            def post_to_esp(self, payload: Any, message: Any) -> Any:
                sent.append(payload)
                return super().post_to_esp(payload, message)

        settings.EMAIL_BACKEND = "anymail.backends.test.EmailBackend"
        original, module.EmailBackend = module.EmailBackend, Recording
        try:
            file = {"filename": "a.txt", "content_type": "text/plain", "content": "aGk="}
            message = live.send(inbox, to="ann@example.com", cc="ben@example.com", subject="Hi", body_text="text", body_html="<p>x</p>",
                                attachments=[file], headers={"X-Campaign": "7"})  # fmt: skip
            run_workers()
        finally:
            module.EmailBackend = original
        params = sent[0].params
        assert params["subject"] == "Hi"
        assert [str(a) for a in params["to"]] == ["ann@example.com"]
        assert [str(a) for a in params["cc"]] == ["ben@example.com"]
        assert params["text_body"].strip() == "text"
        assert params["html_body"].strip() == "<p>x</p>"
        assert [a.name for a in params["attachments"]] == ["a.txt"]
        assert params["extra_headers"]["Message-ID"] == message["message_id_header"]
        assert params["extra_headers"]["X-Campaign"] == "7"
        assert shown(live, inbox, message)["status"] == "sent"
