"""The webhooks of Mailtrap, which name a mail that is then fetched"""

import json

import pytest

from tests.delivery.hooks.cases import HookCases
from tests.fake_esp.credentials import credentials_for
from tests.fake_esp.server import FakeEsp
from tests.fake_esp.signing import SECRETS


class TestMailtrap(HookCases):
    esp = "mailtrap"

    @pytest.fixture(autouse=True)
    def with_fake(self, fake: FakeEsp, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fake = fake
        monkeypatch.setitem(SECRETS, "mailtrap", {**SECRETS["mailtrap"], "inbound_api_url": fake.url})

    def mail(self, inbox: str, raw: bytes, name: str = "inbound") -> str:
        path = "/inbound/inboxes/4711/messages/msg%2F1"
        told = {"id": "msg/1", "raw_message_url": f"{self.fake.url}/raw"}
        self.fake.gives |= {path: json.dumps(told).encode(), "/raw": raw}
        return super().mail(inbox, raw, name)

    def test_credentials_are_all_there(self) -> None:
        assert credentials_for(self.esp, self.fake.url)["api_url"] == self.fake.url
