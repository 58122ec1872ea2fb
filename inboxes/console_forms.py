"""What people fill in: a new key, a new inbox, a new member. Each form ends in the function that the API calls too."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from inboxes.console_roles import visible
from inboxes.keys import issue_key
from inboxes.lists import AddressList, ListFull, add_entry
from inboxes.members import NameTaken, add_member, add_new_member
from inboxes.models import Account, AddressRule, ApiKey, Inbox, Membership, Mode, Provider, RetentionClass
from inboxes.permissions import PRESETS
from inboxes.provisioning import AddressRefused, AddressTaken, InboxRequest, create_inbox
from inboxes.rules import canonical_pattern
from mailbot.lib.addresses import AddressError
from mailbot.lib.stray_keys import refuse_key

MOST_IN_A_SELECT = 200
PRESET_NAMES = {
    "agent": "Agent: reads, sends and labels mail",
    "read-only": "Read only: reads mail, events, lists and usage",
    "auditor": "Auditor: reads the audit trail, lists, usage and keys, and no mail",
    "full": "Full: everything, also making and deleting inboxes and making further keys",
}


ROLE_NAMES = {
    Membership.Role.OWNER.value: "Owner: keys, members, legal holds, retention, inboxes and everything below",
    Membership.Role.OPERATOR.value: "Operator: inboxes and stuck mail; reads mail",
    Membership.Role.REVIEWER.value: "Reviewer: reads the trail, and of mail only from whom to whom, when and what became of it",
}


def prefilled(request: HttpRequest, *also: str, inbox_field: str = "inboxes") -> dict[str, Any]:
    """From the links on the pages of an account or inbox. `also` are other fields that a link may fill, `inbox_field` is the one for the
    address of an inbox."""
    names = ("account", "mode", *also)
    given: dict[str, Any] = {name: request.GET[name] for name in names if name in request.GET}
    if inbox := visible(request, Inbox.objects.filter(pk=request.GET.get("inbox", "")[:40].replace("\0", ""))).first():
        named = (
            inbox.pk if inbox.status == Inbox.Status.DELETED else inbox.address
        )  # its address may be another's by now
        given |= {"account": inbox.account_id, "mode": inbox.mode, inbox_field: named}
    return given


class AccountForm(forms.Form):
    account = forms.ModelChoiceField(Account.objects.none())

    def __init__(self, *args: Any, accounts: QuerySet[Account], **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        choose = self.fields["account"]
        assert isinstance(choose, forms.ModelChoiceField)
        choose.queryset = accounts
        if accounts[MOST_IN_A_SELECT : MOST_IN_A_SELECT + 1]:
            choose.widget, choose.help_text = forms.TextInput(attrs={"size": 40}), "The id of the account."
        elif len(accounts) == 1:
            choose.empty_label, choose.initial = None, accounts[0].pk


def find_inbox_of(account: Account, mode: str, wanted: str) -> Inbox | None:
    """The living inbox that an operator means by an address or an id."""
    mine = Inbox.objects.filter(account=account, mode=mode).exclude(status=Inbox.Status.DELETED)
    return mine.filter(**{"pk" if wanted.startswith("inbox_") else "address": wanted.lower()}).first()


class ModeForm(AccountForm):
    mode = forms.ChoiceField(
        choices=Mode.choices, help_text="What test keys and inboxes send never reaches a provider."
    )


class IssueKeyForm(ModeForm):
    name = forms.CharField(
        max_length=100,
        help_text="Which agent or workflow uses it; the audit trail shows this name.",
        validators=[refuse_key],
    )
    preset = forms.ChoiceField(
        label="Permissions",
        choices=[(name, PRESET_NAMES.get(name, name)) for name in sorted(PRESETS, key=list(PRESET_NAMES).index)],
        widget=forms.RadioSelect,
        initial="agent",
    )
    inboxes = forms.CharField(
        max_length=20_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 50}),
        help_text="Addresses or ids, one a line, to limit the key to these. Empty: all inboxes of the account in this mode.",
        validators=[refuse_key],
    )
    expires_at = forms.DateTimeField(
        label="Expires, in UTC",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Empty: it works until it is revoked.",
    )
    field_order = ["account", "name", "mode", "preset", "inboxes", "expires_at"]

    def clean_expires_at(self) -> Any:
        moment = self.cleaned_data["expires_at"]
        if moment and moment <= timezone.now():
            raise forms.ValidationError("This is in the past.")
        return moment

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        names = set(given.get("inboxes", "").lower().replace(",", " ").split())
        if names and "account" in given and "mode" in given:
            given["inbox_ids"] = self._found(given["account"], given["mode"], names)
        return given

    def _found(self, account: Account, mode: str, names: set[str]) -> list[str]:
        """The ids of the inboxes that go by these addresses and ids. One that is not there fails the form: a key must not come out wider
        or narrower than was meant."""
        living = Inbox.objects.filter(account=account, mode=mode).exclude(status=Inbox.Status.DELETED)
        found = dict(living.filter(Q(pk__in=names) | Q(address__in=names)).values_list("pk", "address"))
        if missing := sorted(names - found.keys() - set(found.values())):
            self.add_error("inboxes", f"This account has no such inbox in {mode} mode: {', '.join(missing[:5])[:300]}")
        return sorted(found)

    def issue(self) -> tuple[ApiKey, str]:
        """The key and its secret, which must be shown now or never."""
        given = self.cleaned_data
        return issue_key(
            account=given["account"],
            name=given["name"],
            mode=given["mode"],
            permissions=PRESETS[given["preset"]],
            inbox_ids=given.get("inbox_ids"),
            expires_at=given["expires_at"],
        )


class ClassField(forms.ModelChoiceField[RetentionClass]):
    """A retention class. With its account, where there are several to choose from."""

    names_account = False

    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.name} ({obj.account})" if self.names_account else str(obj.name)


def offer_classes(form: forms.Form, name: str, classes: QuerySet[RetentionClass]) -> None:
    """Those among which the user may choose; where there is none, it is not asked."""
    field = form.fields[name]
    assert isinstance(field, ClassField)
    if not classes.exists():
        del form.fields[name]
        return
    field.queryset = classes.select_related("account").order_by("account__name", "name")
    field.names_account = classes.values("account").distinct()[1:2].exists()
    if classes[MOST_IN_A_SELECT : MOST_IN_A_SELECT + 1]:
        field.widget, field.help_text = forms.TextInput(attrs={"size": 40}), "The id of a class. Empty: the default."


class CreateInboxForm(ModeForm):
    username = forms.CharField(
        max_length=64,
        required=False,
        label="Local part",
        validators=[refuse_key],
        help_text="What stands before the @. Empty: a readable random one.",
    )
    domain = forms.CharField(max_length=254, required=False, widget=forms.TextInput(attrs={"size": 40}))
    display_name = forms.CharField(
        max_length=200, required=False, widget=forms.TextInput(attrs={"size": 40}), validators=[refuse_key]
    )
    daily_send_limit = forms.IntegerField(
        min_value=0, max_value=10_000_000, required=False, help_text="Recipients a day. Empty: no limit."
    )
    retention_class = ClassField(
        RetentionClass.objects.none(),
        required=False,
        label="Retention",
        empty_label="the default of the account or of the server",
        help_text="How long it keeps what it has.",
    )

    def __init__(self, *args: Any, classes: QuerySet[RetentionClass], **options: Any) -> None:
        super().__init__(*args, **options)
        offer_classes(self, "retention_class", classes)
        self.fields["domain"].help_text = f"Empty: {settings.MAILBOT_DOMAIN}."

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        chosen: RetentionClass | None = given.get("retention_class")
        if chosen and "account" in given and chosen.account_id != given["account"].pk:
            self.add_error("retention_class", "This is a class of another account.")
        return given

    def create(self) -> Inbox | None:
        """The inbox; None when the address cannot be had, which the form then says."""
        given = self.cleaned_data
        names = ("domain", "display_name", "daily_send_limit")
        wanted = InboxRequest(
            local_part=given["username"],
            retention_class=given.get("retention_class"),
            **{name: given[name] for name in names},
        )
        try:
            return create_inbox(given["account"], given["mode"], wanted)[0]
        except AddressTaken as error:
            near = f" Free: {', '.join(error.suggestions)}." if error.suggestions else ""
            self.add_error("username", f"{error}{near}")
        except AddressRefused as error:
            self.add_error(error.field if error.field in self.fields else None, str(error))
        except AddressError as error:
            self.add_error("domain" if "domain" in str(error) else "username", str(error))
        return None


def offer_providers(form: forms.Form, name: str, providers: QuerySet[Provider], chosen: str | None) -> bool:
    """Those among which the user may choose. Whether `chosen` is hidden from him, as shared ones are: then it stays unless he chooses."""
    field = form.fields[name]
    assert isinstance(field, forms.ModelChoiceField)
    field.queryset = providers
    is_hidden = bool(chosen) and not providers.filter(pk=chosen).exists()
    if is_hidden:
        field.empty_label = "as whoever runs this server has chosen"
    return is_hidden


class ChooseProviderForm(forms.Form):
    """Who carries the mail of one inbox. Superusers may choose among those that are shared too."""

    provider = forms.ModelChoiceField(
        Provider.objects.none(), required=False, empty_label="the default of the account or of the server"
    )

    def __init__(self, *args: Any, providers: QuerySet[Provider], **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        self.keeps_provider = offer_providers(self, "provider", providers, self.initial.get("provider"))

    @property
    def changes(self) -> dict[str, Any]:
        keeps = self.keeps_provider and self.cleaned_data["provider"] is None
        return {name: value for name, value in self.cleaned_data.items() if name != "provider" or not keeps}


class AddMemberForm(AccountForm):
    """A new user of the console. One who is there already gets a further account from a superuser only: an owner could otherwise put
    his rows among those of people who did not ask for them."""

    username = forms.CharField(
        max_length=150, validators=[UnicodeUsernameValidator(), refuse_key], help_text="To sign in by."
    )
    role = forms.ChoiceField(
        choices=list(ROLE_NAMES.items()), widget=forms.RadioSelect, initial=Membership.Role.OPERATOR.value
    )

    def __init__(self, *args: Any, may_add_existing: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self.may_add_existing = may_add_existing

    def add(self) -> tuple[Membership, str] | None:
        """The new place, and the password of a new user, which must be shown now or never; None when the form then says why not."""
        account, username, role = (self.cleaned_data[name] for name in ("account", "username", "role"))
        existing = (
            get_user_model()._default_manager.filter(username=username).first() if self.may_add_existing else None
        )
        if existing:
            return add_member(account, existing, role), ""
        try:
            return add_new_member(account, username, role)
        except NameTaken:
            self.add_error(
                "username", "This name is taken. Take another; somebody who signs in already is added by a superuser."
            )
        return None


class AddRuleForm(ModeForm):
    inbox = forms.CharField(
        max_length=254,
        required=False,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text="Address or id. Empty: all inboxes of the account in this mode. What stands on an inbox's own lists beats the account's.",
    )
    direction = forms.ChoiceField(
        choices=AddressRule.Direction.choices,
        widget=forms.RadioSelect,
        help_text=(
            "Receive: who writes here. Reply: who wrote and is answered; where its lists say nothing, those for sending decide. "
            "Send: everybody else whom an inbox writes to."
        ),
    )
    effect = forms.ChoiceField(
        choices=AddressRule.Effect.choices,
        widget=forms.RadioSelect,
        help_text="The first “allow” makes an allow list: whoever is not on it is blocked, also who could write or be written to before.",
    )
    pattern = forms.CharField(
        max_length=320,
        label="Address or domain",
        widget=forms.TextInput(attrs={"size": 40}),
        help_text="ann@example.com, or example.com with all that is below it, or * for everybody. An address beats a domain.",
    )
    note = forms.CharField(max_length=500, required=False, widget=forms.TextInput(attrs={"size": 70}))
    field_order = ["account", "mode", "inbox", "direction", "effect", "pattern", "note"]

    def clean_pattern(self) -> str:
        try:
            return canonical_pattern(self.cleaned_data["pattern"])
        except AddressError as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if (wanted := given.get("inbox", "").strip()) and "account" in given and "mode" in given:
            given["found_inbox"] = find_inbox_of(given["account"], given["mode"], wanted)
            if given["found_inbox"] is None:
                self.add_error("inbox", f"This account has no such inbox in {given['mode']} mode.")
        return given

    def add(self) -> tuple[AddressRule, bool] | None:
        """The entry and whether it is new; None when the list is full, which the form then says."""
        given = self.cleaned_data
        account_id, inbox = given["account"].pk, given.get("found_inbox")
        target = AddressList(account_id, given["mode"], inbox, given["direction"], given["effect"])
        try:
            return add_entry(target, given["pattern"], given["note"])
        except ListFull as error:
            self.add_error("pattern", str(error))
            return None
