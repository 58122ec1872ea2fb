import gc

from django.apps import AppConfig
from django.conf import settings


class MailbotConfig(AppConfig):
    name = "mailbot"

    def ready(self) -> None:
        from mailbot import checks  # noqa: F401  (importing registers the system checks)
        from mailbot.lib import lookups  # noqa: F401  (importing registers the lookup)

        if settings.SENTRY_DSN:
            from mailbot import sentry

            sentry.start()
        # What is loaded by now stays: the collector need not look at it, and processes that are forked share it.
        gc.freeze()
        gc.enable()
