"""POST /v1/inboxes/{inbox_id}/messages, …/reply, …/forward, and the raw bytes of a message."""

import math
from functools import partial
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from audit.record import Act
from delivery.api.serializers import CancelBody, ForwardBody, ReplyBody, SendBody
from delivery.outbound.cancelling import TooLate, cancel
from delivery.outbound.compose import OutgoingAttachment
from delivery.outbound.queue import Blocked, Check, Draft, TooLarge, queue_mail
from delivery.outbound.recent import OnceByContent, SameSend, answer_again, queue_once, watch
from delivery.outbound.replies import NobodyToReplyTo, TooManyToReplyTo, forward_draft, reply_draft
from delivery.raw import RawGone, raw_of
from inboxes.models import Inbox
from inboxes.permissions import MESSAGES_READ, MESSAGES_SEND
from mailbot.api.errors import ApiError, Code, invalid
from mailbot.api.idempotency import REPLAYED, Answer, Call, asked, digest, memory
from mailbot.api.renderers import timestamp
from mailbot.api.schema import described
from mailbot.api.views import data
from mailbot.lib.receipts import receipt_of
from threads.api.leases import owner_by, refused_when_claimed
from threads.api.serializers import MessageSerializer
from threads.api.views import MessageScopedView, MessagesView, as_download, file_gone, represent_message
from threads.attachments import ContentGone
from threads.leases import check_may_answer
from threads.models import Message
from threads.shown import read_messages


def draft_from(body: dict[str, Any]) -> Draft:
    """A validated body as a Draft; names that are not a draft's are left out."""
    plain = ("subject", "body_text", "body_html", "headers", "metadata", "send_at", "track_opens", "force")
    lists = ("cc", "bcc", "reply_to", "labels")
    given: dict[str, Any] = {name: body[name] for name in plain if name in body}
    given |= {name: tuple(body[name]) for name in lists if name in body}
    return Draft(to=tuple(body.get("to", ())), attachments=attachments_from(body), **given)


def attachments_from(body: dict[str, Any]) -> tuple[OutgoingAttachment, ...]:
    return tuple(
        OutgoingAttachment(file["filename"], file["content_type"], file["content"], file["content_id"], file["url"])
        for file in body.get("attachments", [])
    )


REFUSALS = (Code.BLOCKED,)


def refusal(blocked: Blocked) -> ApiError:
    """422 with the reason, and with when to try again where that is known."""
    told: dict[str, Any] = {"fix": blocked.fix, "reason": blocked.reason, **blocked.told}
    if blocked.until is not None:
        seconds = math.ceil((blocked.until - timezone.now()).total_seconds())
        told |= {"retry_at": timestamp(blocked.until), "headers": {"Retry-After": str(max(1, seconds))}}
    return ApiError(Code.BLOCKED, str(blocked), **told)


