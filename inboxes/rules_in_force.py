"""Which rules an inbox is under, as far as they matter for the addresses of a mail: read for a whole batch at once."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from inboxes.models import AddressRule, Inbox
from inboxes.rules import NO_RULES, Level, Rule, Rules, patterns_of
from mailbot.lib.bulk import places

EFFECTS = tuple(effect.value for effect in AddressRule.Effect)


def with_rules_flag(inboxes: QuerySet[Inbox], direction: str | None = None) -> QuerySet[Any]:
    """Each inbox with `has_rules`: whether it is under any rule of this direction, or of any. Two look-ups in an index for each, and no
    query more."""
    rules = AddressRule.objects.filter(direction=direction) if direction else AddressRule.objects.all()
    own = rules.filter(inbox_id=OuterRef("pk"), inbox__isnull=False)
    shared = rules.filter(account_id=OuterRef("account_id"), mode=OuterRef("mode"), inbox__isnull=True)
    return inboxes.annotate(has_rules=Exists(own) | Exists(shared))


def find_rules(direction: str, addresses: Mapping[Inbox, Iterable[str]]) -> dict[str, Rules]:
    """By inbox id, the rules of this direction that bear on these addresses, in one query. An inbox without any is absent.

    By (inbox, pattern), each pair by itself in the index: a list may have ten thousand entries, and a batch a hundred inboxes.
    """
    wanted = [
        (inbox.account_id, inbox.mode, inbox.pk, pattern)
        for inbox, theirs in addresses.items()
        for pattern in {pattern for address in theirs for pattern in patterns_of(address)}
    ]
    if not wanted:
        return {}
    return _by_inbox(_look_up(direction, wanted))


def rules_of(direction: str, inbox: Inbox, addresses: Iterable[str]) -> Rules:
    """The same for one inbox."""
    return find_rules(direction, {inbox: addresses}).get(inbox.pk, NO_RULES)


def _look_up(direction: str, wanted: Collection[tuple[str, str, str, str]]) -> list[Any]:
    """(inbox, level, id, effect, pattern): rules that match; and, with an empty id, which levels allow anybody at all."""
    own = "r.inbox_id = w.inbox AND r.inbox_id IS NOT NULL"
    shared = "r.account_id = w.account AND r.mode = w.world AND r.inbox_id IS NULL"
    selects = [
        *(_matching(own, Level.INBOX, effect) for effect in EFFECTS),
        *(_matching(shared, Level.ACCOUNT, effect) for effect in EFFECTS),
        _allowing(own, Level.INBOX),
        _allowing(shared, Level.ACCOUNT),
    ]
    statement = (
        f"WITH wanted (account, world, inbox, pattern) AS (VALUES {', '.join([places(4)] * len(wanted))}),"  # noqa: S608 (our own text)
        f" concerned AS (SELECT DISTINCT account, world, inbox FROM wanted) {' UNION ALL '.join(selects)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*chain.from_iterable(wanted), *[direction] * len(selects)])
        return list(cursor.fetchall())


def _matching(whose: str, level: Level, effect: str) -> str:
    """As a subquery for each pair, of which there is one entry at most: joined, either database may choose to read whole lists instead."""
    entry = (
        f"SELECT r.id FROM inboxes_addressrule r WHERE {whose} AND r.direction = %s"  # noqa: S608 (our own text)
        f" AND r.effect = '{effect}' AND r.pattern = w.pattern"
    )
    pairs = f"SELECT w.inbox, w.pattern, ({entry}) AS id FROM wanted w"  # noqa: S608
    return f"SELECT inbox, {level.value}, id, '{effect}', pattern FROM ({pairs}) AS found WHERE id IS NOT NULL"  # noqa: S608


def _allowing(whose: str, level: Level) -> str:
    return (
        f"SELECT w.inbox, {level.value}, '', '', '' FROM concerned w WHERE EXISTS (SELECT 1 FROM inboxes_addressrule r"  # noqa: S608
        f" WHERE {whose} AND r.direction = %s AND r.effect = '{AddressRule.Effect.ALLOW.value}')"
    )


def _by_inbox(rows: Sequence[tuple[str, int, str, str, str]]) -> dict[str, Rules]:
    rules: dict[str, list[Rule]] = defaultdict(list)
    allow_lists: dict[str, set[Level]] = defaultdict(set)
    for inbox_id, level, rule_id, effect, pattern in rows:
        if rule_id:
            rules[inbox_id].append(Rule(rule_id, Level(level), effect, pattern))
        else:
            allow_lists[inbox_id].add(Level(level))
    return {
        inbox_id: Rules(tuple(rules[inbox_id]), frozenset(allow_lists[inbox_id]))
        for inbox_id in rules.keys() | allow_lists.keys()
    }
