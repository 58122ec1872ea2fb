"""Nothing that a caller or the sender of a mail writes becomes a header of its own in what we send"""

from typing import Any

import pytest

from delivery.outbound.compose import literal
from inboxes.models import Inbox
from tests.cast import Caller
from tests.mailing import deliver

# The library decodes an encoded word where it finds one, and writes out the line ends that were in it.
WORD = "=?utf-8?q?=0D=0AX-Injected=3A_yes=0D=0A=0D=0Aanother_body?="
# The same in an encoded word: what is left when the mail that carries it was decoded once.
TWICE = "=?utf-8?q?=3D=3Futf-8=3Fq=3F=3D0D=3D0AX-Injected=3D3A=5Fyes=3F=3D?="


def header_of(caller: Caller, inbox: Inbox, message: dict[str, Any]) -> bytes:
    raw: bytes = caller.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content
    return raw.partition(b"\r\n\r\n")[0]


class TestWhatACallerWrites:
    @pytest.mark.parametrize(
        "body",
        [
            {"subject": WORD},
            {"to": f"{WORD} <a@b.example>"},
            {"reply_to": f'"{WORD}" <a@b.example>'},
            {"headers": {"X-Own": WORD}},
            {"headers": {"List-Unsubscribe": f"<{WORD}>"}},
        ],
    )
    def test_it_ends_no_header(self, alice: Caller, body: dict[str, Any]) -> None:
        inbox = alice.create_inbox()
        header = header_of(alice, inbox, alice.send(inbox, **body))
        assert b"\nX-Injected" not in header
        assert b"Message-ID:" in header

    def test_it_ends_no_header_of_a_file(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        file = {"filename": WORD, "content": "YQ==", "content_id": WORD}
        message = alice.send(inbox, attachments=[file])
        assert b"\nX-Injected" not in alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content

    def test_it_ends_no_header_by_the_name_of_an_inbox(self, alice: Caller) -> None:
        inbox = alice.create_inbox(display_name=WORD)
        assert b"\nX-Injected" not in header_of(alice, inbox, alice.send(inbox))

    @pytest.mark.parametrize("name", ["to", "cc", "reply_to"])
    def test_it_is_refused_as_an_address(self, alice: Caller, name: str) -> None:
        inbox = alice.create_inbox()
        body = {"to": "a@b.example", name: "=?utf-8?q?=0D=0AX-Injected=3Ayes?=@b.example"}
        assert alice.post(f"/v1/inboxes/{inbox.pk}/messages", body).status_code == 400

    def test_it_keeps_what_is_no_encoded_word(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        header = header_of(alice, inbox, alice.send(inbox, subject="Is 2=?3"))
        assert b"Subject: Is 2= ?3" in header


class TestWhatASenderWrites:
    @pytest.mark.parametrize("answer", [("reply", {}), ("forward", {"to": "a@b.example"})])
    def test_it_ends_no_header_of_an_answer(self, alice: Caller, answer: tuple[str, dict[str, Any]]) -> None:
        inbox = alice.create_inbox()
        deliver(
            f"From: {TWICE} <x@evil.example>\r\nSubject: {TWICE}\r\nMessage-ID: <{WORD}@x>\r\n\r\nHello\r\n".encode(),
            inbox,
        )
        (message,) = alice.messages(inbox)
        action, body = answer
        answered = alice.post(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/{action}", body)
        assert answered.status_code == 202
        assert b"\nX-Injected" not in header_of(alice, inbox, answered.json()["data"])


class TestLiteral:
    def test_it_ends_however_often_a_word_is_encoded(self) -> None:
        text = "=?utf-8?q?=0D=0Ax?="
        for _ in range(10):
            text = "=?utf-8?q?" + "".join(f"={ord(character):02X}" for character in text) + "?="
        assert "=?" not in literal(text)
        assert not set("\r\n") & set(literal(text))
