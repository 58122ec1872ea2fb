"""What the templates of the console ask for. The work is in mailbot.console."""

from typing import Any

from django import template
from django.conf import settings

from audit.sentences import called
from audit.timeline import Actor
from delivery.console_retention import OverShown, what_is_over
from delivery.models import OutboxState
from delivery.outbound.outbox import current_state
from inboxes.console_reviews import Banner, banner_of
from inboxes.console_roles import is_member
from inboxes.models import Inbox
from mailbot import console
from mailbot.lib import console_cells

register = template.Library()
register.filter("badge", console_cells.badge)
register.filter("moment", console_cells.moment)
register.filter("shortened", console_cells.shortened)
register.filter("pretty", console_cells.pretty)
register.filter("octets", console_cells.octets)
register.filter("age", console_cells.age)
register.filter("grouped", console_cells.grouped)
register.filter("told", console_cells.pieces)
register.filter("value", console_cells.value)


@register.simple_tag(takes_context=True)
def navigation(context: Any) -> list[console.Place]:
    return console.navigation(context.get("available_apps") or [], context["request"].path)


@register.simple_tag(takes_context=True)
def belongs_somewhere(context: Any) -> bool:
    return is_member(context["request"])


@register.simple_tag(takes_context=True)
def needs_you(context: Any) -> list[console.Tally]:
    return console.needs_you(context["request"])


@register.filter
def actor(who: Actor) -> str:
    """As the sentences of the compliance view call him."""
    return console_cells.pieces(called(*who))


@register.simple_tag
def review_minutes() -> int:
    minutes: int = settings.REVIEW_MINUTES
    return minutes


@register.simple_tag(takes_context=True)
def review_banner(context: Any) -> Banner | None:
    return banner_of(context["request"])


@register.simple_tag
def over_of(inbox: Inbox) -> OverShown:
    return what_is_over(inbox)


@register.simple_tag
def sending_paused() -> OutboxState | None:
    state = current_state()
    return state if state and state.is_paused else None


@register.simple_tag(takes_context=True)
def queues(context: Any) -> list[console.Tally]:
    return console.queues(context["request"])
