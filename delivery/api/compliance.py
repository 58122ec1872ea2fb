"""/v1/compliance: whether a domain or an inbox is fit to send."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from delivery.api import examples
from delivery.compliance.checks import WEIGHTS, Standing
from delivery.compliance.content import ContentClass
from delivery.compliance.readiness import Readiness, check_domain, check_inbox
from inboxes.api.views import InboxScopedView, visible_inboxes
from inboxes.permissions import COMPLIANCE_READ
from mailbot.api.errors import invalid
from mailbot.api.schema import described, shown_as
from mailbot.api.views import StrictSerializer, data
from mailbot.lib.addresses import AddressError, canonical_domain

MOST_INBOXES = 10  # of a domain, whose mail is looked at


class DomainQuery(StrictSerializer):
    domain = serializers.CharField(max_length=254, help_text="Any domain; of your own more can be told.")


class ComplianceCheckSerializer(serializers.Serializer[Any]):
    name = serializers.ChoiceField(choices=list(WEIGHTS))
    status = serializers.ChoiceField(choices=[status.value for status in Standing])
    reason = serializers.CharField()
    fix = serializers.CharField(allow_blank=True)


@shown_as(examples.READINESS)
class ReadinessSerializer(serializers.Serializer[Any]):
    """`spf`, `dkim` and `dmarc` say briefly what `checks` say with a reason and a fix."""

    domain = serializers.CharField()
    spf = serializers.ChoiceField(choices=[status.value for status in Standing])
    dkim = serializers.ChoiceField(choices=[status.value for status in Standing])
    dmarc = serializers.ChoiceField(choices=[status.value for status in Standing])
    content_class = serializers.ChoiceField(choices=[kind.value for kind in ContentClass])
    readiness_score = serializers.IntegerField(help_text="0 to 100.")
    blocked_reasons = serializers.ListField(
        child=serializers.CharField(), help_text="Why a send would be refused or wait now. Empty: it would go out."
    )
    checks = ComplianceCheckSerializer(many=True)


def represent(readiness: Readiness) -> dict[str, Any]:
    checks = {check.name: check for check in readiness.checks}
    return {
        "domain": readiness.domain,
        **{name: checks[name].status.value for name in ("spf", "dkim", "dmarc")},
        "content_class": readiness.content_class.value,
        "readiness_score": readiness.score,
        "blocked_reasons": list(readiness.blocked_reasons),
        "checks": [
            {"name": check.name, "status": check.status.value, "reason": check.reason, "fix": check.fix}
            for check in readiness.checks
        ],
    }


class ComplianceCheckView(InboxScopedView):
    """GET /compliance/check"""

    needs = COMPLIANCE_READ

    @described("Check a domain", query=DomainQuery, answer=ReadinessSerializer, name="check_domain")
    def get(self, request: Request) -> Response:
        """Asks DNS for SPF, DKIM, DMARC and MX of any domain, for as long as MAILBOT_DNS_TIMEOUT at most; what did not answer by then is
        `unknown`."""
        try:
            domain = canonical_domain(self.query(DomainQuery)["domain"])
        except AddressError as error:
            raise invalid("domain", str(error)) from error
        inboxes = visible_inboxes(self.key).filter(domain=domain)[:MOST_INBOXES]
        return data(represent(check_domain(domain, self.key.account_id, list(inboxes))))


class ReadinessView(InboxScopedView):
    """GET /compliance/readiness/{inbox_id}"""

    needs = COMPLIANCE_READ

    @described("Check an inbox", answer=ReadinessSerializer, name="check_inbox")
    def get(self, request: Request, inbox_id: str) -> Response:
        """What its domain publishes, who carries its mail, how it did so far and what it sends: a score, and for each check a reason and a
        fix. `blocked_reasons` says why a send would be refused or wait now."""
        return data(represent(check_inbox(self.get_inbox(inbox_id))))
