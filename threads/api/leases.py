"""POST …/threads/{thread_id}/claim, /release and /handoff: who works on a thread (threads.leases)."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from inboxes.api.api_keys import visible_keys
from inboxes.models import ApiKey
from inboxes.permissions import THREADS_WRITE
from mailbot.api.errors import ApiError, Code, not_found
from mailbot.api.permissions import Principal
from mailbot.api.renderers import timestamp
from mailbot.api.schema import described
from mailbot.api.views import data
from threads.api.serializers import (
    ClaimBody,
    ClaimedThreadSerializer,
    HandOffBody,
    ReleaseBody,
    ThreadSerializer,
)
from threads.api.views import ThreadScopedView
from threads.leases import Claimed, Owner, claim, hand_off, release


def owner_by(key: Principal, agent: str) -> Owner:
    return Owner(key.pk, getattr(key, "name", ""), agent)


@contextmanager
def refused_when_claimed() -> Iterator[None]:
    """409 with the end of the other lease, where there is one."""
    try:
        yield
    except Claimed as claimed:
        told: dict[str, Any] = {"fix": "Read the thread again: its owner is shown there."}
        if claimed.until is not None:
            seconds = max(1, round((claimed.until - timezone.now()).total_seconds()))
            fix = f"Leave it to them, or claim it when their lease is over: {timestamp(claimed.until)}."
            told = {"fix": fix, "retry_at": timestamp(claimed.until), "headers": {"Retry-After": str(seconds)}}
        raise ApiError(Code.CONFLICT, str(claimed), **told) from claimed


class ClaimView(ThreadScopedView):
    """POST …/threads/{thread_id}/claim"""

    needs = THREADS_WRITE

    @described("Claim a thread", body=ClaimBody, answer=ClaimedThreadSerializer, errors=(Code.CONFLICT,))
    def post(self, request: Request, inbox_id: str, thread_id: str) -> Response:
        """For so many seconds nobody else can claim it, or reply in it without its token. Claiming again makes the lease longer and keeps
        the token; a new owner gets a higher one. While somebody else holds it: 409."""
        thread = self.get_thread(inbox_id, thread_id)
        body = self.body(ClaimBody, request)
        with refused_when_claimed():
            claimed = claim(thread, owner_by(self.key, body["agent"]), timedelta(seconds=body["seconds"]))
        return data(ClaimedThreadSerializer(claimed).data)


class ReleaseView(ThreadScopedView):
    """POST …/threads/{thread_id}/release"""

    needs = THREADS_WRITE

    @described("Release a thread", body=ReleaseBody, answer=ThreadSerializer, errors=(Code.CONFLICT,))
    def post(self, request: Request, inbox_id: str, thread_id: str) -> Response:
        """Its owner gives it up, or whoever has its token. Of a thread that nobody holds nothing changes."""
        thread = self.get_thread(inbox_id, thread_id)
        body = self.body(ReleaseBody, request)
        with refused_when_claimed():
            released = release(thread, owner_by(self.key, body["agent"]), body.get("token"))
        return data(ThreadSerializer(released).data)


class HandOffView(ThreadScopedView):
    """POST …/threads/{thread_id}/handoff"""

    needs = THREADS_WRITE

    @described("Hand a thread over", body=HandOffBody, answer=ThreadSerializer, errors=(Code.CONFLICT,))
    def post(self, request: Request, inbox_id: str, thread_id: str) -> Response:
        """To another API key of the account, to another agent of a key, or both; nobody can come in between. The old token is worth nothing
        from then on; the new owner learns the new one by claiming the thread, which he already holds. A thread that nobody holds can be
        given by anybody."""
        thread = self.get_thread(inbox_id, thread_id)
        body = self.body(HandOffBody, request)
        to = owner_by(self._receiver(body.get("key_id"), inbox_id), body["to_agent"])
        lease = timedelta(seconds=body["seconds"])
        with refused_when_claimed():
            handed = hand_off(
                thread, owner_by(self.key, body["agent"]), body.get("token"), to, lease, note=body["note"]
            )
        return data(ThreadSerializer(handed).data)

    def _receiver(self, key_id: str | None, inbox_id: str) -> Principal:
        """The key that gets it: one that this key may see, and that may write in threads of this inbox. 404 for every other."""
        if key_id is None:
            return self.key
        key = visible_keys(self.key).filter(pk=key_id).first()
        if key is None or not _can_work_in(key, inbox_id):
            raise not_found()
        return key


def _can_work_in(key: ApiKey, inbox_id: str) -> bool:
    sees_it = key.inbox_ids is None or inbox_id in key.inbox_ids
    return sees_it and key.is_usable(timezone.now()) and THREADS_WRITE in key.permissions
