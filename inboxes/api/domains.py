"""/v1/domains: domains of an account, what they publish in DNS, and whether it is there."""

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from inboxes.api.domains_shapes import DomainBody, DomainPatch, DomainQuery, DomainSerializer
from inboxes.api.views import with_provider
from inboxes.domain_checks import DomainTaken, ask, default_provider, records_now, take_in, with_providers
from inboxes.domain_keys import NewKey, add_key, new_key
from inboxes.domain_zone import zone_file
from inboxes.domains import (
    DomainInUse,
    DomainKnown,
    DomainRefused,
    add_domain,
    change_domain,
    delete_domain,
    is_live,
    next_step,
)
from inboxes.models import Account, Domain, Mode
from inboxes.permissions import DOMAINS_MANAGE, DOMAINS_READ
from mailbot.api.errors import ApiError, Code, invalid, not_found
from mailbot.api.idempotency import in_one_transaction
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal
from mailbot.api.schema import described
from mailbot.api.views import TenantView, data
from mailbot.lib.addresses import AddressError

NEXT_STEP = {
    "next_step": {
        "type": "string",
        "description": "What to do now, in words.",
        "example": "Publish or correct what mail needs: TXT at shop.example. Then verify again.",
    }
}


def visible_domains(key: Principal) -> QuerySet[Domain]:
    """Those of its account, whichever its mode. None for a key of some inboxes (by the manager)."""
    return Domain.objects.filter(account_id=key.account_id)


class DomainScopedView(TenantView):
    def get_domain(self, domain_id: str) -> Domain:
        rows = visible_domains(self.key).select_related("provider").prefetch_related("keys")
        domain = rows.filter(pk=domain_id).first()
        if domain is None:
            raise not_found()
        return domain

    def get_changeable(self, domain_id: str) -> Domain:
        """A test key touches nothing on which live mail depends."""
        domain = self.get_domain(domain_id)
        if self.key.mode != Mode.LIVE and is_live(domain):
            message = "Live inboxes are on this domain, and this is a test key."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a live key.")
        return domain

    def represent(self, domain: Domain | list[Domain]) -> Any:
        context = {"key": self.key, "default": default_provider(self.key.account_id)}
        return DomainSerializer(domain, many=isinstance(domain, list), context=context).data

    def committed(self, work: Callable[[], Response]) -> Response:
        """`work` in a transaction, with the answer to an Idempotency-Key: what takes time came before it."""
        return in_one_transaction(self.call, work, ()) if self.call else work()


class DomainsView(DomainScopedView):
    """POST|GET /domains"""

    needs = {"POST": DOMAINS_MANAGE, "GET": DOMAINS_READ}
    commits_itself = True  # a key is made before the transaction begins

    @described(
        "Add a domain", body=DomainBody, answer=DomainSerializer, status=201, errors=(Code.CONFLICT, Code.NOT_FOUND)
    )
    def post(self, request: Request) -> Response:
        """With it comes a DKIM key of its own. Publish its `dns_records`, then verify it. One that the account has is a 409. Who proves a
        domain first has it, whoever else has added it."""
        body = with_provider(self.key, self.body(DomainBody, request))
        if self.key.inbox_ids is not None:
            message = "This key is limited to some inboxes; domains are of the whole account."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a key of the whole account.")
        key = new_key()
        return self.committed(lambda: data(self.represent(self._added(body, key)), status=201))

    def _added(self, body: dict[str, Any], key: NewKey) -> Domain:
        account = Account.objects.get(pk=self.key.account_id)
        try:
            domain = add_domain(account, body.pop("domain"), key)
        except DomainKnown as known:
            fix = f"Read it with GET /v1/domains/{known.domain.pk}."
            raise ApiError(Code.CONFLICT, str(known), fix=fix) from known
        except (DomainRefused, AddressError) as error:
            raise invalid("domain", str(error)) from error
        return change_domain(domain, body) if body else domain

    @described("List domains", query=DomainQuery, answer=DomainSerializer, many=True)
    def get(self, request: Request) -> Response:
        """Newest first."""
        query = self.query(DomainQuery)
        rows = visible_domains(self.key).order_by("-id")
        narrow = {name: query[name] for name in ("status", "domain") if query.get(name)}
        return paginated(rows.filter(**narrow).prefetch_related("keys"), query, self.represent, read=with_providers)


