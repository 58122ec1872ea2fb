"""Amazon SES, version 2 of its API. Source: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html

boto3 is imported where it is used: it is a tenth of what each process loads at its start, and most mailbots know no Amazon.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings

from delivery.esps import sns
from delivery.esps.base import TIMEOUT, Arrived, Esp, Field, Hook, MessageId, NotForUs
from delivery.esps.calls import json_of
from delivery.esps.told import POLICIES, Told, domain_of, word
from delivery.fidelity import Fidelity
from delivery.outbound.outcomes import Outcome, Result
from mailbot.lib.safe_fetch import FetchFailed

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

# botocore tries a 500 again by itself, and SES knows no second one by a key: one attempt, and the decision is ours.
_ONE_ATTEMPT = {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": TIMEOUT}
_NOT_NOW = frozenset({"TooManyRequestsException", "LimitExceededException", "ThrottlingException", "Throttling"})


class AmazonSES(Esp):
    key = "amazon_ses"
    label = "Amazon SES"
    backend = "anymail.backends.amazon_ses.EmailBackend"
    fields = (
        Field("access_key_id", "Access key ID", is_secret=False),
        Field("secret_access_key", "Secret access key"),
        Field("region", "Region", "eu-central-1, us-east-1 …", is_secret=False),
        Field("configuration_set_name", "Configuration set", "Whose events go to SNS.", False, False),
        Field(
            "tracking_topic_arn",
            "SNS topic of its events",
            "arn:aws:sns:…, whose subscription calls the address for tracking.",
            is_secret=False,
            is_required=False,
            is_for_hooks=True,
        ),
        Field(
            "inbound_topic_arn",
            "SNS topic of inbound mail",
            "arn:aws:sns:…, whose subscription calls the address for inbound mail.",
            is_secret=False,
            is_required=False,
            is_for_hooks=True,
        ),
        Field("endpoint_url", "API address", "Only for a test server.", is_secret=False, is_required=False),
    )
    message_id = MessageId.REPLACED
    is_thread_safe = True  # botocore's clients are
    views = {
        Hook.TRACKING: "anymail.webhooks.amazon_ses.AmazonSESTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.amazon_ses.AmazonSESInboundWebhookView",
    }
    signs_with = {Hook.TRACKING: "tracking_topic_arn", Hook.INBOUND: "inbound_topic_arn"}

    @classmethod
    def options(cls, credentials: Mapping[str, str]) -> dict[str, Any]:
        client = {
            "aws_access_key_id": credentials["access_key_id"],
            "aws_secret_access_key": credentials["secret_access_key"],
            "region_name": credentials["region"],
            "config": _ONE_ATTEMPT,
        }
        if endpoint := credentials.get("endpoint_url"):
            client["endpoint_url"] = endpoint
        return {
            "client_params": client,
            "session_params": {},
            "configuration_set_name": credentials.get("configuration_set_name") or None,
        }

    @classmethod
    def outcome_of(cls, error: Exception) -> Outcome:
        from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

        cause = error.__cause__ or error
        if isinstance(cause, ClientError):
            return cls._by_answer(cause, str(error))
        if isinstance(cause, ConnectTimeoutError | EndpointConnectionError):  # nothing was handed over yet
            return Outcome(Result.TEMPORARY, str(error))
        return Outcome(Result.UNKNOWN, str(error)) if isinstance(cause, BotoCoreError) else super().outcome_of(error)

    @classmethod
    def _by_answer(cls, error: "ClientError", detail: str) -> Outcome:
        if error.response.get("Error", {}).get("Code") in _NOT_NOW:
            return Outcome(Result.TEMPORARY, detail)
        return cls.by_status(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"), detail)

    # --- Its calls ---

    @classmethod
    def view_options(cls, hook: Hook, credentials: Mapping[str, str]) -> dict[str, Any]:
        options = cls.options(credentials)
        return {"client_params": options["client_params"], "session_params": options["session_params"]}

    @classmethod
    def verify(cls, hook: Hook, request: Any, credentials: Mapping[str, str]) -> None:
        sns.verify(json_of(request), credentials[cls.signs_with[hook]])

    @classmethod
    def confirmation(cls, request: Any) -> str:
        told = json_of(request)
        url = str(told.get("SubscribeURL") or "")
        return url if told.get("Type") == "SubscriptionConfirmation" and sns.AMAZON.fullmatch(url) else ""

    @classmethod
    def final_message_id(cls, provider_message_id: str, credentials: Mapping[str, str]) -> str:
        """https://docs.aws.amazon.com/ses/latest/dg/header-fields.html"""
        region = credentials["region"]
        host = "email" if region == "us-east-1" else region
        return f"<{provider_message_id}@{host}.amazonses.com>" if provider_message_id else ""

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html"""
        told = json_of(request)
        if told.get("Type") != "Notification":
            return []
        try:
            event = json.loads(told["Message"])
        except ValueError:  # "Successfully validated SNS topic …"
            return []
        if event.get("notificationType") != "Received":
            raise NotForUs("This topic is for mail that comes in; publish events of sending to the other one.")
        mail, receipt = event["mail"], event["receipt"]
        about = (str(mail["messageId"]), str(mail.get("source") or ""), tuple(receipt.get("recipients") or ()))
        told_by = _told(receipt, about[1])
        action = receipt.get("action", {})
        if action.get("type") == "S3":
            where = {"bucket": action["bucketName"], "object": action["objectKey"]}
            return [Arrived(*about, None, reference={**where, "about": list(about), "told": told_by.as_json()})]
        content = event.get("content")
        if content is None:
            raise NotForUs("Let the receipt rule deliver to S3, or publish to SNS with the content, encoded as Base64.")
        if action.get("encoding") == "BASE64":
            return [Arrived(*about, base64.b64decode(content), told=told_by)]
        return [Arrived(*about, content.encode(), Fidelity.DECODED, told=told_by)]

    @classmethod
    def fetch(cls, credentials: Mapping[str, str], reference: Mapping[str, Any]) -> Arrived:
        """From S3, with the right to s3:GetObject."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        options = cls.options(credentials)["client_params"]
        options.pop("endpoint_url", None)  # of SES
        client = boto3.session.Session().client(
            "s3", **{**options, "config": Config(connect_timeout=10, read_timeout=30)}
        )
        try:
            body = client.get_object(Bucket=reference["bucket"], Key=reference["object"])["Body"]
            raw = body.read(settings.SMTP_MAX_SIZE + 1)
        except (ClientError, BotoCoreError) as error:
            answer: Any = getattr(error, "response", {})
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            # One that may not be read today may be tomorrow: an operator gives the right.
            raise FetchFailed(f"S3 does not give {reference['object']}: {error}", is_temporary=status != 404) from error
        finally:
            client.close()
        if len(raw) > settings.SMTP_MAX_SIZE:
            raise FetchFailed(f"{reference['object']} is larger than a mail may be.")
        key, sender, recipients = reference["about"]
        return Arrived(key, sender, tuple(recipients), raw, told=Told.from_json(reference.get("told")))


# Its words for verdicts; GRAY: it found nothing to decide by.
_VERDICTS = {"PASS": "pass", "FAIL": "fail", "GRAY": "none", "PROCESSING_FAILED": "temperror"}


def _told(receipt: Mapping[str, Any], sender: str) -> Told:
    """https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html: dmarcPolicy is there where DMARC fails."""
    spf, dkim, dmarc = (_verdict(receipt.get(f"{name}Verdict")) for name in ("spf", "dkim", "dmarc"))
    policy = word(receipt.get("dmarcPolicy"), POLICIES)
    return Told(spf=spf, spf_domain=domain_of(sender), dkim=dkim, dmarc=dmarc, policy=policy)


def _verdict(told: Any) -> str:
    return _VERDICTS.get(str(told.get("status")) if isinstance(told, Mapping) else "", "")
