"""What the lists say of an address: which of its rules decides, and why. Nothing here reads or writes.

A rule stands at one of two levels, the inbox or its account, and matches one address, one domain with all below it, or everybody (`*`).
Where several match, in this order:

1. the inbox beats the account: the account is asked only where the inbox has nothing to say;
2. the more specific pattern beats the less specific one: an address, then a domain, then the domains above it, then `*`;
3. of two with the same pattern, block beats allow.

A level that allows anybody is an allow list: whoever matches no rule of it is blocked. Where no level says anything, mail passes.
"""

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from inboxes.models import AddressRule
from mailbot.lib.addresses import AddressError, canonical, canonical_domain, comparable

EVERYBODY = "*"
MAX_PARENTS = 8
FARTHEST = 2 + MAX_PARENTS
_ESCAPED = re.compile(r"\\(.)")
Effect = AddressRule.Effect
Direction = AddressRule.Direction


class Level(IntEnum):
    """The lower number decides first."""

    INBOX = 1
    ACCOUNT = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """An AddressRule, as far as deciding needs it."""

    id: str
    level: Level
    effect: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one direction that an inbox is under. `allow_lists`: the levels that allow anybody at all.

    `rules` may leave out what cannot match the addresses in question; `allow_lists` may not, so it is said apart.
    """

    rules: Collection[Rule] = ()
    allow_lists: frozenset[Level] = frozenset()

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> "Rules":
        """From all the rules that there are."""
        known = tuple(rules)
        return cls(known, frozenset(rule.level for rule in known if rule.effect == Effect.ALLOW))


NO_RULES = Rules()


class Reason(StrEnum):
    BLOCK_RULE = "block_rule"
    NOT_ON_ALLOW_LIST = "not_on_allow_list"
    ALLOW_RULE = "allow_rule"
    NO_RULE = "no_rule"


BLOCKS = frozenset({Reason.BLOCK_RULE, Reason.NOT_ON_ALLOW_LIST})


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rule` is the one that decided. `level` is None where nothing did; `address` is the one that was decided about."""

    reason: Reason
    address: str
    level: Level | None = None
    rule: Rule | None = None

    @property
    def is_blocked(self) -> bool:
        return self.reason in BLOCKS

    @property
    def is_decided(self) -> bool:
        """Whether a rule or a list said something at all."""
        return self.level is not None

    @property
    def words(self) -> str:
        """For people, in one sentence."""
        whose = f"the {self.level.name.lower()}" if self.level else ""
        if self.rule:
            return f"{self.address or 'The empty address'} matches “{self.rule.pattern}”, which {whose}’s list {self.rule.effect}s."
        if self.is_blocked:
            return f"{self.address or 'The empty address'} matches nothing on the allow list of {whose}."
        return "No list says anything of it."

    def explained(self) -> dict[str, Any]:
        """As the API tells it."""
        rule = self.rule
        return {
            "blocked": self.is_blocked,
            "reason": self.reason.value,
            "address": self.address,
            "level": self.level.name.lower() if self.level else None,
            "rule": {"id": rule.id, "effect": rule.effect, "pattern": rule.pattern} if rule else None,
            "explanation": self.words,
        }


def decide(rules: Rules, address: str, also: Iterable[str] = ()) -> Verdict:
    """What `rules` say of `address`, in any spelling.

    `also` are other addresses that the same mail comes under (its envelope sender): a rule that blocks one of them counts as if it
    matched the address itself, a rule that allows one does not, because a sender can write there what he likes.
    """
    if not rules.rules and not rules.allow_lists:  # the usual case, and asked for every mail
        return Verdict(Reason.NO_RULE, address)
    shown = comparable(address)
    matches = _matches(rules.rules, address, also)
    for level in Level:
        if best := min((match for match in matches if match.rule.level is level), default=None):
            reason = Reason.BLOCK_RULE if best.blocks else Reason.ALLOW_RULE
            return Verdict(reason, best.address, level, best.rule)
        if level in rules.allow_lists:
            return Verdict(Reason.NOT_ON_ALLOW_LIST, shown, level)
    return Verdict(Reason.NO_RULE, shown)


