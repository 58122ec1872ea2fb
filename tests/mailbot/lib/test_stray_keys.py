"""Keys where none should be"""

import logging
import sys
from typing import Any

import pytest
from django.conf import settings

from mailbot.lib.logs import FORMATS, KeylessFormatter
from mailbot.lib.stray_keys import holds_key, looks_like_key, without_keys

SECRET = "mb_live_abcdefghijklmnopqrstuvwxyz234567"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SECRET, True),
        (f"Bearer {SECRET}", True),
        (SECRET.upper(), True),
        (SECRET[:20], True),
        (SECRET[:12], False),  # as the console shows it
        ("mb_test_", False),
        ("mb_prod_" + SECRET[8:], False),
        ("", False),
    ],
)
def test_it_knows_them_by_their_shape(text: str, found: bool) -> None:
    assert looks_like_key(text) is found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (f'{{"name": "{SECRET}"}}', True),
        (SECRET, True),
        (SECRET[:-1], False),
        (SECRET + "a", False),
        ("mb_test_integration_inbox_of_the_team", False),
    ],
)
def test_a_body_holds_a_whole_one(body: str, found: bool) -> None:
    assert holds_key(body.encode()) is found


def test_it_takes_the_secret_out_of_the_address_of_a_webhook() -> None:
    path = "/hooks/provider_01m8ec93r3eagb5zhv7tvbx1nw/26bt1WJDqkxKAr7ie2X6uDoEfULhjqA6c8pYxE74mfc/tracking"
    shown = "Internal Server Error: /hooks/provider_01m8ec93r3eagb5zhv7tvbx1nw/…/tracking"
    assert without_keys(f"Internal Server Error: {path}") == shown


def test_it_leaves_the_shown_beginning() -> None:
    assert without_keys(f"{SECRET}, {SECRET}") == "mb_live_abcd…, mb_live_abcd…"


@pytest.mark.parametrize("form", FORMATS)
def test_no_line_of_the_log_has_one(form: str) -> None:
    try:
        raise ValueError(f"{SECRET} is not an inbox")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "In %s", (f"/v1/{SECRET}",), sys.exc_info())
    line = KeylessFormatter(form).format(record)
    assert SECRET not in line
    assert line.count("mb_live_abcd…") == 2


def test_the_server_writes_its_log_with_it() -> None:
    log: Any = settings.LOGGING
    for handler in log["handlers"].values():
        assert log["formatters"][handler["formatter"]]["()"].endswith("KeylessFormatter")
