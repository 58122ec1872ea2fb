"""The webhooks of Mailgun"""

import json
import time
from typing import Any

import pytest

from delivery.models import ProviderEvent
from inboxes.models import Inbox, Provider
from tests.cast import Caller
from tests.delivery.hooks.cases import RAW, HookCases
from tests.fake_esp.signing import FORM, Call, form, mailgun_signature


class TestMailgun(HookCases):
    esp = "mailgun"

    def mail(self, inbox: str, raw: bytes, name: str = "inbound") -> str:
        self.raw = raw
        return json.dumps({"recipient": inbox, "sender": "ann@example.com", "subject": "From outside"})

    def signed(self, hook: str, payload: str) -> Call:
        if hook == "tracking":
            return super().signed(hook, payload)
        return Call(form({**json.loads(payload), **mailgun_signature(), "body-mime": self.raw}), FORM)

    def forged(self, made: Call) -> Call | None:
        """Only time and token are signed, so that the rest of a call proves nothing."""
        told = json.loads(made.body)
        told["signature"]["signature"] = "0" * 64
        return Call(json.dumps(told).encode())

    def unsigned(self, made: Call) -> Call | None:
        told = json.loads(made.body)
        del told["signature"]
        return Call(json.dumps(told).encode())

    def test_it_may_have_mime_behind_its_address(self, live: Caller, inbox: Inbox, provider: Provider) -> None:
        """By that Mailgun knows that it shall send the raw mail."""
        self.urls["inbound"] += "/mime"
        made = self.signed("inbound", self.mail(inbox.address, RAW % (inbox.address.encode(), b"Raw")))
        assert self.post("inbound", made).status_code == 200

    def test_a_signature_counts_for_one_event(self, sent: dict[str, Any]) -> None:
        """Whoever overheard a call cannot put something else under its signature."""
        made = self.signed("tracking", self.news("delivered"))
        self.post("tracking", made)
        told = json.loads(made.body)
        told["event-data"]["event"] = "complained"
        assert self.post("tracking", Call(json.dumps(told).encode())).status_code == 200
        assert [event.type for event in ProviderEvent.objects.all()] == ["delivered"]

    def test_an_old_signature_counts_for_none(self, sent: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.signed("tracking", self.news("delivered"))
        now = time.time()
        monkeypatch.setattr("delivery.esps.mailgun.time.time", lambda: now + 13 * 3600)
        assert self.post("tracking", made).status_code == 400
