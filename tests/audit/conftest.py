"""What tests of the trail share"""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from audit.months import Month, made_months
from tests.audit.calendar import start


@pytest.fixture
def month_of_the_database(db: None) -> Iterator[None]:
    """It is still the month in which the database was made, also where the run has come into the next one since."""
    made = made_months(connection)[0].later(-1)
    moment = timezone.now() if made == Month.now() else start(made.later(1)) - timedelta(hours=1)
    with time_machine.travel(moment):
        yield
