"""The webhooks of Postmark"""

import json
from typing import Any

from inboxes.models import Inbox, Provider
from tests.cast import Caller, run_workers
from tests.delivery.hooks.cases import HookCases


class TestPostmark(HookCases):
    esp = "postmark"
    is_signed = False
    fidelity = "decoded"

    def test_it_rebuilds_a_mail_that_comes_without_its_raw_form(
        self, live: Caller, inbox: Inbox, provider: Provider
    ) -> None:
        payload = self.payload("inbound_without_raw", inbox=inbox.address, subject="In fields")
        assert self.post("inbound", self.signed("inbound", payload)).status_code == 200
        run_workers()
        (message,) = live.messages(inbox)
        assert (message["subject"], [file["filename"] for file in message["attachments"]]) == ("In fields", ["a.txt"])
        why = live.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/explain").json()["data"]
        assert why["intake"] == {"source": "postmark", "raw": "rebuilt"}

    def test_it_says_when_the_address_is_the_wrong_one(self, sent: dict[str, Any], inbox: Inbox) -> None:
        payload = self.payload("inbound", inbox=inbox.address, subject="x", raw=json.dumps("x")[1:-1])
        answer = self.post("tracking", self.signed("tracking", payload))
        assert answer.status_code == 400
        assert "inbound" in answer.json()["error"]
