"""No route gives anything to whom it does not belong, whatever id is put wherever one fits."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from inboxes.models import Account
from tests.contract import document
from tests.dns_zone import PublishedZone
from tests.isolation.asking import ask, look_within_the_test
from tests.isolation.matrix import MADE_UP, Leak, Report, try_everything, undone
from tests.isolation.principals import PRINCIPALS, Stage, another_account
from tests.isolation.slots import Operation, Place, Slot, Unclassified, operations
from tests.isolation.summary import TOLD
from tests.isolation.walls import share_idempotency_keys, take_out_the_managers, take_out_the_policies
from tests.isolation.world import World, has, twin, use_everything

pytestmark = pytest.mark.timeout(180)
on_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no row-level security")

OPERATIONS = operations(document())
# Whom the database tells apart. It knows accounts and the inboxes of a key; modes, rights and the ends of keys are the application's.
SECOND_WALL = ("a key of another account", "a key of another inbox", "a key of other inboxes", "a key of no inbox")
# Keys, and what the trail says of them, belong to no inbox: those of one account are told apart by the application alone.
NOT_BY_INBOX = ("/v1/api-keys", "/v1/audit-log")


@pytest.fixture
def stage(acme: Account, monkeypatch: pytest.MonkeyPatch, dns: PublishedZone) -> Stage:
    look_within_the_test(monkeypatch)
    return Stage(acme)


Tell = Callable[[str, Report], None]


@pytest.fixture
def tell(record_property: Callable[[str, Any], None]) -> Tell:
    """To the summary at the end of the run."""

    def told(by: str, report: Report) -> None:
        routes = {operation for operation, _ in report.tried}
        slots = {(operation, slot) for operation, slot in report.tried if slot}
        counts = {"routes": len(routes), "slots": len(slots), "requests": report.requests, "leaks": len(report.leaks)}
        record_property(TOLD, {"by": by, **counts})

    return told


def is_not_by_inbox(leak: Leak) -> bool:
    names_an_inbox = any(slot.word in ("inbox_id", "inbox_ids") for slot in leak.slots)
    return leak.operation.path.startswith(NOT_BY_INBOX) and not names_an_inbox


def shown(report: Report) -> str:
    return "\n".join(map(str, report.leaks[:20]))


class TestSlots:
    def test_it_finds_them_wherever_they_are(self) -> None:
        found = {(str(operation), str(slot)) for operation in OPERATIONS for slot in operation.slots}
        assert found >= {
            ("GET /v1/inboxes/{inbox_id}/messages/wait", "query:after"),
            ("POST /v1/api-keys", "body:inbox_ids[]"),
            ("PATCH /v1/api-keys/{key_id}", "path:key_id"),
            ("GET /v1/events", "query:message_id"),
            ("POST /v1/inboxes", "header:Idempotency-Key"),
            ("GET /v1/search", "query:query"),
        }

    def test_a_name_that_nobody_has_classified_is_an_error(self) -> None:
        changed = copy.deepcopy(document())
        changed["components"]["schemas"]["AttachmentBody"]["properties"]["parent"] = {"type": "string"}
        with pytest.raises(Unclassified, match="parent"):
            operations(changed)

    def test_a_new_one_is_in_the_matrix_at_once(self) -> None:
        changed = copy.deepcopy(document())
        parameters = changed["paths"]["/v1/inboxes"]["get"]["parameters"]
        parameters.append({"name": "draft_id", "in": "query", "schema": {"type": "string"}})
        (operation,) = [found for found in operations(changed) if str(found) == "GET /v1/inboxes"]
        assert Slot(Place.QUERY, "draft_id") in operation.slots


class TestTwins:
    @pytest.mark.parametrize(("end", "below"), [("k1w5", "k1w4"), ("k1wg", "k1wf"), ("k1w0", "k1vz"), ("k100", "k0zz")])
    def test_nothing_is_listed_between_an_id_and_its_twin(self, end: str, below: str) -> None:
        start = "erasure_01m8g2cft5e0nbk1nr40b2"
        assert twin(start + end) == start + below


class TestOwner:
    """Whoever owns it all succeeds everywhere: else the matrix would prove nothing."""

    @pytest.mark.parametrize("mode", ["live", "test"])
    def test_each_slot_takes_his_ids(self, stage: Stage, mode: str) -> None:
        world = stage.victim(mode)
        use_everything(world, OPERATIONS)
        for operation in [operation for operation in OPERATIONS if has(world, operation)]:
            for slot in (None, *operation.slots):
                if mode == "test" and slot and slot.word == "provider_id":
                    continue  # what a test key sends reaches none
                self.check(world, operation, slot)

    def check(self, world: World, operation: Operation, slot: Slot | None) -> None:
        given = world.needed_values(operation) | ({slot: world.value(operation, slot)} if slot else {})
        with undone():
            answer = ask(operation, given, world.authorization)
        assert answer.is_success, (operation, slot, answer)
        if slot and slot.word == "Idempotency-Key":
            assert answer.headers["Idempotent-Replayed"] == "true"
        elif slot and slot.place is Place.QUERY and slot.word not in MADE_UP:
            assert answer.lists_something, (operation, slot, answer)


class TestMatrix:
    @pytest.mark.parametrize("name", PRINCIPALS)
    def test_nothing_leaks_to(self, stage: Stage, name: str, tell: Tell) -> None:
        principal = PRINCIPALS[name](stage)
        use_everything(principal.victim, OPERATIONS)
        report = try_everything(OPERATIONS, principal)
        tell("all walls", report)
        assert not report.leaks, shown(report)
        everything = {(operation, slot) for operation in OPERATIONS for slot in operation.slots or (None,)}
        assert report.tried >= everything


@on_postgresql
class TestTheDatabaseAlone:
    """The same with the first wall taken out."""

    @pytest.mark.parametrize("name", SECOND_WALL)
    def test_nothing_leaks_to(self, stage: Stage, name: str, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
        principal = PRINCIPALS[name](stage)
        use_everything(principal.victim, OPERATIONS)
        take_out_the_managers(monkeypatch)
        report = try_everything(OPERATIONS, principal)
        if principal.is_of_the_same_account:
            report.leaks = [leak for leak in report.leaks if not is_not_by_inbox(leak)]
        tell("the database alone", report)
        assert not report.leaks, shown(report)


@pytest.fixture
def without_walls(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """To be called when the stage stands."""

    def taken_out() -> None:
        take_out_the_managers(monkeypatch)
        if connection.vendor == "postgresql":
            take_out_the_policies(monkeypatch)

    return taken_out


class TestWithoutWalls:
    """What would leak is found: the matrix is no test that always passes."""

    # What a caller makes up himself finds nothing by itself, and the cursor of a search is a place in time.
    MEANS_NOTHING_ELSEWHERE = MADE_UP | {"cursor"}

    def test_each_slot_is_found_to_leak(self, stage: Stage, without_walls: Callable[[], None]) -> None:
        principal = another_account(stage)
        use_everything(principal.victim, OPERATIONS)
        without_walls()
        leaking = {
            (leak.operation, slot) for leak in try_everything(OPERATIONS, principal).leaks for slot in leak.slots
        }
        silent = {(operation, slot) for operation in OPERATIONS for slot in operation.slots} - leaking
        assert not {
            (str(operation), slot) for operation, slot in silent if slot.word not in self.MEANS_NOTHING_ELSEWHERE
        }

    def test_idempotency_keys_that_are_shared_are_found_to_leak(
        self, stage: Stage, without_walls: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        share_idempotency_keys(monkeypatch)
        principal = another_account(stage)
        use_everything(principal.victim, OPERATIONS)
        without_walls()
        posts = [operation for operation in OPERATIONS if operation.slot("Idempotency-Key")]
        leaking = {leak.operation for leak in try_everything(posts, principal).leaks if len(leak.slots) == 1}
        assert leaking >= {operation for operation in posts if not operation.path_slots}
