"""What an erasure leaves of entries that the trail has of itself"""

import pytest

from audit.models import AuditEntry
from audit.verifying import verify
from tests.cast import Caller
from tests.delivery.erasing.traces import erase, places
from tests.stores import Store

CAROL = "carol@shop.example"


@pytest.fixture
def owner(alice: Caller, store: Store) -> Caller:
    return alice.with_key(mode="live")


def test_whose_acts_were_streamed_is_no_longer_told(owner: Caller, store: Store) -> None:
    Caller(owner.account, CAROL, "live").create_inbox()
    assert CAROL in owner.get("/v1/audit-log/export", actor=CAROL).getvalue().decode()
    assert AuditEntry.objects.get(act="trail.streamed").changes["actor"] == CAROL
    person = erase(owner, CAROL)["person"]
    assert AuditEntry.objects.get(act="trail.streamed").changes["actor"] == person
    assert places(store, [CAROL]) == set()
    assert verify(owner.account.pk).findings == []
