"""What the API shows of a mail's sender."""

from dataclasses import dataclass
from typing import Any

from inboxes.models import Inbox
from tests.cast import Caller


@dataclass(frozen=True)
class Shown:
    message: dict[str, Any]
    explained: dict[str, Any]

    @property
    def auth(self) -> tuple[str, str, str]:
        told = self.message["auth"]
        return told["spf"], told["dkim"], told["dmarc"]

    @property
    def flags(self) -> list[str]:
        return list(self.message["trust"]["flags"])

    @property
    def score(self) -> float:
        return float(self.message["trust"]["score"])

    @property
    def thread(self) -> str:
        return str(self.message["thread_id"])

    @property
    def rule(self) -> str:
        return str(self.explained["thread"]["rule"])

    @property
    def authentication(self) -> dict[str, Any]:
        return dict(self.explained["checks"]["authentication"])


def newest(caller: Caller, inbox: Inbox) -> Shown:
    (listed,) = caller.messages(inbox, limit=1)
    path = f"/v1/inboxes/{inbox.pk}/messages/{listed['id']}"
    assert caller.get(path).json()["data"]["auth"] == listed["auth"]
    return Shown(listed, caller.get(f"{path}/explain").json()["data"])
