"""The webhooks of Brevo, which brings a mail in fields, and its files by tokens"""

import json
from typing import Any

import pytest

from delivery.models import ProviderEvent
from inboxes.models import Inbox, Provider
from tests.cast import Caller, run_workers
from tests.delivery.hooks.cases import HookCases
from tests.fake_esp.server import FakeEsp


class TestBrevo(HookCases):
    esp = "brevo"
    has = ("sent", *HookCases.has)
    is_signed = False
    fidelity = "rebuilt"

    @pytest.fixture(autouse=True)
    def with_files(self, fake: FakeEsp) -> None:
        fake.gives["/inbound/attachments/the%2Ftoken"] = b"hello"

    def test_its_files_have_one_time_and_one_size_together(
        self, live: Caller, inbox: Inbox, provider: Provider, fake: FakeEsp, settings: Any
    ) -> None:
        """Who chooses the address of his API chooses what it gives, and for how many files it is asked."""
        settings.SMTP_MAX_SIZE = 4096
        fake.gives["/inbound/attachments/the%2Ftoken"] = bytes(1024)
        told = json.loads(self.mail(inbox.address, b""))
        told["items"][0]["Attachments"] *= 4
        self.post("inbound", self.signed("inbound", json.dumps(told)))
        run_workers()
        assert (ProviderEvent.objects.get().state, live.messages(inbox)) == ("failed", [])

    def test_it_fetches_the_files(self, live: Caller, inbox: Inbox, provider: Provider) -> None:
        self.post("inbound", self.signed("inbound", self.mail(inbox.address, b"")))
        run_workers()
        (message,) = live.messages(inbox)
        assert [(file["filename"], file["size"]) for file in message["attachments"]] == [("a.txt", 5)]