class OnceByKey:
    """A try to send with an Idempotency-Key, whose answer is kept with the message."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def begin(self) -> None:
        memory().hold(self.call)

    def keep(self, message: Message) -> None:
        memory().keep(self.call, Answer(202, {"data": represent_message(message)}))


class SendingView(MessageScopedView):
    commits_itself = True  # files are stored and mail is composed before the transaction begins

    def accepted(
        self, inbox: Inbox, draft: Draft, parent: Message | None = None, check: Check | None = None
    ) -> Response:
        """202 with the queued message, or the reason why not. `check` is asked in the transaction."""
        if not draft.recipients:
            raise invalid("to", "There is no recipient.")
        try:
            if self.call:
                return _accepted(queue_mail(inbox, draft, parent, OnceByKey(self.call), check))
            return self._accepted_once(inbox, draft, parent, check)
        except Blocked as blocked:
            raise refusal(blocked) from blocked
        except TooLarge as error:
            raise ApiError(Code.PAYLOAD_TOO_LARGE, str(error), fix="Send fewer or smaller attachments.") from error
        except ValueError as error:
            raise invalid("headers", str(error)) from error

    def _accepted_once(self, inbox: Inbox, draft: Draft, parent: Message | None, check: Check | None) -> Response:
        """Without a key: a client whose answer is lost will try again, and means the same mail (delivery.outbound.recent)."""
        receipt = receipt_of(self.request)
        once = OnceByContent(inbox.account_id, digest(self.key.pk, asked(self.request).bytes), receipt)
        try:
            message, headers = queue_once(inbox, draft, parent, once, check), {}
        except SameSend as same:
            message, headers = (
                self.messages(inbox.pk).prefetch_related("attachments").get(pk=same.message_id),
                {REPLAYED: "true"},
            )
            answer_again(message.pk)
        watch(receipt, message.pk, is_written=False)
        response = _accepted(message, headers)
        response.add_post_render_callback(lambda _: watch(receipt, message.pk, is_written=True))
        return response


def _accepted(message: Message, headers: dict[str, str] | None = None) -> Response:
    return Response({"data": represent_message(message)}, status=202, headers=headers)


class SendMessagesView(SendingView, MessagesView):
    """GET|POST /inboxes/{inbox_id}/messages: the list of threads.api, and sending"""

    needs = {"GET": MESSAGES_READ, "POST": MESSAGES_SEND}

    @described("Send a mail", body=SendBody, answer=MessageSerializer, status=202, errors=REFUSALS, name="send_message")
    def post(self, request: Request, inbox_id: str) -> Response:
        """Queued in the transaction that makes the message; its Message-ID is fixed now. A send that a rule refuses is a 422 whose `reason`
        names the rule."""
        inbox = self.get_inbox(inbox_id)
        return self.accepted(inbox, draft_from(self.body(SendBody, request)))


class ReplyView(SendingView):
    """POST …/messages/{message_id}/reply"""

    needs = MESSAGES_SEND

    @described(
        "Reply to a message",
        body=ReplyBody,
        answer=MessageSerializer,
        status=202,
        errors=(*REFUSALS, Code.CONFLICT),
        name="reply_to_message",
    )
    def post(self, request: Request, inbox_id: str, message_id: str) -> Response:
        """To Reply-To, else From, in the same thread: `Re:` once, In-Reply-To and the whole chain of References are set. With
        `reply_all` its To and Cc are put into Cc. In a thread that somebody else has claimed it is a 409. It carries `Auto-Submitted:
        auto-replied`. In answer to mail that a machine wrote it is a 422 unless you `force` it."""
        parent = self.get_message(inbox_id, message_id)
        body = self.body(ReplyBody, request)
        try:
            draft = reply_draft(parent.inbox, parent, draft_from(body), reply_all=body["reply_all"])
        except (NobodyToReplyTo, TooManyToReplyTo) as error:
            raise invalid("message_id", str(error), "Send a new message to the address you mean.") from error
        who = owner_by(self.key, body["agent"])
        check = partial(check_may_answer, parent.thread_id, who, body.get("thread_token"))
        with refused_when_claimed():
            return self.accepted(parent.inbox, draft, parent, check)


class ForwardView(SendingView):
    """POST …/messages/{message_id}/forward"""

    needs = MESSAGES_SEND

    @described(
        "Forward a message", body=ForwardBody, answer=MessageSerializer, status=202, errors=(*REFUSALS, Code.GONE)
    )
    def post(self, request: Request, inbox_id: str, message_id: str) -> Response:
        """Your text stands above the forwarded one; its files come along."""
        parent = self.get_message(inbox_id, message_id)
        try:
            draft = forward_draft(parent, draft_from(self.body(ForwardBody, request)))
        except ContentGone as error:
            raise file_gone() from error
        return self.accepted(parent.inbox, draft, parent)


class CancelView(MessageScopedView):
    """POST …/messages/{message_id}/cancel"""

    needs = MESSAGES_SEND

    @described("Cancel a mail", body=CancelBody, answer=MessageSerializer, errors=(Code.CONFLICT,))
    def post(self, request: Request, inbox_id: str, message_id: str) -> Response:
        """While it waits: for its time (`send_at`), for a worker or for another try. Later it is a 409. Safe to repeat."""
        message = self.get_message(inbox_id, message_id)
        try:
            cancel(message, self.body(CancelBody, request)["reason"])
        except TooLate as error:
            raise ApiError(Code.CONFLICT, str(error), fix="Read the message to see what became of it.") from error
        return data(represent_message(read_messages(self.message(inbox_id, message_id))[0]))


class RawView(MessageScopedView):
    """GET …/messages/{message_id}/raw: byte for byte as it came, or as it leaves"""

    needs = MESSAGES_READ

    @described("Download the raw mail", media_type="message/rfc822", errors=(Code.GONE,))
    def get(self, request: Request, inbox_id: str, message_id: str) -> HttpResponse:
        """Byte for byte as it came, or as it leaves (without Bcc)."""
        message = self.get_message(inbox_id, message_id)
        try:
            raw = raw_of(message)
        except RawGone as error:
            raise ApiError(Code.GONE, "The raw mail is no longer kept.", fix="Read the message itself.") from error
        self.note_read(Act.RAW_READ, "message", inbox_id, message_id)
        return as_download(HttpResponse(raw, content_type="message/rfc822"), f"{message.pk}.eml")
