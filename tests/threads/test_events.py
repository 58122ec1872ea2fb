"""Events can only be added."""

from functools import partial

import pytest

from tests.cast import Caller
from threads.models import Event


class TestEvents:
    def test_it_can_only_grow(self, alice: Caller) -> None:
        alice.create_inbox()
        event = Event.objects.get()
        for attempt in (event.save, event.delete, Event.objects.all().delete, partial(Event.objects.update, type="x")):
            with pytest.raises(RuntimeError, match="append-only"):
                attempt()
        assert Event.objects.get().type == "inbox.created"
