"""POST /v1/simulate/…: what others would cause, caused by a test key."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from audit.record import Act, record
from delivery.api.simulate_shapes import (
    DoubledBody,
    LateBody,
    NewsBody,
    ReceivedBody,
    SimulatedMailSerializer,
    SimulatedNewsSerializer,
)
from delivery.api.views import attachments_from
from delivery.inbound.receive import StorageError
from delivery.raw import RawGone
from delivery.simulating import NEWS, CannotSimulate, SimulatedMail, SimulatedNews, receive, receive_again, tell
from inboxes.models import Mode
from inboxes.permissions import SANDBOX_SIMULATE
from mailbot.api.errors import ApiError, Code, invalid, not_found
from mailbot.api.schema import described
from mailbot.api.views import data
from threads.api.views import MessageScopedView
from threads.models import Message


class SimulateView(MessageScopedView):
    needs = SANDBOX_SIMULATE

    def message_named(self, message_id: str) -> Message:
        """Of any inbox that the key sees. Raises 404, or 403 for a live key's own."""
        message = self.one(Message.objects.select_related("inbox"), message_id)
        self.refuse_live()
        return message

    def refuse_live(self) -> None:
        """After whatever was named is found: of what is not the key's nobody learns more than that."""
        if self.key.mode != Mode.TEST:
            message = "Only what test keys send and receive is simulated; this key is live."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a test key.")

    def told(self, body: dict[str, Any], event: str, **how: Any) -> Response:
        message = self.message_named(body["message_id"])
        if event == "bounced" and body.get("bounce") == "soft":
            event = "deferred"
        recipients = tuple(address.address for address in body.get("recipients", ()))
        try:
            tell(message, SimulatedNews(event, recipients, body.get("reason", ""), **how))
        except CannotSimulate as error:
            raise refusal_of(error) from error
        self.note("late" if how.get("is_late") else event, message.inbox_id, message)
        return self.shown(message)

    def note(self, what: str, inbox_id: str, message: Message | None = None) -> None:
        """Who caused what others would cause: what follows looks in the trail like theirs."""
        about = {"account_id": self.key.account_id, "inbox_id": inbox_id}
        record(Act.SIMULATION_DONE, message, **about, changes={"simulated": what})

    def shown(self, message: Message) -> Response:
        return data(SimulatedNewsSerializer(self.message_named(message.pk)).data)


class ReceivedView(SimulateView):
    """POST /simulate/received"""

    @described(
        "Simulate a mail that comes in",
        body=ReceivedBody,
        answer=SimulatedMailSerializer,
        status=202,
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        name="simulate_received",
    )
    def post(self, request: Request) -> Response:
        """A mail from somebody outside comes into a test inbox, through the door that SMTP uses. It is there when a worker has read it, as
        a real one: wait for it with `GET …/messages/wait`."""
        body = self.body(ReceivedBody, request)
        inbox = self.get_inbox(body["inbox_id"])
        mail = self._mail(body, inbox.pk)
        self.refuse_live()
        self.note("received", inbox.pk)  # first: a worker may file it at once
        try:
            return data(SimulatedMailSerializer(receive(inbox, mail)).data, status=202)
        except (CannotSimulate, StorageError) as error:
            raise refusal_of(error) from error
        except ValueError as error:
            raise invalid("headers", str(error)) from error

    def _mail(self, body: dict[str, Any], inbox_id: str) -> SimulatedMail:
        answers = self.get_message(inbox_id, body["reply_to_message_id"]) if "reply_to_message_id" in body else None
        plain = ("subject", "body_text", "body_html", "headers", "date")
        given = {name: body[name] for name in plain if name in body}
        return SimulatedMail(sender=body.get("from"), answers=answers, attachments=attachments_from(body), **given)


class NewsView(SimulateView):
    """POST /simulate/{event}: news of a mail that a test key sent"""

    path_values = {"event": tuple(NEWS)}

    @described(
        "Simulate news of a mail",
        body=NewsBody,
        answer=SimulatedNewsSerializer,
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        name="simulate_news",
    )
    def post(self, request: Request, event: str) -> Response:
        """As an ESP tells them: of all recipients, or of those that are named. A status only moves forward, as it does with real news."""
        if event not in NEWS:
            raise not_found()
        return self.told(self.body(NewsBody, request), event)


class LateView(SimulateView):
    """POST /simulate/late"""

    @described(
        "Simulate news that come late",
        body=LateBody,
        answer=SimulatedNewsSerializer,
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        name="simulate_late",
    )
    def post(self, request: Request) -> Response:
        """It happened when the mail left (`occurred_at`), and is told only now (`recorded_at`), behind whatever was told meanwhile."""
        body = self.body(LateBody, request)
        return self.told(body, body["event"], is_late=True)


class DoubledView(SimulateView):
    """POST /simulate/doubled"""

    @described(
        "Simulate what comes twice",
        body=DoubledBody,
        answer=SimulatedNewsSerializer,
        errors=(Code.NOT_FOUND, Code.CONFLICT, Code.GONE),
        name="simulate_doubled",
    )
    def post(self, request: Request) -> Response:
        """With `event`: the news twice, under two ids, as some ESPs tell them: two events, one status. Of a mail that came in, without
        `event`: the same mail once more, byte for byte; it makes no second message and counts in `repeat_count`."""
        body = self.body(DoubledBody, request)
        if "event" in body:
            return self.told(body, body["event"], times=2)
        message = self.message_named(body["message_id"])
        if message.direction != Message.Direction.INBOUND:
            raise invalid("event", "This mail was sent: say what is told of it twice.", f"One of {', '.join(NEWS)}.")
        try:
            receive_again(message)
        except (CannotSimulate, RawGone, StorageError) as error:
            raise refusal_of(error) from error
        self.note("doubled", message.inbox_id, message)
        return self.shown(message)


def refusal_of(error: Exception) -> ApiError:
    if isinstance(error, CannotSimulate):
        return ApiError(Code.CONFLICT, str(error), fix=error.fix)
    if isinstance(error, RawGone):
        return ApiError(Code.GONE, "The raw mail is no longer kept.", fix="Simulate a new one.")
    return ApiError(Code.UNAVAILABLE, "The mail cannot be stored at the moment.", fix="Try again in a few seconds.")
