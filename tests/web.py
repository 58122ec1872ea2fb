"""The web process in a thread of the test: real sockets, the ASGI application, and the waits that only it has."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from tests.cast import Caller


class Web:
    def __init__(self, port: int, server: uvicorn.Server) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port, self.server = port, server

    def client(self, caller: Caller) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {caller.secret}"}, timeout=30, verify=False
        )


@contextmanager
def running_web() -> Iterator[Web]:
    from mailbot.asgi import application
    from threads.api.wait import close_lookers

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            log_level="warning",
            lifespan="off",
            loop="asyncio",
            http="mailbot.http_protocol:HttpProtocol",
            timeout_graceful_shutdown=1,
        )
    )
    started = threading.Event()
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    original = server.startup

    async def startup(*arguments: Any, **options: Any) -> None:
        await original(*arguments, **options)
        started.set()

    server.startup = startup  # type: ignore[method-assign]
    thread.start()
    assert started.wait(10)
    try:
        yield Web(listener.getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join(10)
        close_lookers()  # as the server does at the end of its lifespan, which is off here


@contextmanager
def waiting(web: Web, caller: Caller, inbox_id: str, **query: Any) -> Iterator["Wait"]:
    """Opens a wait, runs the body, and then reads the answer into `wait.answer`."""
    wait = Wait(web, caller, inbox_id, query)
    wait.start()
    yield wait
    wait.join(30)
    assert not wait.is_alive()


class Wait(threading.Thread):
    answer: httpx.Response

    def __init__(self, web: Web, caller: Caller, inbox_id: str, query: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.client, self.path, self.query = web.client(caller), f"/v1/inboxes/{inbox_id}/messages/wait", query

    def run(self) -> None:
        with self.client as client:
            self.answer = client.get(self.path, params=self.query)
