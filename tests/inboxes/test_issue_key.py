"""manage.py issue_key"""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inboxes.keys import find_key
from inboxes.permissions import AGENT
from tests.cast import Caller


def issued(**options: Any) -> Any:
    out = StringIO()
    call_command("issue_key", **{"account": "Acme", **options}, stdout=out)
    return find_key(out.getvalue().strip())


class TestIssueKey:
    def test_it_prints_a_key_that_works(self, alice: Caller) -> None:
        key = issued(permissions="agent", mode="live")
        assert (key.account, key.mode, key.permissions, key.inbox_ids) == (alice.account, "live", list(AGENT), None)

    def test_it_limits_a_key_to_one_inbox_or_several(self, alice: Caller) -> None:
        one, two = alice.create_inbox().pk, alice.create_inbox().pk
        assert issued(inbox=[one]).inbox_ids == [one]
        assert issued(inbox=[one, two]).inbox_ids == [one, two]

    def test_it_refuses_an_inbox_of_another(self, alice: Caller, charlie: Caller) -> None:
        with pytest.raises(CommandError, match="has no test inbox"):
            issued(inbox=[alice.create_inbox().pk, charlie.create_inbox().pk])
