"""JSON lists in the database"""

import pytest

from inboxes.models import ApiKey
from tests.cast import Caller


class TestIsWithin:
    @pytest.mark.parametrize(
        ("stored", "wanted", "found"),
        [
            (["a"], ["a", "b"], True),
            (["b", "a"], ["a", "b"], True),
            (["a", "c"], ["a", "b"], False),
            (["c"], [], False),
            ([], ["a"], True),
            ([], [], True),
            (None, ["a"], False),
            (None, [], False),
            (['it\'s "x" %s'], ['it\'s "x" %s'], True),
        ],
    )
    def test_it_knows_whether_a_list_holds_nothing_else(
        self, alice: Caller, stored: list[str] | None, wanted: list[str], found: bool
    ) -> None:
        ApiKey.objects.update(inbox_ids=stored)
        assert ApiKey.objects.filter(inbox_ids__is_within=wanted).exists() is found  # type: ignore[misc]  # django-stubs takes the type of a lookup for that of its answer
