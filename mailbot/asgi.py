"""ASGI entry point: `uvicorn mailbot.asgi:application`.

Django answers everything but the waits, which hold no thread (threads.api.wait says why).
"""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailbot.settings")

django_application = get_asgi_application()

from threads.api import wait  # noqa: E402  (needs the applications to be loaded)


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and wait.PATH.fullmatch(scope["path"]):
        await wait.wait_application(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        await django_application(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    """Nothing to start or stop; Django's own handler does not know the protocol."""
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})
