"""What stands in a cell of the console: times, states and foreign text, each as safe HTML.

Text that came by mail is escaped and put into <bdi>, so that neither markup nor a right-to-left override in it reaches what stands
beside it.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator

Cell = Callable[[Any], Any]

NOTHING = "–"
# The colour of a state says what it asks of an operator. A state that is not named here has none.
TONES = {
    **dict.fromkeys(
        ["failed", "bounced", "complained", "tripped", "unknown", "failing", "missing", "fail", "forged"], "bad"
    ),
    **dict.fromkeys(
        [
            "paused",
            "on trial",
            "near",
            "blocked",
            "deferred",
            "rejected",
            "held",
            "in force",
            "revoked",
            "expired",
            "test",
            "block",
            "full",
            "unmatched",
            "degraded",
            "mismatch",
            "softfail",
            "temperror",
            "permerror",
            "policy",
            "disputed",
        ],
        "warn",
    ),
    **dict.fromkeys(
        ["active", "sent", "delivered", "processed", "received", "usable", "open", "allow", "pass", "verified"], "good"
    ),
    **dict.fromkeys(
        ["queued", "sending", "stored", "processing", "scheduled", "awaiting_approval", "live", "pending"], "busy"
    ),
}
_MAY_BREAK = re.compile(r"@(?=\S)|[^@\s]{24}(?=[^@\s])")
MOST_JSON = 20_000  # characters
SIZES = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
AGES = ((86400, "d"), (3600, "h"), (60, "min"))


def badge(state: str) -> SafeString:
    return format_html('<span class="badge tone-{}">{}</span>', TONES.get(state, "none"), state.replace("_", " "))


def shortened(text: str, length: int = 80) -> SafeString:
    """One line of foreign text."""
    line = Truncator(" ".join(text[: length * 4].split())).chars(length)
    if not line:
        return SafeString(NOTHING)
    # Where a long word may break. Neither a soft hyphen nor a zero-width space: people copy addresses from here.
    pieces = _MAY_BREAK.sub(r"\g<0>\n", line).split("\n")
    return format_html(
        '<bdi class="foreign">{}</bdi>', format_html_join(SafeString("<wbr>"), "{}", ([p] for p in pieces))
    )


def age(since: datetime | timedelta) -> str:
    """How long ago, in the largest unit that fits: `3 min`, `2 h`; a time ahead is `in 3 min`."""
    seconds = (since if isinstance(since, timedelta) else timezone.now() - since).total_seconds()
    size, unit = next(((size, unit) for size, unit in AGES if abs(seconds) >= size), (1, "s"))
    return f"{'in ' if seconds < 0 else ''}{abs(seconds) / size:.0f} {unit}"


def octets(number: int) -> str:
    """A size in the largest unit that fits: `812 B`, `4.2 KiB`, `1.3 GiB`."""
    size, unit = next(((number / size, unit) for size, unit in SIZES if number >= size), (number, "B"))
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def grouped(number: int) -> str:
    return f"{number:,}"


def moment(time: datetime | None) -> SafeString:
    """A time to the second, in UTC as the trail has it, and how far away that is: `3 min ago`, `in 3 min`."""
    if time is None:
        return SafeString(NOTHING)
    text, far = time.strftime("%Y-%m-%d %H:%M:%S"), age(time)
    far = far if far.startswith("in ") else f"{far} ago"
    return format_html('<time datetime="{}">{}</time> <span class="age">{}</span>', time.isoformat(), text, far)


def page_link(model: str, pk: str, text: Any) -> SafeString:
    """A link to the page of one row; `model` is `<app>_<model>` as in the names of the admin's URLs."""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{model}_change", args=[quote(pk)]), text)


def list_url(model: str, **filters: str) -> str:
    return reverse(f"admin:{model}_changelist", query=filters or None)


def pretty(value: Any) -> SafeString:
    """JSON for people; of a long one the beginning, and how much is left out."""
    if not value:
        return SafeString(NOTHING)
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    left_out = len(text) - MOST_JSON
    note = f"\n… and {left_out:,} characters more" if left_out > 0 else ""
    return format_html('<pre class="foreign">{}</pre>', text[:MOST_JSON] + note)


def _column(show: Callable[[Any], Any], name: str, label: str) -> Cell:
    def column(row: Any) -> Any:
        value: Any = row
        for part in name.split("__"):
            value = getattr(value, part, None)
        return NOTHING if value in (None, "") else show(value)

    column.__name__ = name  # the admin makes the CSS class of the column of it
    return admin.display(description=label or name.replace("_", " "))(column)


def time_column(name: str, label: str = "") -> Cell:
    return _column(moment, name, label)


def badge_column(name: str, label: str = "") -> Cell:
    return _column(badge, name, label)


def text_column(name: str, label: str = "", length: int = 80) -> Cell:
    return _column(lambda text: shortened(text, length), name, label)


def size_column(name: str, label: str = "") -> Cell:
    return _column(octets, name, label)


def number_column(name: str, label: str = "") -> Cell:
    return _column(lambda number: number, name, label)


def flag_column(name: str, label: str = "") -> Cell:
    return _column(lambda flag: "yes" if flag else "no", name, label)


def json_column(name: str, label: str = "") -> Cell:
    return _column(pretty, name, label)


def link_column(name: str, model: str, label: str = "") -> Cell:
    """The row that a foreign key leads to."""
    return _column(lambda row: page_link(model, row.pk, shortened(str(row), 60)), name, label)
