"""The webhooks of Brevo, which brings a mail in fields, and its files by tokens"""

import pytest

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

    def test_it_fetches_the_files(self, live: Caller, inbox: Inbox, provider: Provider) -> None:
        self.post("inbound", self.signed("inbound", self.mail(inbox.address, b"")))
        run_workers()
        (message,) = live.messages(inbox)
        assert [(file["filename"], file["size"]) for file in message["attachments"]] == [("a.txt", 5)]
