"""What a request to an ESP's API is, and what it answers when it takes the mail: one entry for each ESP.

Sources: the documentation that delivery.esps names for each, and what django-anymail 15.2 reads of an answer.
"""

import base64
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote_plus

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    path: str
    headers: Headers
    body: bytes
    method: str = "POST"

    @cached_property
    def text(self) -> str:
        """The body as far as it can be searched: the MIME that SES gets in base64 is unpacked."""
        text = self.body.decode("utf-8", "replace")
        if '"Raw"' in text:
            return base64.b64decode(json.loads(text)["Content"]["Raw"]["Data"]).decode("utf-8", "replace")
        kind = self.headers.get("content-type", "")
        return unquote_plus(text) if kind.startswith("application/x-www-form-urlencoded") else text

    @cached_property
    def recipients(self) -> list[str]:
        """Whatever looks like an address of example.com, in order and once."""
        return list(dict.fromkeys(re.findall(r"[\w.+-]+@(?:[\w-]+\.)*example\.com", self.text)))


Answer = tuple[int, dict[str, str], Any]


@dataclass(frozen=True, slots=True)
class Api:
    """`is_asked`: whether the request is one of this ESP; `taken`: the answer for a mail that gets the id."""

    key: str
    is_asked: Callable[[Request], bool]
    taken: Callable[[str, Request], Answer]
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())


def _is(path: str, header: str = "") -> Callable[[Request], bool]:
    return lambda request: request.path.endswith(path) and (not header or header in request.headers)


def _postmark(mail_id: str, request: Request) -> Answer:
    to = ", ".join(request.recipients)
    return 200, {}, {"ErrorCode": 0, "Message": "OK", "MessageID": mail_id, "To": to, "SubmittedAt": "2026-01-01"}


def _mailjet(mail_id: str, request: Request) -> Answer:
    to = [{"Email": one, "MessageUUID": mail_id, "MessageID": 456, "MessageHref": ""} for one in request.recipients]
    return 200, {}, {"Messages": [{"Status": "success", "To": to, "Cc": [], "Bcc": []}]}


def _mandrill(mail_id: str, request: Request) -> Answer:
    return 200, {}, [{"email": one, "status": "sent", "_id": mail_id} for one in request.recipients]


def _scaleway(mail_id: str, request: Request) -> Answer:
    mails = [{"id": mail_id, "message_id": mail_id, "mail_rcpt": one, "status": "new"} for one in request.recipients]
    return 200, {}, {"emails": mails}


def _postal(mail_id: str, request: Request) -> Answer:
    messages = {one: {"id": int(mail_id), "token": "abc"} for one in request.recipients}
    return 200, {}, {"status": "success", "time": 0.01, "data": {"message_id": mail_id, "messages": messages}}


def _json(make: Callable[[str], Any], status: int = 200) -> Callable[[str, Request], Answer]:
    return lambda mail_id, _: (status, {}, make(mail_id))


def _in_header(mail_id: str, _: Request) -> Answer:
    return 202, {"X-Message-Id": mail_id}, {}


APIS = (
    Api(
        "postmark",
        _is("/email", "x-postmark-server-token"),
        _postmark,
    ),
    Api(
        "mailgun",
        _is("/messages"),
        _json(lambda it: {"id": it, "message": "Queued. Thank you."}),
        lambda: f"<{uuid.uuid4().hex}@mg.example.com>",
    ),
    Api("scaleway", _is("/emails", "x-auth-token"), _scaleway),
    Api("resend", _is("/emails"), _json(lambda it: {"id": it})),
    Api("amazon_ses", _is("/v2/email/outbound-emails"), _json(lambda it: {"MessageId": it}), lambda: uuid.uuid4().hex),
    Api(
        "brevo",
        _is("/smtp/email"),
        _json(lambda it: {"messageId": it}, 201),
        lambda: f"<{uuid.uuid4().hex}@smtp-relay.mailin.fr>",
    ),
    Api("mailersend", _is("/email", "authorization"), _in_header),
    Api("sendgrid", _is("/mail/send"), _in_header),
    Api("mailjet", _is("/send", "authorization"), _mailjet),
    Api("mailtrap", _is("/send"), _json(lambda it: {"success": True, "message_ids": [it]})),
    Api("mandrill", _is("/messages/send.json"), _mandrill),
    Api("postal", _is("/api/v1/send/message"), _postal, lambda: str(uuid.uuid4().int % 10**9)),
    Api(
        "sparkpost",
        _is("/transmissions/"),
        _json(lambda it: {"results": {"total_rejected_recipients": 0, "total_accepted_recipients": 1, "id": it}}),
    ),
    Api(
        "unisender_go",
        _is("/email/send.json"),
        lambda it, request: (200, {}, {"status": "success", "job_id": it, "emails": request.recipients}),
    ),
)


def api_of(request: Request) -> Api | None:
    # Mailjet and Mailtrap share a path; Mailjet's customers log in with two keys.
    found = [api for api in APIS if api.is_asked(request)]
    if found and found[0].key == "mailjet" and request.headers["authorization"].startswith("Bearer"):
        del found[0]
    return found[0] if found else None


def idempotency_key(request: Request) -> str:
    """As Resend and Brevo know one."""
    in_body = re.search(r'"idempotencyKey":\s*"([^"]+)"', request.text)
    return request.headers.get("idempotency-key", "") or (in_body[1] if in_body else "")
