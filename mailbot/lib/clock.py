"""The time as the API shows it."""

from datetime import datetime

from django.utils import timezone


def this_millisecond() -> datetime:
    """Now, in whole milliseconds: what is stored is then what was shown, and `after=<the time shown>` means after it."""
    now = timezone.now()
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
