"""How an address is found in texts, and what stands there afterwards"""

from typing import Any

import pytest

from delivery.erasing.person import Person, pseudonym_of
from mailbot.lib.addresses import AddressError

pytestmark = pytest.mark.one_profile


def person(address: str = "carol.jones@shop.example") -> Person:
    return Person.at("account_1", address)


@pytest.mark.parametrize(
    "text",
    [
        "carol.jones@shop.example",
        "Carol <CAROL.Jones@Shop.Example>",
        "mailto:carol.jones@shop.example?subject=x",
        "https://x.example/?to=carol.jones%40shop.example&a=1",
        "https://x.example/?u=mailto%3Acarol.jones%40shop.example",
        "bounce+carol.jones=shop.example@lists.example"[7:],
        "carol.jones&#64;shop.example",
        "550 <carol.jones@shop.example>: no such user.",
        "Ask carol.jones@shop.example.",
        "'carol.jones@shop.example'",
    ],
)
def test_it_is_found(text: str) -> None:
    assert person().is_named_in(text)
    assert "jones" not in person().without(text).lower()


@pytest.mark.parametrize(
    "text",
    [
        "x.carol.jones@shop.example",
        "xcarol.jones@shop.example",
        "carol.jones+news@shop.example",
        "carol.jones@shop.example.org",
        "carol.jones@shop.examples",
        "carol-jones@shop.example",
        "carol.jones at shop.example",
        "",
    ],
)
def test_others_are_not(text: str) -> None:
    assert not person().is_named_in(text)
    assert person().without(text) == text


def test_it_is_found_wherever_it_stands() -> None:
    told: dict[str, Any] = {"a": [{"b": "to carol.jones@shop.example"}], "carol.jones@shop.example": 1, "c": None}
    one = person()
    assert one.is_named_in(told)
    assert one.without(told) == {"a": [{"b": f"to {one.pseudonym}"}], one.pseudonym: 1, "c": None}
    assert not one.is_named_in([1, None, {"a": 2.5}])


def test_a_domain_has_two_forms() -> None:
    one = person("jürgen@bücher.example")
    assert one.is_named_in("JÜRGEN@xn--bcher-kva.example")
    assert one.is_named_in("jürgen@Bücher.example")
    assert one.hint == ""


def test_a_tag_is_another_person() -> None:
    one = person("carol+news@shop.example")
    assert one.is_named_in("carol+news@shop.example")
    assert one.is_named_in("?to=carol%2Bnews%40shop.example")
    assert not one.is_named_in("carol@shop.example")
    assert not one.is_at("carol@shop.example")


def test_pseudonyms_are_keyed(settings: Any) -> None:
    first = pseudonym_of("account_1", "Carol@shop.example")
    assert first == pseudonym_of("account_1", "carol@SHOP.example")
    assert first != pseudonym_of("account_2", "carol@shop.example")
    assert len(first) == len("person_") + 26
    settings.ENCRYPTION_KEYS = ["another"]
    assert first != pseudonym_of("account_1", "Carol@shop.example")


def test_what_is_no_address_is_nobody() -> None:
    with pytest.raises(AddressError):
        person("nobody")
