"""`reputation` of an inbox: what became of its mail, and how it stands with its breaker."""

from datetime import datetime
from typing import Literal, TypedDict

from django.conf import settings

from inboxes.models import Inbox
from inboxes.sending_record import Figures

State = Literal["ok", "tripped", "on_trial"]
NO_FIGURES = Figures()


class WindowFigures(TypedDict):
    sent: int
    delivered: int
    deferred: int
    bounced: int
    complained: int
    bounce_rate: float | None
    complaint_rate: float | None


Windows = TypedDict("Windows", {"1h": WindowFigures, "24h": WindowFigures, "7d": WindowFigures})


class Reputation(TypedDict):
    state: State
    score: int | None
    trials_at: datetime | None
    trial_sends_left: int | None
    counted_from: datetime | None
    windows: Windows


def reputation_of(inbox: Inbox, figures: dict[str, Figures] | None) -> Reputation:
    """`figures` are its own by window; None: it sent nothing in a week."""
    found = figures or {}
    is_tripped = inbox.status == Inbox.Status.TRIPPED
    return {
        "state": "ok" if not is_tripped else "tripped" if inbox.trials_left is None else "on_trial",
        "score": _score(found.get("24h", NO_FIGURES)),
        "trials_at": inbox.trials_at if is_tripped else None,
        "trial_sends_left": inbox.trials_left if is_tripped else None,
        "counted_from": inbox.record_from,
        "windows": {
            "1h": _shown(found.get("1h", NO_FIGURES)),
            "24h": _shown(found.get("24h", NO_FIGURES)),
            "7d": _shown(found.get("7d", NO_FIGURES)),
        },
    }


def _score(figures: Figures) -> int | None:
    """100: neither bounce nor complaint in a day; 0: as many as trip a breaker, or more. None: too little was sent to say."""
    if figures.sent < settings.BREAKER_SENDS:
        return None
    limits = ((figures.bounce_rate, settings.BREAKER_BOUNCES), (figures.complaint_rate, settings.BREAKER_COMPLAINTS))
    worst = max((rate * 100 / float(limit) for rate, limit in limits if limit is not None), default=0.0)
    return max(0, round(100 * (1 - worst)))


def _shown(figures: Figures) -> WindowFigures:
    rates = {"bounce_rate": round(figures.bounce_rate, 6), "complaint_rate": round(figures.complaint_rate, 6)}
    shown = rates if figures.sent else dict.fromkeys(rates)
    return {
        "sent": figures.sent,
        "delivered": figures.delivered,
        "deferred": figures.deferred,
        "bounced": figures.bounced,
        "complained": figures.complained,
        "bounce_rate": shown["bounce_rate"],
        "complaint_rate": shown["complaint_rate"],
    }
