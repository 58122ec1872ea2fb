"""The way out through a smart host: a real SMTP server on loopback that does as it is told."""

import socket
from collections.abc import Iterator
from typing import Any

import anymail.backends.test as module  # type: ignore[import-untyped]
import pytest

from inboxes.models import Inbox
from mailbot.lib.addresses import canonical
from mailbot.lib.env import relay
from tests.cast import Caller, run_workers
from tests.fake_esp.smtp import FakeSmartHost, fake_smart_host

PATIENCE = 10  # seconds for a host that answers
SHORT = 2  # seconds for one that does not


@pytest.fixture
def smart_host(settings: Any) -> Iterator[FakeSmartHost]:
    with fake_smart_host() as host:
        for name, value in relay(f"smtp://127.0.0.1:{host.port}", timeout=PATIENCE).items():
            setattr(settings, name, value)
        yield host


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox()


def shown(caller: Caller, inbox: Inbox, message: dict[str, Any]) -> dict[str, Any]:
    return dict(caller.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}").json()["data"])


class TestSmartHost:
    def test_it_gets_the_bytes_and_the_envelope(self, live: Caller, inbox: Inbox, smart_host: FakeSmartHost) -> None:
        message = live.send(inbox, to="ann@example.com", bcc="ben@example.com", subject="ü", body_text=".\n..\nline")
        run_workers()
        (taken,) = smart_host.taken
        raw = live.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content
        assert taken["content"] == raw
        sent_by = canonical(taken["sender"])
        assert (sent_by.address, sent_by.tag[:2]) == (inbox.address, "b.")
        assert taken["to"] == ["ann@example.com", "ben@example.com"]
        assert shown(live, inbox, message)["status"] == "sent"

    def test_it_says_who_was_refused_while_others_were_taken(
        self, live: Caller, inbox: Inbox, smart_host: FakeSmartHost
    ) -> None:
        message = live.send(inbox, to=["ann@example.com", "550@example.com"])
        run_workers()
        recipients = shown(live, inbox, message)["recipients"]
        assert [(r["address"], r["status"]) for r in recipients] == [
            ("ann@example.com", "sent"),
            ("550@example.com", "bounced"),
        ]
        assert "told to answer so" in recipients[1]["reason"]

    @pytest.mark.parametrize(
        ("step", "status", "is_taken"),
        [("451", "deferred", False), ("554", "failed", False), ("hang", "unknown", True)],
    )
    def test_it_reads_the_answer_to_the_data(
        self,
        live: Caller,
        inbox: Inbox,
        smart_host: FakeSmartHost,
        step: str,
        status: str,
        is_taken: bool,
        settings: Any,
    ) -> None:
        if step == "hang":
            settings.EMAIL_TIMEOUT = SHORT
        message = live.send(inbox, subject=f"[{step}]")
        run_workers()
        assert shown(live, inbox, message)["status"] == status
        assert [entry["taken"] for entry in smart_host.ledger] == [is_taken]

    def test_it_tries_again_when_nobody_is_there(self, live: Caller, inbox: Inbox, settings: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        for name, value in relay(f"smtp://127.0.0.1:{port}", timeout=PATIENCE).items():
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