def decide_answer(reply: Rules, send: Rules, address: str) -> tuple[Direction, Verdict]:
    """Of somebody who is answered: the lists for replies, and where they say nothing those for sending. With the direction that decided."""
    verdict = decide(reply, address)
    return (Direction.REPLY, verdict) if verdict.is_decided else (Direction.SEND, decide(send, address))


@dataclass(frozen=True, slots=True)
class _Match:
    """`distance`: how far the pattern is from the address itself; 0 is the address."""

    rule: Rule
    address: str
    distance: int

    @property
    def blocks(self) -> bool:
        return self.rule.effect == Effect.BLOCK

    def __lt__(self, other: "_Match") -> bool:
        """The id last, so that the order in which rules are given never matters."""
        return self._rank() < other._rank()

    def _rank(self) -> tuple[int, bool, str, str]:
        return self.distance, not self.blocks, self.rule.pattern, self.rule.id


def _matches(rules: Iterable[Rule], address: str, also: Iterable[str]) -> list[_Match]:
    own = patterns_of(address)
    others = [(comparable(other), patterns_of(other)) for other in also if other]
    found: list[_Match] = []
    for rule in rules:
        if rule.pattern in own:
            found.append(_Match(rule, comparable(address), own[rule.pattern]))
        if rule.effect == Effect.BLOCK:
            found += [
                _Match(rule, other, distances[rule.pattern]) for other, distances in others if rule.pattern in distances
            ]
    return found


def patterns_of(address: str) -> dict[str, int]:
    """Every pattern that matches `address`, and how far it is from it: 0 the address itself, 1 its domain, then those above it.

    The domain counts also where the local part cannot be read: otherwise a sender would pass a block by an odd one.
    """
    patterns = {}
    try:
        known = canonical(_unquoted(address))
        patterns[known.address] = 0
        domain = known.domain
    except AddressError:
        domain = _domain_of(address)
    if domain:
        patterns |= {pattern: distance for distance, pattern in enumerate(_with_parents(domain), start=1)}
    return patterns | {EVERYBODY: FARTHEST}


def _unquoted(address: str) -> str:
    """`"ann"@example.com` is ann@example.com, written otherwise (RFC 5322 3.4.1)."""
    local_part, at, domain = address.strip().removeprefix("<").rpartition("@")
    if len(local_part) > 2 and local_part[0] == local_part[-1] == '"':
        local_part = _ESCAPED.sub(r"\1", local_part[1:-1])
    return f"{local_part}{at}{domain}"


def _domain_of(address: str) -> str:
    """Of a domain with a label that no host may have, such as `a_b.example.com`, what stands behind it: whoever owns that made it up."""
    _, at, domain = address.strip().removesuffix(">").rpartition("@")
    labels = domain.split(".") if at else []
    for first in range(max(0, len(labels) - 1 - MAX_PARENTS), len(labels)):
        with suppress(AddressError):
            return canonical_domain(".".join(labels[first:]))
    return ""


def _with_parents(domain: str) -> list[str]:
    """The domain and those above it. Of a very deep one, which a sender may make up, only the uppermost."""
    labels = domain.split(".")
    parents = [".".join(labels[i:]) for i in range(1, len(labels))]
    return [domain, *parents[-MAX_PARENTS:]]


def canonical_pattern(text: str) -> str:
    """What is written on a list: an address without its tag, a domain (also written `@example.com`), or `*`. Raises AddressError."""
    bare = text.strip()
    if bare == EVERYBODY:
        return bare
    if "*" in bare:
        raise AddressError(
            "A “*” stands alone, for everybody. A domain includes all that is below it: write example.com."
        )
    local_part, _, domain = bare.rpartition("@")
    return canonical(bare).address if local_part else canonical_domain(domain)
