"""What migrations do with the keys that are there."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from inboxes.keys import digest
from inboxes.models import Account, ApiKey
from inboxes.permissions import FULL
from mailbot.lib.ids import new_id
from tests.cast import Caller
from tests.emptying import empty_tables

# Migrations of long ago, which took the same steps on both profiles.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_profile, pytest.mark.timeout(180)]
BEFORE = [("inboxes", "0002_fewer_indexes"), ("audit", "0002_fewer_indexes")]
OLD_FULL = (
    "inboxes:create inboxes:read inboxes:write inboxes:delete messages:read messages:send messages:write"
    " threads:read threads:write events:read audit:read"
).split()


def go_back() -> Any:
    """To how it was before; the models of then."""
    for app, name in BEFORE:
        call_command("migrate", app, name, verbosity=0)
    return MigrationExecutor(connection).loader.project_state(BEFORE).apps


def go_on() -> None:
    call_command("migrate", verbosity=0)


@pytest.fixture(autouse=True)
def newest_again() -> Iterator[None]:
    yield
    go_on()


def test_keys_go_back_and_on_again() -> None:
    """One way after the other, because each takes ten seconds of a core."""
    check_going_back_widens_no_key()
    empty_tables()
    models = MigrationExecutor(connection).loader.project_state(BEFORE).apps
    add_keys_of_before(models)
    add_entries_of_before(models)
    go_on()
    check_keys_keep_their_inbox_and_full_ones_every_right()
    check_entries_know_of_which_mode_their_key_is()


def check_going_back_widens_no_key() -> None:
    alice = Caller(Account.objects.create(name="Acme"), "Alice")
    one, two = alice.create_inbox(), alice.create_inbox()
    single, pair, none = (
        alice.with_key(inbox=one),
        alice.with_key(inbox_ids=[one.pk, two.pk]),
        alice.with_key(inbox_ids=[]),
    )
    ids = {caller.key.pk: name for caller, name in ((alice, "all"), (single, "one"), (pair, "two"), (none, "none"))}
    keys = go_back().get_model("inboxes", "ApiKey").objects
    found = {ids[key.pk]: (key.inbox_id, key.revoked_at is None) for key in keys.all()}
    assert found == {"all": (None, True), "one": (one.pk, True), "two": (None, False), "none": (None, False)}
    assert keys.get(pk=alice.key.pk).permissions == OLD_FULL


def add_keys_of_before(models: Any) -> None:
    account = models.get_model("inboxes", "Account").objects.create(id="account_1", name="Acme")
    inbox = models.get_model("inboxes", "Inbox").objects.create(
        id="inbox_1", account=account, mode="test", address="a@b.c", local_part="a", domain="b.c"
    )
    for name, rights, of in (
        ("full", OLD_FULL, None),
        ("turned", OLD_FULL[::-1], None),
        ("limited", ["messages:read"], inbox),
        ("limited full", OLD_FULL, inbox),
        ("almost", OLD_FULL[1:], None),
        ("more", [*OLD_FULL, "x:y"], None),
    ):
        models.get_model("inboxes", "ApiKey").objects.create(
            id=f"key_{name}",
            account=account,
            name=name,
            mode="test",
            permissions=rights,
            inbox=of,
            digest=digest(name),
        )


def check_keys_keep_their_inbox_and_full_ones_every_right() -> None:
    after = {key.name: key for key in ApiKey.objects.filter(account="account_1")}
    assert {name: key.inbox_ids for name, key in after.items() if key.inbox_ids is not None} == {
        "limited": ["inbox_1"],
        "limited full": ["inbox_1"],
    }
    assert set(after["full"].permissions) == set(after["turned"].permissions) == set(FULL)
    assert after["limited"].permissions == ["messages:read"]
    assert after["almost"].permissions == OLD_FULL[1:]
    assert after["more"].permissions == [*OLD_FULL, "x:y"]
    assert ApiKey.objects.filter(account="account_1", inbox_ids__isnull=True).count() == 4


def add_entries_of_before(models: Any) -> None:
    account = models.get_model("inboxes", "Account").objects.create(id="account_2", name="Shop")
    keys, entries = models.get_model("inboxes", "ApiKey").objects, models.get_model("audit", "AuditEntry").objects
    for mode in ("test", "live"):
        keys.create(id=f"key_{mode}", account=account, name=mode, mode=mode, permissions=OLD_FULL, digest=digest(mode))
        about = {"account_id": "account_2", "action": 0, "object_repr": "", "actor_kind": "user"}
        entries.create(
            public_id=new_id("audit"), act="key.issued", object_type="apikey", object_pk=f"key_{mode}", **about
        )
    entries.create(
        public_id=new_id("audit"), act="account.created", object_type="account", object_pk="account_2", **about
    )


def check_entries_know_of_which_mode_their_key_is() -> None:
    shop = Account.objects.get(pk="account_2")
    for mode, other in (("test", "live"), ("live", "test")):
        told = str(Caller(shop, "Alice", mode).get("/v1/audit-log").json())
        assert f"key_{mode}" in told
        assert f"key_{other}" not in told
        assert "account.created" in told
