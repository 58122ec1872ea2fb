"""What people fill in to suppress addresses: one, or a file of them."""

from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from delivery.suppression import OVER, NotSuppressible, Target, Wanted, canonical_scope_domain, suppress, suppressible
from delivery.suppression_import import Imported, TooMany, Unreadable, import_lines, lines_of
from delivery.suppression_model import Cause, Suppression
from inboxes.console_forms import ModeForm, find_inbox_of
from mailbot.lib.stray_keys import refuse_key

MOST_OCTETS = 2 * 1024 * 1024


class ScopeForm(ModeForm):
    """Whose mail is stopped: of an inbox, of the inboxes at a domain, or of the account."""

    inbox = forms.CharField(
        max_length=254,
        required=False,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text="Address or id. Empty: all inboxes of the account in this mode, or those at the domain below.",
    )
    domain = forms.CharField(
        max_length=254,
        required=False,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text="Of the inboxes that send nothing more there, where it is for all at one domain.",
    )

    def clean_domain(self) -> str:
        try:
            return canonical_scope_domain(self.cleaned_data["domain"]) if self.cleaned_data["domain"] else ""
        except NotSuppressible as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        wanted = given.get("inbox", "").strip()
        if wanted and given.get("domain"):
            self.add_error("domain", "Give an inbox, a domain, or neither.")
        elif wanted and "account" in given and "mode" in given:
            given["found_inbox"] = find_inbox_of(given["account"], given["mode"], wanted)
            if given["found_inbox"] is None:
                self.add_error("inbox", f"This account has no such inbox in {given['mode']} mode.")
        return given

    def target(self) -> Target:
        given = self.cleaned_data
        return Target(given["account"].pk, given["mode"], given.get("found_inbox"), given["domain"])


class SuppressForm(ScopeForm):
    address = forms.CharField(
        max_length=320,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text="It gets no more mail, however it is written and whatever stands behind a “+”.",
    )
    expires_at = forms.DateTimeField(
        label="Until, in UTC",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Empty: until somebody removes it.",
    )
    reason = forms.CharField(
        max_length=500, widget=forms.TextInput(attrs={"size": 70}), validators=[refuse_key], help_text="Why."
    )
    field_order = ["account", "mode", "inbox", "domain", "address", "reason", "expires_at"]

    def clean_address(self) -> str:
        try:
            return suppressible(self.cleaned_data["address"])
        except NotSuppressible as error:
            raise forms.ValidationError(str(error)) from error

    def clean_expires_at(self) -> datetime | None:
        ends: datetime | None = self.cleaned_data["expires_at"]
        if ends is not None and ends <= timezone.now():
            raise forms.ValidationError(OVER)
        return ends

    def add(self) -> tuple[Suppression, bool]:
        given = self.cleaned_data
        ends = given["expires_at"]
        wanted = Wanted(given["address"], Cause.MANUAL, given["reason"], expires_at=ends, ends_by_cause=False)
        return suppress(self.target(), wanted)


class ImportForm(ScopeForm):
    file = forms.FileField(
        help_text=(
            "CSV with a column “address” (and “cause”, “reason”, “expires_at” if you like), JSON, or one address a line; UTF-8, at most "
            "10,000 entries. For the whole account, lines of our own export keep their inbox or domain."
        )
    )
    reason = forms.CharField(
        max_length=500,
        required=False,
        widget=forms.TextInput(attrs={"size": 70}),
        validators=[refuse_key],
        help_text="For lines that say none: where they come from.",
    )
    field_order = ["account", "mode", "inbox", "domain", "file", "reason"]

    def clean_file(self) -> str:
        """Its content."""
        given = self.cleaned_data["file"]
        if given.size > MOST_OCTETS:
            raise forms.ValidationError("This is larger than 2 MB. Import it in several pieces.")
        try:
            return str(given.read().decode())
        except UnicodeDecodeError as error:
            raise forms.ValidationError("This is no text in UTF-8. Save it as CSV UTF-8.") from error

    def run(self) -> Imported | None:
        """None when the file cannot be read, which the form then says."""
        given = self.cleaned_data
        usual = Wanted("", Cause.IMPORT, given["reason"])
        try:
            return import_lines(self.target(), lines_of(given["file"]), "console", usual)
        except (TooMany, Unreadable) as error:
            self.add_error("file", str(error))
            return None
