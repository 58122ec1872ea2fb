"""What waits for servers of others: in one process at a time, all of it beside each other, and never for one that is slow."""

import threading
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.actors import current
from delivery import slow_work
from delivery.models import InboundMail, SlowTurn
from delivery.slow_work import Source, work_through

pytestmark = pytest.mark.django_db


class Rows:
    """A source of numbers; what became of them is in `settled`."""

    def __init__(self, numbers: int, ask: Any = lambda number: number, at_once: int = 2) -> None:
        self.left, self.settled, self.actors, self.most = list(range(numbers)), list[Any](), set[str](), 0
        self.source = Source("the test", at_once, InboundMail.objects.all, self._claim, ask, self._settle)

    def _claim(self, flying: Collection[int]) -> int | None:
        self.most = max(self.most, len(flying))
        return self.left.pop(0) if self.left else None

    def _settle(self, number: int, found: Any) -> None:
        self.settled.append((number, found))
        self.actors.add(current().actor.name)


@pytest.fixture(autouse=True)
def something_is_due() -> None:
    InboundMail.objects.create(dedupe_key="x", recipients=[], size=0, sha256="")


def test_it_works_through_all_of_them_few_at_a_time() -> None:
    rows = Rows(7, at_once=3)
    assert work_through(rows.source) == 7
    assert sorted(rows.settled) == [(number, number) for number in range(7)]
    assert (rows.most, rows.actors) == (3 - 1, {"the test"})
    assert SlowTurn.objects.get().lease_until is None


def test_a_slow_one_holds_up_no_other_kind() -> None:
    """All of a kind wait until the other kind is done, also for what came to that in the meantime."""
    done = threading.Event()
    slow, quick = Rows(2, ask=lambda number: done.wait(20)), Rows(3, at_once=1)
    settle = quick.source.settle

    def settled(number: int, found: Any) -> None:
        settle(number, found)
        if number == 1:
            quick.left.append(17)
        if number == 17:
            done.set()

    work_through(slow.source, Source("the test", 1, quick.source.due, quick.source.claim, quick.source.ask, settled))
    assert sorted(quick.settled) == [(0, 0), (1, 1), (2, 2), (17, 17)]
    assert sorted(slow.settled) == [(0, True), (1, True)]


def test_one_process_at_a_time_has_the_turn() -> None:
    rows, now = Rows(1), timezone.now()
    SlowTurn.objects.create(pk=1, lease_token="another", lease_until=now + timedelta(seconds=20))
    assert (work_through(rows.source), rows.settled) == (0, [])
    SlowTurn.objects.update(lease_until=now - timedelta(seconds=1))
    assert (work_through(rows.source), rows.settled) == (1, [(0, 0)])


@pytest.mark.parametrize("behind", [timedelta(0), timedelta(hours=3)])
def test_who_lost_the_turn_takes_nothing_new(monkeypatch: pytest.MonkeyPatch, behind: timedelta) -> None:
    monkeypatch.setattr(slow_work, "RENEWED_EVERY", 0.0)

    def lose(number: int) -> int:
        taken.wait(20)
        return number

    taken, rows = threading.Event(), Rows(3, ask=lose, at_once=1)
    claim = rows.source.claim

    def claimed(flying: Collection[Any]) -> Any:
        row = claim(flying)
        SlowTurn.objects.update(lease_token="another", lease_until=timezone.now() + timedelta(seconds=20))
        taken.set()
        return row

    work_through(Source("the test", 1, rows.source.due, claimed, rows.source.ask, rows.source.settle))
    assert (rows.settled, rows.left) == ([(0, 0)], [1, 2])
    assert SlowTurn.objects.get().lease_token == "another"
    if behind:  # a clock that was set back since: nobody writes a lease as far ahead
        SlowTurn.objects.update(lease_until=timezone.now() + behind)
        assert work_through(Rows(1).source) == 1
