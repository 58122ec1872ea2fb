"""Which provider carries the mail of an inbox.

The nearest choice counts: the inbox's own, then its domain's, then the default of its account, then the default of all. None of them: the
server's own EMAIL_BACKEND. A paused provider stays the choice: its mail waits, and does not leave by another one that nobody chose for it.
"""

from collections.abc import Iterable

from django.db.models import Q

from inboxes.models import Domain, Inbox, Provider
from mailbot.lib.scope import acting_for_everybody


def provider_for(inbox: Inbox) -> Provider | None:
    """The provider of this inbox; None: the server's EMAIL_BACKEND. One query, two for one on a domain of its account."""
    return providers_for([inbox])[inbox.pk]


def providers_for(inboxes: Iterable[Inbox]) -> dict[str, Provider | None]:
    """The same of many, by inbox id. As many queries, however many there are."""
    wanted = list(inboxes)
    of_domains = _of_domains(wanted)
    candidates = _candidates(wanted, of_domains)
    return {inbox.pk: _nearest(inbox, of_domains.get(inbox.own_domain_id), candidates) for inbox in wanted}


def _of_domains(inboxes: list[Inbox]) -> dict[str | None, str]:
    """By domain, the id of the provider that it names. Inboxes on the server's own domain ask nothing."""
    domains = {inbox.own_domain_id for inbox in inboxes if inbox.own_domain_id}
    if not domains:
        return {}
    with acting_for_everybody("a key of some inboxes does not see their domains"):
        rows = Domain.objects.filter(pk__in=domains, provider__isnull=False)
        return {pk: str(provider) for pk, provider in rows.values_list("pk", "provider_id")}


def _candidates(inboxes: list[Inbox], of_domains: dict[str | None, str]) -> list[Provider]:
    named = {inbox.provider_id for inbox in inboxes if inbox.provider_id} | set(of_domains.values())
    defaults = Q(is_default=True) & (Q(account=None) | Q(account__in={inbox.account_id for inbox in inboxes}))
    with acting_for_everybody("shared providers are of no account"):
        return list(Provider.objects.filter(defaults | Q(pk__in=named)))


def _nearest(inbox: Inbox, of_domain: str | None, candidates: list[Provider]) -> Provider | None:
    mine = [row for row in candidates if row.account_id == inbox.account_id]
    shared = [row for row in candidates if not row.account_id]
    by_nearness = [
        *(row for row in mine + shared if row.pk == inbox.provider_id),
        *(row for row in mine + shared if row.pk == of_domain),
        *(row for row in mine if row.is_default),
        *(row for row in shared if row.is_default),
    ]
    return next(iter(by_nearness), None)
