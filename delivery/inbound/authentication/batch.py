"""Authenticating a batch of mails that are about to be filed: all at once, in threads, within one time, and without a database.

Never raises: a mail of which nothing can be found out is filed all the same.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache, partial
from time import monotonic

from django.conf import settings

from delivery.inbound.authentication.checking import check, check_without_dns, needs_dns
from delivery.inbound.authentication.patience import PATIENCE
from delivery.models import InboundMail
from threads.authenticity import NOT_CHECKED, Authenticity, Standing
from threads.mime import ParsedMail

log = logging.getLogger(__name__)

# As many as a batch has mails: one that waits for slow servers keeps nobody from being looked at.
AT_ONCE = 100
GRACE = 0.5  # seconds beyond the time of DNS, for the arithmetic of signatures

Mail = tuple[InboundMail, ParsedMail]

# One that took too long by itself, and not for DNS: what is built to be slow is not believed.
TOO_SLOW = Authenticity(
    Standing.UNVERIFIED,
    "temperror",
    "temperror",
    "temperror",
    details={"method": "none", "reason": "It took too long to check."},
)


def authenticate(mails: Sequence[Mail], most: float | None = None) -> list[Authenticity]:
    """In the order given. `most`: seconds, beside those of the setting."""
    seconds = min(settings.AUTHENTICATION_SECONDS, most or settings.AUTHENTICATION_SECONDS)
    if not seconds:
        return [NOT_CHECKED if needs_dns(mail) else _at_once(mail, parsed) for mail, parsed in mails]
    asking = [needs_dns(mail) for mail, _ in mails]
    found = _in_threads([mail for mail, asks in zip(mails, asking, strict=True) if asks], seconds)
    return [next(found) if asks else _at_once(mail, parsed) for (mail, parsed), asks in zip(mails, asking, strict=True)]


def _in_threads(mails: Sequence[Mail], most: float) -> Iterator[Authenticity]:
    if not mails:
        return iter(())
    began = monotonic()
    seconds = PATIENCE.seconds(most)
    pool = _pool(os.getpid())
    futures = [pool.submit(_checked, mail, parsed, began + seconds) for mail, parsed in mails]
    wait(futures, seconds + GRACE)
    PATIENCE.note_waited(monotonic() - began)
    return iter([_outcome(future) for future in futures])


@lru_cache(maxsize=1)
def _pool(_pid: int) -> ThreadPoolExecutor:
    """One a process: what was made before a fork has no threads behind it."""
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="authentication")


def _at_once(mail: InboundMail, parsed: ParsedMail) -> Authenticity:
    return _guarded(partial(check_without_dns, mail, parsed), mail)


def _checked(mail: InboundMail, parsed: ParsedMail, ends_at: float) -> Authenticity:
    return _guarded(partial(check, mail, parsed, ends_at), mail)


def _guarded(check_it: Callable[[], Authenticity], mail: InboundMail) -> Authenticity:
    try:
        return check_it()
    except Exception:  # a fault of ours must not keep mail from being filed
        log.exception("Mail %s could not be authenticated", mail.pk)
        return NOT_CHECKED


def _outcome(future: "Future[Authenticity]") -> Authenticity:
    if not future.done():
        future.cancel()
        return TOO_SLOW
    return future.result()
