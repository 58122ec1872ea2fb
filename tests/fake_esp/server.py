"""An ESP on loopback: takes mail by the API of any ESP of `apis`, writes each into a ledger before it answers, and does to a mail what the
mail's own subject asks for.

`Order 17 [429=2, cut]`: the first try is answered 429 with `Retry-After: 2`, the second is taken and its line cut; further ones are taken.
STEPS says what there is. `python -m tests.fake_esp --port 9100 --ledger esp.jsonl` runs one by itself.
"""

import argparse
import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.fake_esp.apis import Api, Request, api_of, idempotency_key
from tests.fake_esp.script import Script

STEPS = {
    "ok": "taken, and answered so",
    "429": "refused for now; =n: Retry-After of n seconds",
    "500": "its own trouble, and nobody knows",
    "503": "its own trouble",
    "400": "refused for good",
    "307": "not taken, and sent elsewhere",
    "hang": "taken, and no answer for n seconds (60)",
    "drip": "taken, and an answer of one octet every n milliseconds (50)",
    "cut": "taken, and the line is cut instead of an answer",
    "lost": "not taken, and the line is cut",
    "garbage": "taken, and the answer is no JSON",
}
REFUSES = ("429", "400", "500", "503", "307")
_MAILBOT_ID = re.compile(r"outmail_[0-9a-z]{26}")
_MESSAGE_ID = re.compile(r"<[^<>\s@\"\\]+@[^<>\s\"\\]+>")


@dataclass
class FakeEsp:
    """What it took is in `ledger`: {at, esp, path, step, taken, id, key, mailbot_id, message_id, to}. `repeats` answers a key that it knows
    with the first id and takes nothing."""

    latency: float = 0.0  # seconds before each answer
    path: Path | None = None
    port: int = 0
    ledger: list[dict[str, Any]] = field(default_factory=list)
    gives: dict[str, bytes] = field(default_factory=dict)  # what GET of a path answers: mails and files that it keeps
    fails_with: int = 404  # what GET of another one answers
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._script = Script(STEPS)
        self._keys: dict[str, str] = {}
        self._lock = threading.Lock()
        self._file = self.path.open("a", buffering=1) if self.path else None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def taken(self) -> list[dict[str, Any]]:
        return [entry for entry in self.ledger if entry["taken"]]

    # --- One request ---

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Whether the line stays open."""
        if request.method == "GET":
            content = self.gives.get(request.path)
            await _write(writer, self.fails_with if content is None else 200, {}, content or {"error": "not here"})
            return True
        api = api_of(request)
        if api is None:
            await _write(writer, 404, {}, {"error": "no such API"})
            return True
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._carry_out(api, request, writer)
        finally:
            self.at_once -= 1

    async def _carry_out(self, api: Api, request: Request, writer: asyncio.StreamWriter) -> bool:
        if self.latency:
            await asyncio.sleep(self.latency)
        step, amount = self._step(request)
        mail_id = self._note(api, request, step)
        if step in REFUSES:
            wait = {"Retry-After": str(amount)} if amount else {}
            wait |= {"Location": f"{self.url}/elsewhere{request.path}"} if step == "307" else {}
            await _write(writer, int(step), wait, {"message": f"told to answer {step}", "Message": "told to"})
            return True
        if step in ("cut", "lost"):
            return False
        if step == "hang":
            await asyncio.sleep(amount or 60)
        status, headers, body = api.taken(mail_id, request)
        if step == "garbage":
            body = "<html>not what was promised"
        await _write(writer, status, headers, body, pause=(amount or 50) / 1000 if step == "drip" else 0)
        return True

    def _step(self, request: Request) -> tuple[str, int]:
        return self._script.step_of(request.text, _message_id(request))

    def _note(self, api: Api, request: Request, step: str) -> str:
        """Written down before it is answered: the id of the mail."""
        key = idempotency_key(request)
        is_taken = step not in (*REFUSES, "lost")
        known = self._keys.get(key) if key else None
        mail_id = known or api.new_id()
        if key and is_taken:
            self._keys[key] = mail_id
        found = _MAILBOT_ID.search(request.text)
        entry = {
            "at": time.time(),
            "esp": api.key,
            "path": request.path,
            "step": step,
            "taken": is_taken and known is None,
            "id": mail_id,
            "key": key,
            "mailbot_id": found[0] if found else "",
            "message_id": _message_id(request),
            "to": request.recipients,
        }
        with self._lock:
            self.ledger.append(entry)
            if self._file:
                self._file.write(json.dumps(entry) + "\n")
        return mail_id


def _message_id(request: Request) -> str:
    """The one in its headers, however the API spells them."""
    text = request.text
    named = re.search(r"message-id\W{1,8}(?:value\W{1,8})?(<[^<>\s]+>)", text, re.IGNORECASE)
    found = named or _MESSAGE_ID.search(text)
    return found[1] if named and found else (found[0] if found else "")


async def _write(
    writer: asyncio.StreamWriter, status: int, headers: dict[str, str], body: Any, pause: float = 0
) -> None:
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    fixed = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in {**fixed, **headers}.items())]
    whole = ("\r\n".join(lines) + "\r\n\r\n").encode() + content
    for piece in [whole[i : i + 1] for i in range(len(whole))] if pause else [whole]:
        writer.write(piece)
        await writer.drain()
        if pause:
            await asyncio.sleep(pause)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    return Request(target.partition("?")[0], headers, body, method)


async def serve(esp: FakeEsp, listener: socket.socket) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while (request := await _read(reader)) and await esp.answer(request, writer):
                pass
        writer.transport.abort()

    server = await asyncio.start_server(talk, sock=listener, limit=64 * 1024 * 1024)
    async with server:
        await server.serve_forever()


@contextmanager
def fake_esp(**options: Any) -> Iterator[FakeEsp]:
    """One that runs in a thread of this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    esp = FakeEsp(port=listener.getsockname()[1], **options)
    with in_a_thread(lambda: serve(esp, listener)):
        yield esp
    listener.close()


@contextmanager
def in_a_thread(serve: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """An event loop of its own, which ends with all that it still does."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(serve())

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for other in asyncio.all_tasks(loop):
            other.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--latency", type=float, default=0.0)
    given = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", given.port), backlog=512)
    esp = FakeEsp(latency=given.latency, path=given.ledger, port=listener.getsockname()[1])
    print(esp.url, flush=True)
    asyncio.run(serve(esp, listener))
