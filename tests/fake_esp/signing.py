"""Calls as each ESP makes them, signed in its way with secrets that are made up here. Sources: its documentation, as in delivery.esps."""

import base64
import hashlib
import hmac
import json
import secrets as random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
TOPIC = "arn:aws:sns:eu-central-1:123456789012:{hook}"
SVIX_SECRET = "whsec_" + base64.b64encode(b"the secret of a webhook").decode()
HMAC_SECRET = "the-signing-secret"
FORM = "multipart/form-data; boundary=the-boundary"


@dataclass(frozen=True, slots=True)
class Call:
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def _pem(key: Any) -> str:
    """As Anymail wants a public key: the base64 alone."""
    text = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return "".join(line for line in text.splitlines() if not line.startswith("-----"))


SECRETS: dict[str, dict[str, str]] = {
    "amazon_ses": {f"{hook}_topic_arn": TOPIC.format(hook=hook) for hook in ("tracking", "inbound")},
    "mailersend": {"signing_secret": HMAC_SECRET, "inbound_secret": HMAC_SECRET},
    "mailgun": {"webhook_signing_key": HMAC_SECRET},
    "mailtrap": {"tracking_secret": HMAC_SECRET, "inbound_secret": HMAC_SECRET},
    "mandrill": {"webhook_key": HMAC_SECRET, "inbound_webhook_key": HMAC_SECRET},
    "postal": {"webhook_key": _pem(RSA_KEY)},
    "resend": {"signing_secret": SVIX_SECRET, "inbound_secret": SVIX_SECRET},
    "sendgrid": {"tracking_webhook_verification_key": _pem(EC_KEY)},
}


def call(esp: str, hook: str, url: str, payload: str, api_key: str = "") -> Call:
    """`payload`: the JSON of the ESP's documentation, or for a form the JSON of its fields."""
    return _SIGNS.get(esp, _unsigned)(hook, url, payload, api_key)


def _unsigned(hook: str, url: str, payload: str, api_key: str) -> Call:
    return Call(payload.encode())


def _hmac(key: str, text: bytes, digest: Any = hashlib.sha256) -> Any:
    return hmac.new(key.encode(), text, digest)


def _in_header(name: str) -> Callable[[str, str, str, str], Call]:
    def sign(hook: str, url: str, payload: str, api_key: str) -> Call:
        return Call(payload.encode(), headers={name: _hmac(HMAC_SECRET, payload.encode()).hexdigest()})

    return sign


def form(fields: Mapping[str, str | bytes]) -> bytes:
    parts = b""
    for name, value in fields.items():
        content = value if isinstance(value, bytes) else value.encode()
        parts += f'--the-boundary\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + content + b"\r\n"
    return parts + b"--the-boundary--\r\n"


def mailgun_signature() -> dict[str, str]:
    timestamp, token = str(int(time.time())), random.token_hex(25)
    return {
        "timestamp": timestamp,
        "token": token,
        "signature": _hmac(HMAC_SECRET, f"{timestamp}{token}".encode()).hexdigest(),
    }


def _mailgun(hook: str, url: str, payload: str, api_key: str) -> Call:
    if hook == "inbound":
        fields = json.loads(payload)
        return Call(form({**fields, **mailgun_signature()}), FORM)
    for name, value in mailgun_signature().items():
        payload = payload.replace(f"${name}", value)
    return Call(payload.encode())


def _resend(hook: str, url: str, payload: str, api_key: str) -> Call:
    name, at = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    signed = f"{name}.{at}.{payload}".encode()
    key = base64.b64decode(SVIX_SECRET.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return Call(payload.encode(), headers={"svix-id": name, "svix-timestamp": at, "svix-signature": f"v1,{signature}"})


def sns(hook: str, kind: str = "Notification", **parts: str) -> Call:
    told = {
        "Type": kind,
        "MessageId": str(uuid.uuid4()),
        "TopicArn": TOPIC.format(hook=hook),
        "Timestamp": "2026-11-05T16:33:55.000Z",
        "SignatureVersion": "2",
        "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem",
        **parts,
    }
    names = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    text = "".join(f"{name}\n{told[name]}\n" for name in names if name in told)
    signature = RSA_KEY.sign(text.encode(), padding.PKCS1v15(), SHA256())
    told["Signature"] = base64.b64encode(signature).decode()
    headers = {"x-amz-sns-message-type": kind, "x-amz-sns-message-id": told["MessageId"]}
    return Call(json.dumps(told).encode(), "text/plain; charset=UTF-8", headers)


def _mandrill(hook: str, url: str, payload: str, api_key: str) -> Call:
    events = json.dumps(json.loads(payload))
    signature = _hmac(HMAC_SECRET, f"{url}mandrill_events{events}".encode(), hashlib.sha1).digest()
    headers = {"X-Mandrill-Signature": base64.b64encode(signature).decode()}
    body = urlencode({"mandrill_events": events}).encode()
    return Call(body, "application/x-www-form-urlencoded", headers)


def _postal(hook: str, url: str, payload: str, api_key: str) -> Call:
    signature = RSA_KEY.sign(payload.encode(), padding.PKCS1v15(), SHA1())
    return Call(payload.encode(), headers={"X-Postal-Signature": base64.b64encode(signature).decode()})


def _sendgrid(hook: str, url: str, payload: str, api_key: str) -> Call:
    if hook == "inbound":
        return Call(form(json.loads(payload)), FORM)
    at = str(int(time.time()))
    signature = base64.b64encode(EC_KEY.sign(at.encode() + payload.encode(), ec.ECDSA(SHA256()))).decode()
    name = "X-Twilio-Email-Event-Webhook"
    return Call(payload.encode(), headers={f"{name}-Signature": signature, f"{name}-Timestamp": at})


def _unisender_go(hook: str, url: str, payload: str, api_key: str) -> Call:
    auth = hashlib.md5(payload.replace("$auth", api_key).encode()).hexdigest()
    return Call(payload.replace("$auth", auth).encode())


_SIGNS: dict[str, Callable[[str, str, str, str], Call]] = {
    "amazon_ses": lambda hook, url, payload, api_key: sns(hook, Message=payload),
    "mailersend": _in_header("Signature"),
    "mailgun": _mailgun,
    "mailtrap": _in_header("Mailtrap-Signature"),
    "mandrill": _mandrill,
    "postal": _postal,
    "resend": _resend,
    "sendgrid": _sendgrid,
    "unisender_go": _unisender_go,
}
