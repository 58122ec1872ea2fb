"""Settings, composition root and kernel of mailbot."""

import gc

# Until all is loaded (mailbot.apps), hardly anything is garbage: looking for it again and again was a quarter of each start.
gc.disable()

from mailbot.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
