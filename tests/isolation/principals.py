"""Everybody to whom an id may be given that is not his, and what the contract answers him."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from inboxes.keys import note_use, revoke_key
from inboxes.models import Account, ApiKey
from inboxes.permissions import FULL
from tests.cast import Caller
from tests.isolation.slots import Operation
from tests.isolation.world import World, build_world


@dataclass
class Principal:
    """`own` is what he may give, and see, himself. `refused_with`: the status of whatever he asks, where that is known beforehand."""

    authorization: Callable[[Operation], str]
    key_ids: set[str]
    own: World
    victim: World
    refused_with: int | None = None

    @property
    def is_of_the_same_account(self) -> bool:
        return self.own.owner.account.pk == self.victim.owner.account.pk

    @property
    def is_of_the_other_mode(self) -> bool:
        return self.own.owner.mode != self.victim.owner.mode

    def shares(self, word: str) -> bool:
        """Whether what this slot takes is his as well as the victim's: domains, retention classes and erasures are of the
        whole account and of both modes."""
        of_both = ("domain_id", "retention_class_id", "erasure_id")
        return word in of_both and self.is_of_the_same_account and self.is_of_the_other_mode


@dataclass
class Stage:
    """Alice's account, in which there are a live inbox, a test one, and another live one that some keys are limited to."""

    account: Account

    def victim(self, mode: str = "live") -> World:
        return build_world(self.account, mode, f"alice{mode}")

    def beside(self, mode: str = "live") -> World:
        return build_world(self.account, mode, f"beside{mode}")


def _by_key(caller: Caller, own: World, victim: World, refused_with: int | None = None) -> Principal:
    note_use(caller.key)  # else the first request would, and differ from the second
    return Principal(lambda _: f"Bearer {caller.secret}", {caller.key.pk}, own, victim, refused_with)


def another_account(stage: Stage) -> Principal:
    own = build_world(Account.objects.create(name="Elsewhere"), "live", "charlie")
    return _by_key(own.owner, own, stage.victim())


def key_of_another_inbox(stage: Stage) -> Principal:
    own = stage.beside()
    return _by_key(own.owner.with_key(inbox=own.inbox), own, stage.victim())


def key_of_other_inboxes(stage: Stage) -> Principal:
    own = stage.beside()
    third = own.owner.create_inbox(username="third")
    return _by_key(own.owner.with_key(inbox_ids=[own.inbox.pk, third.pk]), own, stage.victim())


def key_of_no_inbox(stage: Stage) -> Principal:
    own = stage.beside()
    return _by_key(own.owner.with_key(inbox_ids=[]), own, stage.victim())


def test_key_on_live(stage: Stage) -> Principal:
    own = stage.beside("test")
    return _by_key(own.owner, own, stage.victim("live"))


def live_key_on_test(stage: Stage) -> Principal:
    own = stage.beside("live")
    return _by_key(own.owner, own, stage.victim("test"))


def revoked_key(stage: Stage) -> Principal:
    victim = stage.victim()
    caller = victim.owner.with_key()
    revoke_key(caller.key)
    return _by_key(caller, victim, victim, 401)


def expired_key(stage: Stage) -> Principal:
    victim = stage.victim()
    caller = victim.owner.with_key()
    ApiKey.objects.filter(pk=caller.key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    return _by_key(caller, victim, victim, 401)


def key_without_the_right(stage: Stage) -> Principal:
    """For each operation another key, which has all rights but the one that is needed."""
    victim = stage.victim()
    lacking = {right: victim.owner.with_key(permissions=[r for r in FULL if r != right]) for right in FULL}
    key_ids = {caller.key.pk for caller in lacking.values()}
    return Principal(
        lambda asked: f"Bearer {lacking.get(asked.right, victim.owner).secret}", key_ids, victim, victim, 403
    )


def nobody(stage: Stage) -> Principal:
    victim = stage.victim()
    return Principal(lambda _: "", set(), victim, victim, 401)


PRINCIPALS: dict[str, Callable[[Stage], Principal]] = {
    "a key of another account": another_account,
    "a key of another inbox": key_of_another_inbox,
    "a key of other inboxes": key_of_other_inboxes,
    "a key of no inbox": key_of_no_inbox,
    "a test key on live": test_key_on_live,
    "a live key on test": live_key_on_test,
    "a revoked key": revoked_key,
    "an expired key": expired_key,
    "a key without the right": key_without_the_right,
    "nobody": nobody,
}
