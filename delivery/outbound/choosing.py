"""Which provider carries the mail of an inbox.

The nearest choice counts: the inbox's own, then the default of its account, then the default of all. None of them: the server's own
EMAIL_BACKEND. A paused provider stays the choice: its mail waits, and does not leave by another one that nobody chose for it.
"""

from collections.abc import Iterable

from django.db.models import Q

from inboxes.models import Inbox, Provider
from mailbot.lib.scope import acting_for_everybody


def provider_for(inbox: Inbox) -> Provider | None:
    """The provider of this inbox; None: the server's EMAIL_BACKEND. One query."""
    return providers_for([inbox])[inbox.pk]


def providers_for(inboxes: Iterable[Inbox]) -> dict[str, Provider | None]:
    """The same of many, by inbox id. One query, however many there are."""
    wanted = list(inboxes)
    candidates = _candidates(wanted)
    return {inbox.pk: _nearest(inbox, candidates) for inbox in wanted}


def _candidates(inboxes: list[Inbox]) -> list[Provider]:
    named = {inbox.provider_id for inbox in inboxes if inbox.provider_id}
    defaults = Q(is_default=True) & (Q(account=None) | Q(account__in={inbox.account_id for inbox in inboxes}))
    with acting_for_everybody("shared providers are of no account"):
        return list(Provider.objects.filter(defaults | Q(pk__in=named)))


def _nearest(inbox: Inbox, candidates: list[Provider]) -> Provider | None:
    mine = [row for row in candidates if row.account_id == inbox.account_id]
    shared = [row for row in candidates if not row.account_id]
    by_nearness = [
        *(row for row in mine + shared if row.pk == inbox.provider_id),
        # The choice of the inbox's domain belongs here.
        *(row for row in mine if row.is_default),
        *(row for row in shared if row.is_default),
    ]
    return next(iter(by_nearness), None)
