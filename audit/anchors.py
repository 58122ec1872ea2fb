"""Heads are posted to places from which we cannot take them back: a file, a webhook, a mail address.

A tree that has grown since a place was told last is told of again, at most every AUDIT_ANCHOR_EVERY seconds. What could not be posted is
tried again later; a head that is posted twice says the same twice.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpcore
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F, Max
from django.utils import timezone

from audit.findings import Finding, Kind, OutsideHead
from audit.models import AuditAnchor, AuditHead, AuditTree
from audit.signing import head_as_json
from mailbot.lib.public_hosts import PublicOnly, check_url

AT_ONCE = 500  # heads
PATIENCE = 10.0  # seconds for a webhook
LONGEST_WAIT = 3600  # seconds until a place that failed is tried again
# What a line of a file can be refused with: half of one, or one that somebody made.
NO_HEAD = (KeyError, TypeError, ValueError, OverflowError, RecursionError)


class NotPosted(Exception):
    """And why, in words that name no secret."""


def post_heads() -> int:
    """To each place that is due; how many heads. Raises nothing."""
    return sum(_post(place, post) for place, post in places().items() if _is_due(place))


def places() -> dict[str, Callable[[list[dict[str, Any]]], None]]:
    """Those that are set."""
    found: dict[str, Callable[[list[dict[str, Any]]], None]] = {}
    if anchor_file() is not None:
        found["file"] = to_file
    if settings.AUDIT_ANCHOR_WEBHOOK:
        found["webhook"] = to_webhook
    if settings.AUDIT_ANCHOR_MAIL:
        found["mail"] = to_mail
    return found


def anchor_file() -> Path | None:
    return Path(settings.AUDIT_ANCHOR_FILE) if settings.AUDIT_ANCHOR_FILE not in ("", "-") else None


def _is_due(place: str) -> bool:
    state = AuditAnchor.objects.filter(pk=place).first()
    return state is None or state.next_at is None or state.next_at <= timezone.now()


def _post(place: str, post: Callable[[list[dict[str, Any]]], None]) -> int:
    posted = 0
    try:
        for heads in _new(place):
            post([head_as_json(head) for head in heads])
            for head in heads:
                AuditTree.objects.filter(pk=head.account_id).update(**{f"in_{place}": head.size})
            posted += len(heads)
    except (NotPosted, OSError) as error:
        _note_failure(place, str(error))
    else:
        _note_success(place, bool(posted))
    return posted


def _new(place: str) -> Iterator[list[AuditHead]]:
    """The newest head of each tree that has grown, if it is of more entries than the place was told of. Each tree is looked at once: of one
    that has fewer in its heads than in its size, as only who writes to the database can bring about, nothing is told again and again."""
    told = f"in_{place}"
    grown = AuditTree.objects.filter(**{f"{told}__lt": F("size")}).order_by("pk").values_list("pk", told)
    sizes = dict(grown[:AT_ONCE])
    while sizes:
        if heads := _heads_beyond(sizes):
            yield heads
        last = list(sizes)[-1]
        sizes = dict(grown.filter(pk__gt=last)[:AT_ONCE])


def _heads_beyond(sizes: dict[str, int]) -> list[AuditHead]:
    """The newest of each of these accounts that is of more entries than is said here."""
    newest = AuditHead.objects.filter(account_id__in=list(sizes)).values("account_id").annotate(newest=Max("pk"))
    heads = AuditHead.objects.filter(pk__in=[row["newest"] for row in newest])
    return [head for head in heads if head.size > sizes[head.account_id]]


def _note_success(place: str, has_posted: bool) -> None:
    now = timezone.now()
    if has_posted:
        wait = timedelta(seconds=settings.AUDIT_ANCHOR_EVERY)
        values = {"posted_at": now, "next_at": now + wait, "failures": 0, "error": ""}
        AuditAnchor.objects.update_or_create(pk=place, defaults=values)


def _note_failure(place: str, error: str) -> None:
    state, _ = AuditAnchor.objects.get_or_create(pk=place)
    state.failures += 1
    state.error = error[:500]
    state.next_at = timezone.now() + timedelta(seconds=min(15 * 2 ** min(state.failures, 10), LONGEST_WAIT))
    state.save()


# --- The places --------------------------------------------------------------------------------------------------------


def to_file(heads: list[dict[str, Any]]) -> None:
    """A line for each at its end, flushed to the disk. Where there was no room for all of it none of it was posted: what there was room for
    is taken back, if the file lets that be done (`chattr +a` does not) and nobody else wrote meanwhile."""
    path = Path(settings.AUDIT_ANCHOR_FILE)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _append(descriptor, lines(heads).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _append(descriptor: int, octets: bytes) -> None:
    """Behind whatever a full disk or a crash has left of a line, on one of their own."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        octets = b"\n" + octets
    written = os.write(descriptor, octets)
    if written == len(octets):
        return
    if os.fstat(descriptor).st_size == size + written:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
    raise NotPosted(f"Only {written} of {len(octets)} octets could be written.")


