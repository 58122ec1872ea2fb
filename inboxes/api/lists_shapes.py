"""Shapes of /v1/lists."""

from typing import Any, TypedDict

from rest_framework import serializers

from inboxes.api import examples
from inboxes.lists import MAX_ENTRIES
from inboxes.models import AddressRule
from inboxes.rules import EVERYBODY, canonical_pattern
from mailbot.api.fields import OneOf, StoredField
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.views import StrictSerializer
from mailbot.lib.addresses import AddressError

SPELLINGS = ("pattern", "address", "domain")
MAX_NOTE = 500


class PatternField(serializers.CharField):
    """An address, a domain, or `*`; comes out in canonical form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=320, **options)

    def to_internal_value(self, data: Any) -> str:
        try:
            return canonical_pattern(super().to_internal_value(data))
        except AddressError as error:
            raise serializers.ValidationError(str(error)) from error


class AddressField(PatternField):
    def to_internal_value(self, data: Any) -> str:
        pattern = super().to_internal_value(data)
        if "@" not in pattern:
            raise serializers.ValidationError("This is not an address: it needs a local part, an @ and a domain.")
        return pattern


class DomainField(PatternField):
    def to_internal_value(self, data: Any) -> str:
        pattern = super().to_internal_value(data)
        if "@" in pattern or pattern == EVERYBODY:
            raise serializers.ValidationError("This is not a domain such as example.com.")
        return pattern


class EntryBody(StrictSerializer):
    """One of `pattern`, `address` and `domain`; the last two say what it must be."""

    pattern = PatternField(required=False)
    address = AddressField(required=False)
    domain = DomainField(required=False)
    note = serializers.CharField(max_length=MAX_NOTE, required=False, allow_blank=True, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = [name for name in SPELLINGS if name in attrs]
        if len(given) != 1:
            raise serializers.ValidationError({"pattern": ["Give one of pattern, address and domain."]})
        return {"note": None, **attrs, "pattern": attrs[given[0]]}


@shown_as(examples.RULE_BODY)
class RuleBody(EntryBody):
    inbox_id = serializers.CharField(max_length=40, required=False, allow_null=True, default=None)


class EntriesField(serializers.Field[dict[str, str | None], Any, Any, Any]):
    """A list of patterns, or of `{pattern | address | domain, note?}`, as canonical pattern → note.

    Read by itself: DRF would take seconds for ten thousand of them.
    """

    openapi = list[str | dict[str, str]]

    def to_internal_value(self, data: Any) -> dict[str, str | None]:
        if not isinstance(data, list):
            raise serializers.ValidationError("This must be a list.")
        if len(data) > MAX_ENTRIES:
            raise serializers.ValidationError(f"These are more than {MAX_ENTRIES:,} entries.")
        return dict(self._entry(number, item) for number, item in enumerate(data))

    def _entry(self, number: int, item: Any) -> tuple[str, str | None]:
        try:
            if isinstance(item, str):
                return canonical_pattern(item), None
            checked = EntryBody(data=item)
            checked.is_valid(raise_exception=True)
            return checked.validated_data["pattern"], checked.validated_data["note"]
        except AddressError as error:
            raise serializers.ValidationError({str(number): [str(error)]}) from error
        except serializers.ValidationError as error:
            raise serializers.ValidationError({str(number): error.detail}) from error


@shown_as(examples.REPLACE_BODY)
class ReplaceBody(StrictSerializer):
    entries = EntriesField()
    inbox_id = serializers.CharField(max_length=40, required=False, allow_null=True, default=None)


class RuleQuery(PageQuery):
    inbox_id = serializers.CharField(max_length=40, required=False)
    level = OneOf(choices=["inbox", "account"], required=False)
    pattern = PatternField(required=False)


class RemoveQuery(serializers.Serializer[Any]):
    pattern = PatternField()
    inbox_id = serializers.CharField(max_length=40, required=False)


class CheckQuery(serializers.Serializer[Any]):
    address = AddressField()
    direction = OneOf(choices=AddressRule.Direction.choices)
    inbox_id = serializers.CharField(max_length=40, required=False)


class Author(TypedDict):
    kind: str
    id: str
    name: str


@shown_as(examples.RULE)
class RuleSerializer(serializers.ModelSerializer[AddressRule]):
    level = serializers.SerializerMethodField()
    created_by = StoredField(Author, help_text="As in the audit log.")

    class Meta:
        model = AddressRule
        fields = "id account_id inbox_id level mode direction effect pattern note created_by created_at".split()

    def get_level(self, rule: AddressRule) -> str:
        return "inbox" if rule.inbox_id else "account"


@shown_as(examples.REPLACED)
class ReplacedSerializer(serializers.Serializer[Any]):
    direction = serializers.ChoiceField(choices=AddressRule.Direction.choices)
    effect = serializers.ChoiceField(choices=AddressRule.Effect.choices)
    inbox_id = serializers.CharField(allow_null=True)
    entries = serializers.IntegerField(help_text="how many the list has now")
    added = serializers.IntegerField()
    removed = serializers.IntegerField()


class DecidingRuleSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    effect = serializers.ChoiceField(choices=AddressRule.Effect.choices)
    pattern = serializers.CharField()


@shown_as(examples.VERDICT)
class VerdictSerializer(serializers.Serializer[Any]):
    direction = serializers.ChoiceField(choices=AddressRule.Direction.choices)
    list = serializers.ChoiceField(
        choices=AddressRule.Direction.choices,
        help_text="whose lists decided: for a reply, those for sending where the lists for replies say nothing",
    )
    inbox_id = serializers.CharField(allow_null=True)
    blocked = serializers.BooleanField()
    reason = serializers.ChoiceField(choices=["block_rule", "not_on_allow_list", "allow_rule", "no_rule"])
    address = serializers.CharField()
    level = serializers.ChoiceField(choices=["inbox", "account"], allow_null=True)
    rule = DecidingRuleSerializer(allow_null=True)
    explanation = serializers.CharField()
