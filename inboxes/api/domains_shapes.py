"""Shapes of /v1/domains."""

from rest_framework import serializers

from inboxes.api import domain_examples as examples
from inboxes.domain_checks import records_now
from inboxes.domains import DnsRecord, shown
from inboxes.models import Domain, DomainStatus
from mailbot.api.fields import OneOf
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import StrictSerializer
from mailbot.lib.ids import ID_LENGTH


@shown_as(examples.DOMAIN_PATCH)
class DomainPatch(StrictSerializer):
    provider_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True)
    inbox_subdomains = serializers.BooleanField(required=False)


@shown_as(examples.DOMAIN_BODY)
class DomainBody(StrictSerializer):
    domain = serializers.CharField(max_length=254)
    provider_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True)
    inbox_subdomains = serializers.BooleanField(required=False)


class DomainQuery(PageQuery):
    status = OneOf(choices=DomainStatus.choices, required=False)
    domain = serializers.CharField(max_length=254, required=False)


@shown_as(examples.DOMAIN)
class DomainSerializer(RowSerializer[Domain]):
    dns_records = serializers.SerializerMethodField()

    class Meta:
        model = Domain
        fields = (
            "id account_id domain status dns_records provider_id inbox_subdomains created_at verified_at checked_at proof_lost_at"
        ).split()
        extra_kwargs = {"domain": {"help_text": ""}}

    def get_dns_records(self, domain: Domain) -> list[DnsRecord]:
        """What to publish. `purpose`: ownership, mx, spf, dkim, dmarc or return_path; `status`: pending, verified, missing, mismatch or
        unknown (DNS did not answer), as of `checked_at`; `found`: what stands there; `note`: what to do."""
        return [shown(domain, record) for record in records_now(domain, self.context["default"])]
