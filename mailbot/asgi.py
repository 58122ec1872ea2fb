"""ASGI entry point: `uvicorn mailbot.asgi:application`.

Django answers everything but the waits, which hold no thread (threads.api.wait says why), and the console's assets.
"""

import gc
import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailbot.settings")

django_application = get_asgi_application()

from django.conf import settings  # noqa: E402  (like the following: needs the applications to be loaded)
from django.contrib.staticfiles.finders import AppDirectoriesFinder  # noqa: E402
from servestatic import ServeStaticASGI  # type: ignore[import-untyped]  # noqa: E402

from mailbot.body_limit import with_body_limit  # noqa: E402
from threads.api import wait  # noqa: E402


def with_assets(behind: Any) -> Any:
    """Serve what the applications bring in their `static/` folders, without a step that collects it. An hour in caches."""
    assets = ServeStaticASGI(behind, max_age=3600, allow_all_origins=False)
    for storage in AppDirectoriesFinder().storages.values():
        assets.add_files(storage.location, prefix=settings.STATIC_URL)
    return assets


# What is loaded by now stays. Out of the collector's sight, so that it does not go through all of it again every few hundred answers.
gc.freeze()

served_with_assets = with_body_limit(with_assets(django_application))


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and wait.PATH.fullmatch(scope["path"]):
        await wait.wait_application(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        await served_with_assets(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    """Nothing to start; Django's own handler does not know the protocol."""
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    wait.close_lookers()
    await send({"type": "lifespan.shutdown.complete"})
