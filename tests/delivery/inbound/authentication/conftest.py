"""Domains that send mail, and an inbox that gets it."""

from pathlib import Path
from typing import Any

import pytest

from inboxes.models import Inbox
from tests.cast import Caller
from tests.delivery.inbound.authentication.senders import BANK_SERVER, EVIL_SERVER, World


@pytest.fixture
def world(settings: Any, tmp_path: Path) -> World:
    """A bank that does everything, a shop that only watches, a club that does nothing, and a villain in perfect order."""
    settings.AUTHENTICATION_SECONDS = 5
    settings.DNS_ZONE_FILE = tmp_path / "zone"
    world = World(settings.DNS_ZONE_FILE)
    world.domain("bank.example", BANK_SERVER, "p=reject; sp=quarantine; adkim=s", is_signing=True)
    world.domain("shop.example", BANK_SERVER, "p=none", is_signing=True)
    world.domain("plain.example", BANK_SERVER, is_signing=True)
    world.domain("evil.example", EVIL_SERVER, "p=reject", is_signing=True)
    return world


@pytest.fixture
def inbox(alice: Caller, world: World) -> Inbox:
    return alice.create_inbox()
