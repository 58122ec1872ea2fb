"""Settings, composition root and kernel of mailbot."""

from mailbot.celery import app as celery_app

__all__ = ["celery_app"]
