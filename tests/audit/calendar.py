"""Entries of other months than this one."""

from datetime import UTC, datetime

import time_machine

from audit.months import Month
from tests.audit.trail import write


def written(moment: datetime, number: int = 1) -> None:
    with time_machine.travel(moment, tick=False):
        write(number)


def now() -> Month:
    return Month.now()


def middle(month: Month) -> datetime:
    return datetime(month.year, month.month, 15, 12, tzinfo=UTC)


def start(month: Month) -> datetime:
    return datetime(month.year, month.month, 1, tzinfo=UTC)
