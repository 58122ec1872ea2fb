"""A live inbox, and the fake ESP that its mail leaves by."""

from collections.abc import Iterator
from typing import Any

import pytest

from delivery.esps import sns
from inboxes.models import Inbox
from tests.cast import Caller
from tests.fake_esp.server import FakeEsp, fake_esp
from tests.fake_esp.signing import RSA_KEY


@pytest.fixture
def fake(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEsp]:
    settings.FETCH_ALLOW = ["127.0.0.0/8"]
    monkeypatch.setattr(sns, "key_at", lambda url: RSA_KEY.public_key())
    with fake_esp() as esp:
        yield esp


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox()
