"""A smart host on loopback: takes mail by SMTP, writes each into a ledger before it answers, and does to a mail what its subject asks for.

STEPS says what there is, and `Order 17 [451, cut]` what for which try. RCPT of a recipient `550@…` is answered so. It knows no extensions.
Source: RFC 5321
"""

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from typing import Any

from tests.fake_esp.script import Script
from tests.fake_esp.server import in_a_thread

STEPS = {
    "ok": "taken, and answered so",
    "[45][0-9][0-9]": "not taken, and answered so",
    "hang": "taken, and no answer for n seconds (60)",
    "drip": "taken, and an answer of one octet every n milliseconds (50)",
    "cut": "taken, and the line is cut instead of an answer",
    "lost": "not taken, and the line is cut",
    "garbage": "taken, and the answer is no reply",
}
NOT_TAKEN = frozenset({"lost"})
_CODE = re.compile(r"[45]\d\d")


@dataclass
class FakeSmartHost:
    """What came is in `ledger`: {at, step, taken, message_id, sender, to, content}. `greeting` is what it says to who comes."""

    port: int = 0
    greeting: str = "220 here"
    ledger: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._script = Script(STEPS)

    @property
    def taken(self) -> list[dict[str, Any]]:
        return [entry for entry in self.ledger if entry["taken"]]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(reader, writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await line.say(self.greeting)
            while self.greeting.startswith("220") and await self._obey(line):
                pass
        writer.transport.abort()

    async def _obey(self, line: "_Line") -> bool:
        """One command; whether the line stays open."""
        command = (await line.heard()).strip()
        verb, argument = command[:4].upper(), command[10:]
        if verb == "MAIL":
            line.sender, line.recipients = _address(command), []
        elif verb == "RCPT":
            address = _address(command)
            if code := _CODE.fullmatch(address.partition("@")[0]):
                await line.say(f"{code[0]} told to answer so")
                return True
            line.recipients.append(address)
        elif verb == "DATA":
            await line.say("354 go on")
            return await self._take(line)
        await line.say(f"221 bye {argument}" if verb == "QUIT" else "250 fine")
        return verb != "QUIT"

    async def _take(self, line: "_Line") -> bool:
        """Written down before it is answered."""
        content = await line.content()
        read = message_from_bytes(content, policy=default)
        message_id = str(read["Message-ID"] or "")
        step, amount = self._script.step_of(str(read["Subject"] or ""), message_id)
        refuses = _CODE.fullmatch(step) is not None
        self.ledger.append(
            {
                "at": time.time(),
                "step": step,
                "taken": not refuses and step not in NOT_TAKEN,
                "message_id": message_id,
                "sender": line.sender,
                "to": line.recipients,
                "content": content,
            }
        )
        if step in ("cut", "lost"):
            return False
        if step == "hang":
            await asyncio.sleep(amount or 60)
        answer = (
            f"{step} told to answer so" if refuses else "what was not promised" if step == "garbage" else "250 taken"
        )
        await line.say(answer, pause=(amount or 50) / 1000 if step == "drip" else 0)
        return True


class _Line:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.sender, self.recipients = "", list[str]()

    async def heard(self) -> str:
        return (await self._reader.readuntil(b"\r\n")).decode()

    async def content(self) -> bytes:
        """Without the dots of RFC 5321 4.5.2."""
        lines = []
        while (line := await self._reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    async def say(self, reply: str, pause: float = 0) -> None:
        whole = f"{reply}\r\n".encode()
        for piece in [whole[i : i + 1] for i in range(len(whole))] if pause else [whole]:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(pause)


def _address(command: str) -> str:
    found = re.search(r"<([^>]*)>", command)
    return found[1] if found else ""


@contextmanager
def fake_smart_host() -> Iterator[FakeSmartHost]:
    """In a thread of this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    host = FakeSmartHost(port=listener.getsockname()[1])

    async def serve() -> None:
        server = await asyncio.start_server(host.talk, sock=listener, limit=64 * 1024 * 1024)
        async with server:
            await server.serve_forever()

    with in_a_thread(serve):
        yield host
    listener.close()
