"""GET /metrics for Prometheus: what all processes of this machine have counted, and how the queues stand in the database."""

import secrets
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from delivery.heartbeat import since_heartbeat
from delivery.models import InboundMail, OutboundMail, ProviderEvent, any_of
from delivery.outbound.states import UNSETTLED, State
from delivery.provider_rows import TRIPPED
from inboxes.models import Inbox, Mode, Provider, SendingDomain
from mailbot.lib import metrics as counted
from mailbot.lib.clock import database_now
from mailbot.lib.questions import Question
from mailbot.lib.scope import acting_for_everybody

ANSWERS_WITHIN = 3.0  # seconds; Prometheus waits for ten


def metrics(request: HttpRequest) -> HttpResponse:
    if not settings.METRICS_TOKEN:
        return _refused(404, "Metrics are off. Set MAILBOT_METRICS_TOKEN to have them.")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not _is_right(token.strip()):
        answer = _refused(401, "Send `Authorization: Bearer <MAILBOT_METRICS_TOKEN>`.")
        answer["WWW-Authenticate"] = 'Bearer realm="mailbot metrics"'
        return answer
    return HttpResponse(_counted() + _asked(), content_type=CONTENT_TYPE_LATEST)


def _is_right(token: str) -> bool:
    return secrets.compare_digest(token.encode(), settings.METRICS_TOKEN.encode())


def _refused(status: int, text: str) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")


def _counted() -> bytes:
    registry = CollectorRegistry()
    if counted.IS_ON:
        MultiProcessCollector(registry, path=str(settings.METRICS_DIR))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _asked() -> bytes:
    registry = CollectorRegistry()
    registry.register(Figures())
    return generate_latest(registry)


class Figures:
    """What the database knows. Where several web processes are asked, each says the same: take the `max` and no `sum`."""

    def collect(self) -> Iterator[Metric]:
        try:
            found = _figures.answer(ANSWERS_WITHIN)
        except Exception:  # it is away or hangs: that is a figure, too
            found = []
        yield GaugeMetricFamily("mailbot_database_up", "Whether the database answers.", value=float(bool(found)))
        yield from found


def _ask() -> list[Metric]:
    with acting_for_everybody("figures of the server"):
        return [*_inbound(), *_outbound(), *_provider_events(), *_breakers(), *_workers()]


_figures = Question(_ask, "metrics-figures")


def _inbound() -> Iterator[Metric]:
    unfinished = InboundMail.objects.unfinished().order_by()
    numbers = dict(unfinished.values_list("state").annotate(Count("pk")))
    depth = GaugeMetricFamily("mailbot_inbound_mails", "Deliveries in no inbox yet, by state.", labels=["state"])
    for state in ("stored", "processing", "failed"):
        depth.add_metric([state], numbers.get(state, 0))
    yield depth
    oldest = unfinished.exclude(state=InboundMail.State.FAILED).aggregate(oldest=Min("received_at"))["oldest"]
    yield _age("mailbot_inbound_oldest_seconds", "How long the oldest of them waits that has not failed.", oldest)


def _outbound() -> Iterator[Metric]:
    mails = OutboundMail.objects.order_by()
    unsettled = mails.filter(any_of("state", *UNSETTLED)).values_list("state")
    numbers = {
        **dict(unsettled.annotate(Count("pk"))),
        State.PREPARING.value: mails.filter(state=State.PREPARING).count(),
    }
    depth = GaugeMetricFamily("mailbot_outbound_mails", "Mails that have not left, by state.", labels=["state"])
    for state in (State.PREPARING.value, *UNSETTLED):
        depth.add_metric([state], numbers.get(state, 0))
    yield depth
    due = OutboundMail.objects.due().order_by().aggregate(number=Count("pk"), oldest=Min("next_attempt_at"))
    yield GaugeMetricFamily("mailbot_outbound_due_mails", "Queued mails whose time has come.", value=due["number"])
    yield _age("mailbot_outbound_oldest_due_seconds", "How long the oldest of them is due.", due["oldest"])
    preparing = mails.filter(state=State.PREPARING).aggregate(oldest=Min("created_at"))["oldest"]
    yield _age("mailbot_preparing_oldest_seconds", "How long the oldest mail waits for its attachments.", preparing)


def _provider_events() -> Iterator[Metric]:
    waiting = ProviderEvent.objects.order_by().filter(processed_at=None)
    found = waiting.aggregate(number=Count("pk"), oldest=Min("received_at"))
    text = "News and mails of providers that are not worked on yet, or are tried again."
    yield GaugeMetricFamily("mailbot_provider_events_waiting", text, value=found["number"])
    yield _age("mailbot_provider_events_oldest_seconds", "How long the oldest of them waits.", found["oldest"])


def _breakers() -> Iterator[Metric]:
    text = "What a breaker has stopped: live inboxes, accounts' shares of domains, and providers."
    stopped = GaugeMetricFamily("mailbot_tripped", text, labels=["what"])
    inboxes = Inbox.objects.filter(status=Inbox.Status.TRIPPED, mode=Mode.LIVE)
    stopped.add_metric(["inbox"], inboxes.count())
    stopped.add_metric(["domain"], SendingDomain.objects.filter(status=SendingDomain.Status.TRIPPED).count())
    tripped = Provider.objects.filter(is_paused=True, paused_reason__startswith=TRIPPED)
    stopped.add_metric(["provider"], tripped.count())
    yield stopped


def _age(name: str, text: str, since: object) -> Metric:
    """0 where nothing waits."""
    seconds = 0.0 if since is None else (database_now() - since).total_seconds()  # type: ignore[operator]
    return GaugeMetricFamily(name, text, value=max(seconds, 0.0))


def _workers() -> Iterator[Metric]:
    since = since_heartbeat()
    if since is not None:
        text = "Since a worker last did what beat asked it to; 15 s apart when all is well."
        yield GaugeMetricFamily("mailbot_heartbeat_age_seconds", text, value=max(since.total_seconds(), 0.0))
