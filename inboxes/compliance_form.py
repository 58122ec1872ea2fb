"""What a reviewer asks the compliance view for: a period, an actor, kinds of acts."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from audit.sentences import GROUP_NAMES, as_text, called
from audit.timeline import Actor, Wanted
from inboxes.models import Inbox

DAYS = 30
MOST_DAYS = 92
MOST_ACTORS = 100
_DATE = {"type": "date"}


class ComplianceForm(forms.Form):
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs=_DATE, format="%Y-%m-%d"))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs=_DATE, format="%Y-%m-%d"))
    actor = forms.CharField(label="Who", required=False, max_length=200, widget=forms.Select)
    kinds = forms.MultipleChoiceField(
        label="What",
        required=False,
        choices=[(kind.value, name) for kind, name in GROUP_NAMES.items()],
        widget=forms.CheckboxSelectMultiple,
    )
    account = forms.BooleanField(label="Also what concerns the whole account", required=False)
    at = forms.DateTimeField(
        label="At this moment (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        since, until = given.get("since"), given.get("until")
        if since and until and until < since:
            self.add_error("until", "This is before the first day.")
        elif since and until and (until - since).days >= MOST_DAYS:
            self.add_error("since", f"At most {MOST_DAYS} days at once: the last of them are shown.")
        if (at := given.get("at")) and at > timezone.now():
            self.add_error("at", "This is in the future: now is shown.")
        return given

    def offer(self, actors: Iterable[Actor], chosen: str) -> None:
        """Those who did anything in the period, and whoever is chosen."""
        found = [(actor.value, as_text(called(*actor))) for actor in list(actors)[:MOST_ACTORS]]
        if chosen and chosen not in dict(found):
            found.append((chosen, chosen.partition(":")[2] or chosen))
        select: Any = self.fields["actor"].widget
        select.choices = [("", "Everybody"), *found]


def period_of(form: ComplianceForm) -> tuple[date, date]:
    """The days that are shown, as far as what was filled in can be."""
    given, today = form.cleaned_data, timezone.now().astimezone(UTC).date()
    until = _within_years(given.get("until") or _given(form, "until")) or today
    since = _within_years(given.get("since") or _given(form, "since"))
    since = since if since and since <= until else until - timedelta(days=DAYS - 1)
    return max(since, until - timedelta(days=MOST_DAYS - 1)), until


def _given(form: ComplianceForm, name: str) -> date | None:
    """Also one that the form complains of, which takes it out of what is clean."""
    try:
        day: date | None = forms.DateField(required=False).clean(form.data.get(name, ""))
    except forms.ValidationError:
        return None
    return day


def _within_years(day: date | None) -> date | None:
    """So that a day more and a month less are days, too."""
    return day if day and date(1970, 6, 1) <= day <= date(9998, 1, 1) else None


def wanted_of(inbox: Inbox, form: ComplianceForm) -> Wanted:
    given, (first, last) = form.cleaned_data, period_of(form)
    return Wanted(
        account_id=inbox.account_id,
        inbox_id=inbox.pk,
        mode=inbox.mode,
        since=midnight(first),
        until=midnight(last + timedelta(days=1)),
        actor=given.get("actor", "").replace("\0", ""),
        kinds=tuple(given.get("kinds") or ()),
        with_account=bool(given.get("account")),
    )


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
