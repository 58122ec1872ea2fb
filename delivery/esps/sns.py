"""Notifications of Amazon SNS: that Amazon signed them, and for the topic that was meant.

Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from anymail.exceptions import AnymailWebhookValidationFailure  # type: ignore[import-untyped]
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import load_pem_x509_certificate

from mailbot.lib.safe_fetch import fetch

AMAZON = re.compile(r"https://sns\.[a-z0-9-]{2,40}\.amazonaws\.com(?:\.cn)?/[\x21-\x7e]*")
CERTIFICATE = re.compile(AMAZON.pattern[: -len(r"[\x21-\x7e]*")] + r"SimpleNotificationService-[0-9A-Za-z]+\.pem")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_SIGNED["UnsubscribeConfirmation"] = _SIGNED["SubscriptionConfirmation"]
_HASHES = {"1": SHA1, "2": SHA256}


def verify(told: Mapping[str, Any], topic_arn: str) -> None:
    """Raises AnymailWebhookValidationFailure, and FetchFailed when the certificate cannot be had now.

    The topic counts as much as the signature: anybody can have a topic, and Amazon signs what is published there too.
    """
    if told.get("TopicArn") != topic_arn:
        raise AnymailWebhookValidationFailure("This notification is of another topic.")
    hashed = _HASHES.get(str(told.get("SignatureVersion")))
    if hashed is None or not CERTIFICATE.fullmatch(str(told.get("SigningCertURL", ""))):
        raise AnymailWebhookValidationFailure("This notification is not signed as Amazon SNS signs.")
    try:
        signature = b64decode(str(told.get("Signature", "")), validate=True)
        key_at(told["SigningCertURL"]).verify(signature, signed_text(told), PKCS1v15(), hashed())
    except (InvalidSignature, NotBase64) as error:
        raise AnymailWebhookValidationFailure("The signature of this notification is wrong.") from error


def signed_text(told: Mapping[str, Any]) -> bytes:
    names = _SIGNED.get(str(told.get("Type")), ())
    return "".join(f"{name}\n{told[name]}\n" for name in names if told.get(name) is not None).encode()


@lru_cache(maxsize=32)
def key_at(url: str) -> RSAPublicKey:
    """Of a certificate of Amazon's; it changes now and then, and its URL with it. Raises FetchFailed."""
    key = load_pem_x509_certificate(fetch(url, most=64 * 1024, seconds=5).content).public_key()
    if not isinstance(key, RSAPublicKey):
        raise AnymailWebhookValidationFailure("The certificate of this notification is none of Amazon SNS.")
    return key
