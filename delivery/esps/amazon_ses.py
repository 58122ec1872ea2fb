"""Amazon SES, version 2 of its API. Source: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html"""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from delivery.esps.base import TIMEOUT, Esp, Field, MessageId
from delivery.outbound.outcomes import Outcome, Result

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
        Field("endpoint_url", "API address", "Only for a test server.", is_secret=False, is_required=False),
    )
    message_id = MessageId.REPLACED
    is_thread_safe = True  # botocore's clients are

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
        cause = error.__cause__ or error
        if isinstance(cause, ClientError):
            return cls._by_answer(cause, str(error))
        if isinstance(cause, ConnectTimeoutError | EndpointConnectionError):  # nothing was handed over yet
            return Outcome(Result.TEMPORARY, str(error))
        return Outcome(Result.UNKNOWN, str(error)) if isinstance(cause, BotoCoreError) else super().outcome_of(error)

    @classmethod
    def _by_answer(cls, error: ClientError, detail: str) -> Outcome:
        if error.response.get("Error", {}).get("Code") in _NOT_NOW:
            return Outcome(Result.TEMPORARY, detail)
        return cls.by_status(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"), detail)
