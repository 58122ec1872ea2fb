"""What tests of raw mail look at while it is moved into the object store or erased there."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from delivery.models import RawObject
from inboxes.models import Inbox
from tests.cast import Caller

NOW = timedelta()


class Killed(BaseException):
    """As kill -9: nothing of ours runs after it."""


def die(*_: Any) -> None:
    raise Killed


def raw(caller: Caller, message: dict[str, Any]) -> Any:
    return caller.get(f"/v1/inboxes/{message['inbox_id']}/messages/{message['id']}/raw")


def is_whole(caller: Caller, inbox: Inbox, *contents: bytes) -> bool:
    answers = [raw(caller, message) for message in caller.messages(inbox)]
    return sorted(answer.content for answer in answers if answer.status_code == 200) == sorted(contents)


def states() -> list[str]:
    return [card.state for card in RawObject.objects.all()]


def leases_run_out() -> None:
    RawObject.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
