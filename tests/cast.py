"""The standing cast: Alice owns, Bob is her team-mate, Charlie is a stranger. Each calls the API with a key of his own."""

from dataclasses import dataclass, field
from typing import Any

from audit.actors import acting_as_system
from delivery.hooks.fetched import KEPT_BY_ESPS
from delivery.hooks.news import process_provider_events
from delivery.inbound.process import process_inbound
from delivery.outbound.fetching import ATTACHMENTS
from delivery.outbound.send import send_due_mail
from delivery.slow_work import work_through
from inboxes.keys import issue_key
from inboxes.models import Account, Inbox
from tests.contract import CheckedClient


@dataclass
class Caller:
    """A client of /v1. Answers are Django test responses; `.json()["data"]` is what was asked for."""

    account: Account
    name: str
    mode: str = "test"
    key_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key, self.secret = issue_key(account=self.account, name=self.name, mode=self.mode, **self.key_options)
        self.client = CheckedClient(raise_request_exception=False, headers={"Authorization": f"Bearer {self.secret}"})

    def with_key(self, **options: Any) -> "Caller":
        """The same person with another key: `mode`, `permissions`, `inbox` or `inbox_ids`, `expires_at`."""
        if (inbox := options.pop("inbox", None)) is not None:
            options["inbox_ids"] = [inbox.pk]
        return Caller(self.account, self.name, options.pop("mode", self.mode), options)

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(path, query)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.client.post(path, body or {}, content_type="application/json", **options)

    def put(self, path: str, body: Any) -> Any:
        return self.client.put(path, body, content_type="application/json")

    def patch(self, path: str, body: Any) -> Any:
        return self.client.patch(path, body, content_type="application/json")

    def delete(self, path: str) -> Any:
        return self.client.delete(path)

    def create_inbox(self, **body: Any) -> Inbox:
        answer = self.post("/v1/inboxes", body)
        assert answer.status_code == 201, answer.content
        return Inbox.objects.get(pk=answer.json()["data"]["id"])

    def messages(self, inbox: Inbox, **query: Any) -> list[dict[str, Any]]:
        answer = self.get(f"/v1/inboxes/{inbox.pk}/messages", **query)
        assert answer.status_code == 200, answer.content
        return list(answer.json()["data"])

    def send(self, inbox: Inbox, **body: Any) -> dict[str, Any]:
        answer = self.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "customer@example.com", **body})
        assert answer.status_code == 202, answer.content
        return dict(answer.json()["data"])

    def events(self, **query: Any) -> list[str]:
        """The types of events, oldest first."""
        return [event["type"] for event in reversed(self.get("/v1/events", **query).json()["data"])]


def run_workers() -> None:
    """What the Celery workers would do, until there is nothing left to do."""
    with acting_as_system("worker"):
        while process_inbound() + work_through(ATTACHMENTS, KEPT_BY_ESPS) + send_due_mail() + process_provider_events():
            pass
