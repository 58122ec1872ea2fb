"""What people fill in about providers. The fields of the credentials are those of the ESP; what is secret is never shown again."""

from typing import Any

from django import forms
from django.db.models import Q, QuerySet

from delivery.esps import ESPS
from delivery.esps.base import Field
from delivery.provider_rows import InvalidProvider, ProviderRequest, change_provider, make_provider
from inboxes.console_forms import AccountForm, find_inbox_of, offer_providers
from inboxes.models import Account, Inbox, Mode, Provider
from mailbot.lib.crypto import CannotDecrypt
from mailbot.lib.stray_keys import refuse_key

PREFIX = "credentials."
KEPT = "kept; leave empty to keep"


class ChooseEspForm(AccountForm):
    """The first of two steps: the fields of the second depend on it. Superusers may leave out the account."""

    esp = forms.ChoiceField(label="ESP", choices=[(key, esp.label) for key, esp in ESPS.items()])

    def __init__(self, *args: Any, may_share: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        if may_share:
            self.fields["account"].required = False
            self.fields["account"].help_text = "Empty: all accounts may send through it."


class ProviderForm(forms.Form):
    """One provider, new or not. `kept` are the credentials that are there; None where they cannot be read."""

    name = forms.CharField(
        max_length=100, validators=[refuse_key], help_text="As people know it: “Postmark, transactional”."
    )
    is_default = forms.BooleanField(
        label="Default", required=False, help_text="Mail goes through it where an inbox names none."
    )
    fallback = forms.ModelChoiceField(
        Provider.objects.none(),
        required=False,
        help_text="Who carries mail that this one surely did not take, for now. Mail that it may have taken never goes there.",
    )
    concurrency = forms.IntegerField(
        min_value=1, max_value=1000, initial=8, help_text="How many mails may be on their way to it at one moment."
    )

    def __init__(
        self, *args: Any, account: Account | None, esp: str, provider: Provider | None = None, **options: Any
    ) -> None:
        self.account, self.esp, self.provider = account, esp, provider
        super().__init__(*args, **{"label_suffix": "", "initial": _initial(provider), **options})
        usable = _usable(account).exclude(pk=provider.pk if provider else "")
        self.keeps_fallback = offer_providers(self, "fallback", usable, provider.fallback_id if provider else None)
        kept = _kept(provider)
        self.fields |= {PREFIX + field.name: _field(field, kept) for field in ESPS[esp].fields}
        self.order_fields(["name", *(PREFIX + field.name for field in ESPS[esp].fields)])

    @property
    def credentials(self) -> dict[str, str]:
        given = self.cleaned_data.items()
        return {name.removeprefix(PREFIX): value for name, value in given if name.startswith(PREFIX)}

    def save(self) -> Provider | None:
        """The row; None when it cannot be kept so, which the form then says."""
        plain = {name: self.cleaned_data[name] for name in ("name", "is_default", "fallback", "concurrency")}
        if self.keeps_fallback and plain["fallback"] is None:
            del plain["fallback"]
        try:
            if self.provider:
                return change_provider(self.provider, plain | {"credentials": self.credentials})
            return make_provider(self.account, ProviderRequest(esp=self.esp, credentials=self.credentials, **plain))
        except InvalidProvider as error:
            for name, why in error.fields.items():
                field = "fallback" if name == "fallback_id" else name
                self.add_error(field if field in self.fields else None, f"This {why}.".replace("This “", "“"))
            return None


def _usable(account: Account | None) -> QuerySet[Provider]:
    return Provider.objects.filter(Q(account=None) | Q(account=account))


def _initial(provider: Provider | None) -> dict[str, Any]:
    if provider is None:
        return {}
    kept = {name: getattr(provider, name) for name in ("name", "is_default", "concurrency")}
    return {**kept, "fallback": provider.fallback_id}


def _kept(provider: Provider | None) -> dict[str, str]:
    try:
        return provider.credentials if provider else {}
    except CannotDecrypt:
        return {}


def _field(field: Field, kept: dict[str, str]) -> forms.CharField:
    """What is secret comes back as nothing but that it is there."""
    is_kept = field.is_secret and field.name in kept
    attributes = {"autocomplete": "off", "size": 50} | ({"placeholder": KEPT} if is_kept else {})
    widget = forms.PasswordInput(attrs=attributes) if field.is_secret else forms.TextInput(attrs=attributes)
    return forms.CharField(
        label=field.label,
        help_text=f"Set: {KEPT}." if is_kept else field.help,
        required=field.is_required and not is_kept and not field.default,
        initial="" if field.is_secret else kept.get(field.name, field.default),
        max_length=4000,
        widget=widget,
    )


class TestMailForm(forms.Form):
    to = forms.EmailField(
        label="To", help_text="An address that you read.", widget=forms.EmailInput(attrs={"size": 40})
    )
    inbox = forms.CharField(
        label="From",
        max_length=254,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text="Address or id of a live inbox whose domain the provider may send for.",
    )

    def __init__(self, *args: Any, accounts: QuerySet[Account], **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        self.accounts = accounts

    def clean_inbox(self) -> Inbox:
        wanted = self.cleaned_data["inbox"].strip()
        for account in self.accounts.filter(inboxes__address=wanted.lower()) | self.accounts.filter(inboxes__pk=wanted):
            if found := find_inbox_of(account, Mode.LIVE, wanted):
                return found
        raise forms.ValidationError("There is no such live inbox among those that may send through it.")
