"""The webhooks of Resend, which name a mail that is then fetched"""

import json
from typing import Any

import pytest

from delivery.models import OutboundMail, ProviderEvent
from inboxes.models import Inbox, Provider
from tests.cast import Caller, run_workers
from tests.delivery.hooks.cases import RAW, HookCases
from tests.fake_esp.server import FakeEsp
from tests.mailing import deliver, mail


class TestResend(HookCases):
    esp = "resend"
    has = ("sent", *HookCases.has)

    def mail(self, inbox: str, raw: bytes, name: str = "inbound") -> str:
        path = "/emails/receiving/56761188-7520-42d8-8898-ff6fc54ce618"
        told = {"from": "ann@example.com", "to": [inbox], "raw": {"download_url": f"{self.fake.url}/raw"}}
        self.fake.gives |= {path: json.dumps(told).encode(), "/raw": raw}
        return super().mail(inbox, raw, name)

    @pytest.fixture(autouse=True)
    def with_fake(self, fake: FakeEsp) -> None:
        self.fake = fake

    def test_it_tries_again_while_the_mail_cannot_be_had(self, live: Caller, inbox: Inbox, provider: Provider) -> None:
        made = self.signed("inbound", self.mail(inbox.address, RAW % (inbox.address.encode(), b"Late")))
        raw = self.fake.gives.pop("/raw")
        self.fake.fails_with = 503
        self.post("inbound", made)
        run_workers()
        event = ProviderEvent.objects.get()
        assert (event.state, event.attempts, live.messages(inbox)) == ("pending", 1, [])
        self.fake.gives["/raw"] = raw
        ProviderEvent.objects.update(next_attempt_at=event.received_at)
        run_workers()
        assert [message["subject"] for message in live.messages(inbox)] == ["Late"]
        assert ProviderEvent.objects.get().payload == {}

    def test_an_answer_finds_the_thread_by_the_id_that_recipients_saw(
        self, live: Caller, inbox: Inbox, sent: dict[str, Any]
    ) -> None:
        self.tell("delivered")
        run_workers()
        final = "<0102018f-resend@eu-west-1.amazonses.com>"
        assert OutboundMail.objects.get().final_message_id == final
        deliver(mail(From="ann@example.com", In_Reply_To=final, Subject="Re: Hello"), inbox)
        answer = live.messages(inbox)[0]
        assert answer["thread_id"] == sent["thread_id"]
