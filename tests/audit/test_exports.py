"""Bundles of evidence: what is in them, that they prove themselves, that they are gone on with."""

from pathlib import Path

import pytest

from tests.audit.bundles import ask, download, make, verified
from tests.cast import Caller
from tests.mailing import deliver, mail

pytestmark = pytest.mark.django_db


class TestBundle:
    def test_it_holds_for_who_knows_nothing_of_us(self, alice: Caller, tmp_path: Path) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        export = ask(alice)
        make()
        bundle = download(alice, export["id"])
        assert verified(bundle, tmp_path) == (0, {"holds": True, "findings": []})
