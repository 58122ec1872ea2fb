"""Resend. Source: https://resend.com/docs/api-reference/emails/send-email and …/introduction (idempotency keys)"""

from typing import Any

from anymail.backends.resend import EmailBackend, ResendPayload  # type: ignore[import-untyped]

from delivery.esps.base import Esp, Field


class KeyedPayload(ResendPayload):  # type: ignore[misc]
    """With the Idempotency-Key as a header of the request; Anymail would make it a header of the mail."""

    def get_request_params(self, api_url: str) -> dict[str, Any]:
        params: dict[str, Any] = super().get_request_params(api_url)
        params["headers"] = {**params.get("headers", {}), "Idempotency-Key": self.message.metadata["mailbot_id"]}
        return params


class KeyedBackend(EmailBackend):  # type: ignore[misc]
    def build_message_payload(self, message: Any, defaults: Any) -> KeyedPayload:
        return KeyedPayload(message, defaults, self)


class Resend(Esp):
    key = "resend"
    label = "Resend"
    backend = "delivery.esps.resend.KeyedBackend"
    fields = (
        Field("api_key", "API key"),
        Field(
            "api_url",
            "API address",
            "Only for a test server. Otherwise https://api.resend.com/",
            is_secret=False,
            is_required=False,
        ),
    )
    retries_safely = True  # its keys are kept for 24 hours
    temporary_statuses = frozenset({409})  # the same key is still being worked on