class DomainView(DomainScopedView):
    """GET|PATCH|DELETE /domains/{domain_id}"""

    needs = {"GET": DOMAINS_READ, "PATCH": DOMAINS_MANAGE, "DELETE": DOMAINS_MANAGE}

    @described("Read a domain", answer=DomainSerializer)
    def get(self, request: Request, domain_id: str) -> Response:
        """With what DNS said when it was last asked."""
        return data(self.represent(self.get_domain(domain_id)))

    @described("Change a domain", body=DomainPatch, answer=DomainSerializer)
    def patch(self, request: Request, domain_id: str) -> Response:
        """Inboxes that are there keep their addresses."""
        domain = self.get_changeable(domain_id)
        changes = with_provider(self.key, self.body(DomainPatch, request))
        return data(self.represent(change_domain(domain, changes) if changes else domain))

    @described("Delete a domain", answer=DomainSerializer, errors=(Code.CONFLICT,))
    def delete(self, request: Request, domain_id: str) -> Response:
        """While active inboxes are on it, it is a 409. Its DKIM keys go with it. The answer is what it was."""
        domain = self.get_changeable(domain_id)
        answer = data(self.represent(domain))
        try:
            delete_domain(domain)
        except DomainInUse as error:
            raise ApiError(Code.CONFLICT, str(error), fix="Delete these inboxes first.") from error
        return answer


class VerifyDomainView(DomainScopedView):
    """POST /domains/{domain_id}/verify: the one call that asks DNS, within MAILBOT_DNS_TIMEOUT and with no transaction open"""

    needs = DOMAINS_MANAGE
    commits_itself = True  # DNS is asked before the transaction begins

    @described("Verify a domain", answer=DomainSerializer, beside=NEXT_STEP, errors=(Code.CONFLICT,))
    def post(self, request: Request, domain_id: str) -> Response:
        """Asks DNS for all records at once and answers within seconds, with what is known where DNS did not. `next_step` says what is
        lacking. A domain that another account of this server has proven is a 409."""
        domain = self.get_domain(domain_id)
        findings = ask(domain)
        try:
            return self.committed(lambda: self._answer(take_in(domain, findings)))
        except Domain.DoesNotExist as gone:
            raise not_found() from gone
        except DomainTaken as taken:
            fix = "If it is yours now, ask whoever runs this server to end the other account's inboxes on it."
            raise ApiError(Code.CONFLICT, str(taken), fix=fix) from taken

    def _answer(self, domain: Domain) -> Response:
        records = records_now(domain, default_provider(domain.account_id))
        return Response({"data": self.represent(domain), "next_step": next_step(domain, records)})


class RotateKeyView(DomainScopedView):
    """POST /domains/{domain_id}/rotate-key"""

    needs = DOMAINS_MANAGE
    commits_itself = True

    @described("Make a new DKIM key", answer=DomainSerializer, name="rotate_domain_key")
    def post(self, request: Request, domain_id: str) -> Response:
        """It signs once its record is seen in DNS; until then the old one does. The old record stays in the list for a week more: mail
        that is on its way needs it. Calling it again puts another key in place of one that was never used."""
        domain, key = self.get_changeable(domain_id), new_key()
        return self.committed(lambda: self._answer(domain, key))

    def _answer(self, domain: Domain, key: NewKey) -> Response:
        add_key(domain, key)
        return data(self.represent(self.get_domain(domain.pk)))


class ZoneFileView(DomainScopedView):
    """GET /domains/{domain_id}/zone-file"""

    needs = DOMAINS_READ

    @described("Download the records as a zone file", media_type="text/plain", name="get_domain_zone_file")
    def get(self, request: Request, domain_id: str) -> HttpResponse:
        """As BIND and most DNS providers import it."""
        domain = self.get_domain(domain_id)
        records = records_now(domain, default_provider(domain.account_id))
        answer = HttpResponse(zone_file(domain, records), content_type="text/plain; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{domain.domain}.zone"'
        answer["X-Content-Type-Options"] = "nosniff"
        return answer