def to_webhook(heads: list[dict[str, Any]]) -> None:
    """POST `{"heads": […]}`; any 2xx is a yes. Only to public hosts, and those of MAILBOT_FETCH_ALLOW."""
    url = settings.AUDIT_ANCHOR_WEBHOOK
    headers = [("Content-Type", "application/json"), ("User-Agent", f"mailbot/{settings.VERSION}")]
    limits = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), PATIENCE)}
    try:
        check_url(url)
        with httpcore.ConnectionPool(network_backend=PublicOnly(time.monotonic() + PATIENCE)) as pool:
            content = json.dumps({"heads": heads}).encode()
            answer = pool.request("POST", url, headers=headers, content=content, extensions=limits)
    except (ValueError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise NotPosted(f"{type(error).__name__}: {error}") from error
    if not 200 <= answer.status < 300:
        raise NotPosted(f"The webhook answers {answer.status}.")


def to_mail(heads: list[dict[str, Any]]) -> None:
    """By the server's own relay (MAILBOT_RELAY), not by a provider of a tenant."""
    message = EmailMessage(
        subject=f"Heads of the audit log of {settings.MAILBOT_DOMAIN}",
        body=f"Keep this mail: docs/audit/verifying.md says how to hold the trail against it.\n\n{lines(heads)}",
        from_email=f"mailbot@{settings.MAILBOT_DOMAIN}",
        to=[settings.AUDIT_ANCHOR_MAIL],
    )
    try:
        message.send()
    except Exception as error:  # whatever the backend that is set raises
        raise NotPosted(f"{type(error).__name__}: {error}") from error


def lines(heads: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(head, sort_keys=True)}\n" for head in heads)


# --- Reading them again ------------------------------------------------------------------------------------------------


def heads_in(path: Path) -> tuple[list[OutsideHead], list[Finding]]:
    """Of a file with a head a line, as the anchors are told it, and what there is to say of lines that begin as a head does and are none.
    Other lines, such as those of a mail around them, are passed by. Raises OSError."""
    heads: list[OutsideHead] = []
    findings: list[Finding] = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.lstrip().startswith(b"{"):
                continue
            where = f"{path.name}, line {number}"
            try:
                heads.append(outside_head(json.loads(line.decode()), where))
            except NO_HEAD as error:
                findings.append(Finding(Kind.SIGNATURE, f"{where} is no head ({type(error).__name__}: {error})."))
    return heads, findings


def outside_head(told: dict[str, Any], from_where: str) -> OutsideHead:
    """Raises one of NO_HEAD for what is no head. Whether it is one of ours is another question (audit.verifying)."""
    if missing := [name for name in ("root", "time", "key", "signature") if not isinstance(told.get(name), str)]:
        raise ValueError(f"it has no {', '.join(missing)}")
    bytes.fromhex(told["signature"])
    return OutsideHead(
        account_id=str(told["account_id"]),
        size=int(told["size"]),
        root=bytes.fromhex(told["root"]),
        from_where=from_where,
        told=told,
    )
