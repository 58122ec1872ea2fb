"""What an operator fills in: a new key, a new inbox. Each form ends in the function that the API calls too."""

from typing import Any

from django import forms
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from inboxes.keys import issue_key
from inboxes.models import Account, ApiKey, Inbox, Mode
from inboxes.permissions import PRESETS
from inboxes.provisioning import AddressRefused, AddressTaken, InboxRequest, create_inbox
from mailbot.lib.addresses import AddressError

MOST_IN_A_SELECT = 200
PRESET_NAMES = {
    "agent": "Agent: reads, sends, labels",
    "read-only": "Read only: reads messages, threads and events",
    "auditor": "Auditor: reads the audit trail",
    "full": "Full: everything, also making and deleting inboxes",
}


class AccountForm(forms.Form):
    account = forms.ModelChoiceField(Account.objects.none())
    mode = forms.ChoiceField(
        choices=Mode.choices, help_text="What test keys and inboxes send never reaches a provider."
    )

    def __init__(self, *args: Any, accounts: QuerySet[Account], **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        choose = self.fields["account"]
        assert isinstance(choose, forms.ModelChoiceField)
        choose.queryset = accounts
        if accounts[MOST_IN_A_SELECT : MOST_IN_A_SELECT + 1]:
            choose.widget, choose.help_text = forms.TextInput(attrs={"size": 40}), "The id of the account."
        elif len(accounts) == 1:
            choose.empty_label, choose.initial = None, accounts[0].pk


class IssueKeyForm(AccountForm):
    name = forms.CharField(
        max_length=100, help_text="Which agent or workflow uses it; the audit trail shows this name."
    )
    preset = forms.ChoiceField(
        label="Permissions",
        choices=[(name, PRESET_NAMES.get(name, name)) for name in sorted(PRESETS, key=list(PRESET_NAMES).index)],
        widget=forms.RadioSelect,
        initial="agent",
    )
    inbox = forms.CharField(
        max_length=254,
        required=False,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text="Address or id, to limit the key to one inbox. Empty: all inboxes of the account in this mode.",
    )
    expires_at = forms.DateTimeField(
        label="Expires (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Empty: it works until it is revoked.",
    )
    field_order = ["account", "name", "mode", "preset", "inbox", "expires_at"]

    def clean_expires_at(self) -> Any:
        moment = self.cleaned_data["expires_at"]
        if moment and moment <= timezone.now():
            raise forms.ValidationError("This is in the past.")
        return moment

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if (wanted := given.get("inbox", "").strip()) and "account" in given and "mode" in given:
            mine = Inbox.objects.filter(account=given["account"], mode=given["mode"]).exclude(
                status=Inbox.Status.DELETED
            )
            column = "pk" if wanted.startswith("inbox_") else "address"
            given["found_inbox"] = mine.filter(**{column: wanted.lower()}).first()
            if given["found_inbox"] is None:
                self.add_error("inbox", f"This account has no such inbox in {given['mode']} mode.")
        return given

    def issue(self) -> tuple[ApiKey, str]:
        """The key and its secret, which must be shown now or never."""
        given = self.cleaned_data
        return issue_key(
            account=given["account"],
            name=given["name"],
            mode=given["mode"],
            permissions=PRESETS[given["preset"]],
            inbox=given.get("found_inbox"),
            expires_at=given["expires_at"],
        )


class CreateInboxForm(AccountForm):
    username = forms.CharField(
        max_length=64,
        required=False,
        label="Local part",
        help_text="What stands before the @. Empty: a readable random one.",
    )
    domain = forms.CharField(max_length=254, required=False, widget=forms.TextInput(attrs={"size": 40}))
    display_name = forms.CharField(max_length=200, required=False, widget=forms.TextInput(attrs={"size": 40}))
    daily_send_limit = forms.IntegerField(
        min_value=0, max_value=10_000_000, required=False, help_text="Recipients a day. Empty: no limit."
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["domain"].help_text = f"Empty: {settings.MAILBOT_DOMAIN}."

    def create(self) -> Inbox | None:
        """The inbox; None when the address cannot be had, which the form then says."""
        given = self.cleaned_data
        names = ("domain", "display_name", "daily_send_limit")
        wanted = InboxRequest(local_part=given["username"], **{name: given[name] for name in names})
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
