"""The webhooks of Amazon SES, which come by Amazon SNS"""

import json
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from delivery.esps import sns
from delivery.models import OutboundMail, ProviderEvent
from inboxes.models import Inbox, Provider
from mailbot.lib import safe_fetch
from tests.cast import Caller, run_workers
from tests.delivery.hooks.cases import RAW, HookCases
from tests.fake_esp.signing import Call
from tests.fake_esp.signing import sns as notification
from tests.mailing import deliver, mail


class TestAmazonSES(HookCases):
    esp = "amazon_ses"
    has = ("sent", "delivered", "bounced", "complained", "opened", "clicked")

    def test_a_topic_of_somebody_else_counts_for_nothing(self, sent: dict[str, Any]) -> None:
        """Amazon signs what he publishes, too."""
        made = notification("tracking", TopicArn="arn:aws:sns:eu-central-1:666:mine", Message=self.news("delivered"))
        assert (self.post("tracking", made).status_code, ProviderEvent.objects.count()) == (400, 0)

    @pytest.mark.parametrize(
        "url",
        [
            "https://sns.evil.example/SimpleNotificationService-0123abcd.pem",
            "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-0123abcd.pem",
            "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem",
            "https://sns.eu-central-1.amazonaws.com/other/../SimpleNotificationService-0123abcd.pem",
        ],
    )
    def test_a_certificate_is_taken_from_amazon_only(self, sent: dict[str, Any], url: str) -> None:
        made = notification("tracking", SigningCertURL=url, Message=self.news("delivered"))
        assert self.post("tracking", made).status_code == 400

    def test_without_the_certificate_it_is_to_call_again(
        self, sent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(url: str) -> None:
            raise safe_fetch.FetchFailed("no route", is_temporary=True)

        monkeypatch.setattr(sns, "key_at", fail)
        assert self.tell("delivered").status_code == 503

    def test_it_confirms_the_subscription(self, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
        got: list[str] = []
        monkeypatch.setattr("delivery.hooks.fetched.fetch", lambda url, **_: got.append(url))
        url = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=abc"
        made = notification("tracking", "SubscriptionConfirmation", SubscribeURL=url, Token="abc", Message="You have…")
        assert self.post("tracking", made).status_code == 200
        run_workers()
        assert got == [url]

    def test_it_fetches_from_s3(
        self, live: Caller, inbox: Inbox, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        raw = RAW % (inbox.address.encode(), b"From S3")
        server = ThreadedMotoServer("127.0.0.1", port=0)
        server.start()
        try:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.get_host_and_port()[1]}")
            names = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "eu-central-1"}
            client = boto3.client("s3", **names)
            client.create_bucket(Bucket="mail-in", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
            name = "inbound/jili9m351il3gkburn7o2f0u6788stij94c8ld01"
            client.put_object(Bucket="mail-in", Key=name, Body=raw)
            payload = self.mail(inbox.address, raw, "inbound_s3")
            assert self.post("inbound", self.signed("inbound", payload)).status_code == 200
            run_workers()
        finally:
            server.stop()
        (message,) = live.messages(inbox)
        assert live.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content == raw

    def test_an_answer_finds_the_thread_by_the_id_that_ses_wrote(
        self, live: Caller, inbox: Inbox, sent: dict[str, Any]
    ) -> None:
        outbound = OutboundMail.objects.get()
        final = f"<{outbound.provider_message_id}@eu-central-1.amazonses.com>"
        assert outbound.final_message_id == final
        deliver(mail(From="ann@example.com", In_Reply_To=final, Subject="Re: Hello"), inbox)
        assert live.messages(inbox)[0]["thread_id"] == sent["thread_id"]

    def unsigned(self, made: Call) -> Call | None:
        told = json.loads(made.body)
        del told["Signature"]
        return Call(json.dumps(told).encode(), made.content_type, made.headers)
