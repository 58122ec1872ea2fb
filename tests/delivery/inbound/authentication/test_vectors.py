"""The public vectors of SPF and ARC: which of them come out as they should. docs/mail-authentication.md states the shares."""

import re
from collections.abc import Callable
from time import monotonic
from typing import Any

import dkim
import pytest

from delivery.inbound.authentication.answers import Answers
from delivery.inbound.authentication.arc_check import check_arc
from delivery.inbound.authentication.breaker import Breaker
from delivery.inbound.authentication.spf_check import evaluate
from tests.agreement import AGREEMENT, agreement
from tests.delivery.inbound.authentication.vectors import KeyZone, SpfZone, Vector, vectors
from tests.threads.corpus import needs_corpus

pytestmark = [needs_corpus, pytest.mark.one_profile]
Record = Callable[[str, object], None]


def answers(zone: SpfZone | KeyZone) -> Answers:
    return Answers(monotonic() + 60, zone.lookup, Breaker(lambda: True))


@pytest.fixture(autouse=True)
def _reserved_names_are_asked(settings: Any) -> None:
    settings.DNS_ZONE_FILE = "the zone of each vector"


def tell(record: Record, suite: str, misses: list[str], of: int) -> None:
    record(AGREEMENT, agreement(suite, of - len(misses), of))


@pytest.mark.parametrize(("file", "of"), [("rfc7208", 203), ("rfc4408", 191)])
def test_spf_comes_out_as_the_vectors_say(file: str, of: int, record_property: Record) -> None:
    asked = list(vectors(f"{file}-tests.yml"))
    misses = [str(vector) for vector in asked if not _spf_agrees(vector)]
    tell(record_property, f"SPF, {file}", misses, len(asked))
    assert (len(asked), misses) == (of, [])


def _spf_agrees(vector: Vector) -> bool:
    """The explanation counts where the vector has one."""
    told = evaluate(vector.asked["host"], vector.asked["mailfrom"], vector.asked["helo"], answers(SpfZone(vector.zone)))
    wanted, explanation = vector.asked["result"], vector.asked.get("explanation", "DEFAULT")
    is_right = told.result in (wanted if isinstance(wanted, list) else [wanted])
    return is_right and (told.result != "fail" or explanation in ("DEFAULT", told.reason))


def test_arc_chains_are_judged_as_the_vectors_say(record_property: Record) -> None:
    asked = list(vectors("arc-draft-validation-tests.yml"))
    misses = [str(vector) for vector in asked if not _arc_agrees(vector)]
    tell(record_property, "ARC, validation", misses, len(asked))
    assert (len(asked), misses) == (171, [])


def _arc_agrees(vector: Vector) -> bool:
    """No verdict at all stands for a chain that says itself that it is broken, which RFC 8617 5.2 calls failed."""
    wanted = str(vector.asked["cv"] or "").strip().lower() or "fail"
    raw = (vector.asked["message"] or "").encode().replace(b"\n", b"\r\n")
    return check_arc(raw, answers(KeyZone(vector.zone))).result == wanted


@pytest.mark.parametrize(("file", "of", "alike", "same"), [("arc-draft-sign", 17, 17, 1), ("unused", 7, 1, 0)])
def test_arc_sets_are_made_as_the_vectors_say(
    file: str, of: int, alike: int, same: int, record_property: Record
) -> None:
    """By dkimpy: mailbot forwards nothing, so it seals nothing. It leaves out the comments of what it seals, which changes the seal."""
    asked = list(vectors("unused_tests.yml" if file == "unused" else f"{file}-tests.yml"))
    made = [(vector, _sealed(vector)) for vector in asked]
    not_alike = [str(vector) for vector, fields in made if not _is_alike(vector, fields)]
    not_same = [str(vector) for vector, fields in made if fields != _wanted(vector)]
    tell(record_property, f"ARC, signing ({file}), but for comments", not_alike, len(asked))
    tell(record_property, f"ARC, signing ({file}), to the octet", not_same, len(asked))
    assert (len(asked), len(asked) - len(not_alike), len(asked) - len(not_same)) == (of, alike, same)


NAMES = {"AS": "ARC-Seal", "AMS": "ARC-Message-Signature", "AAR": "ARC-Authentication-Results"}


def _sealed(vector: Vector) -> dict[str, str]:
    """The three fields without blanks. They have to hold when they are checked here."""
    raw = vector.asked["message"].encode().replace(b"\n", b"\r\n")
    made = dkim.arc_sign(
        raw,
        vector.asked["sel"].encode(),
        vector.asked["domain"].encode(),
        vector.asked["privatekey"].encode(),
        vector.asked["srv-id"].encode(),
        include_headers=vector.asked["sig-headers"].encode().split(b":"),
        timestamp=vector.asked["t"],
        standardize=True,
    )
    if made:
        found = check_arc(b"".join(made) + raw, answers(KeyZone(vector.zone)))
        assert found.result == ("fail" if b"cv=fail" in b"".join(made) else "pass"), str(vector)
    told = {name.decode(): _plain(value.decode()) for name, _, value in (line.partition(b":") for line in made)}
    return {name: told.get(name, "") for name in NAMES.values()}


def _wanted(vector: Vector) -> dict[str, str]:
    return {name: _plain(vector.asked[short] or "") for short, name in NAMES.items()}


def _is_alike(vector: Vector, made: dict[str, str]) -> bool:
    wanted = _wanted(vector)
    results = re.sub(r"\([^)]*\)", "", wanted[NAMES["AAR"]])
    seals = [re.sub(r";b=[^;]*", "", fields[NAMES["AS"]]) for fields in (made, wanted)]
    return (made[NAMES["AMS"]], made[NAMES["AAR"]]) == (wanted[NAMES["AMS"]], results) and seals[0] == seals[1]


def _plain(value: str) -> str:
    return re.sub(r"\s+", "", value)
