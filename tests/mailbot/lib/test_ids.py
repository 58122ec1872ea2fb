"""Ids that are of a moment: rows are looked for by both"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from typeid import TypeID

from mailbot.lib.ids import first_id, id_at, is_id, new_id

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 253_370_000_000 * 1_000_000).map(
    lambda microseconds: EPOCH + timedelta(microseconds=microseconds)
)


@given(MOMENTS, MOMENTS)
def test_they_sort_as_their_moments_do(one: datetime, other: datetime) -> None:
    if one != other:
        assert (id_at("audit", one) < id_at("audit", other)) == (one < other)


@given(MOMENTS)
def test_they_sort_to_the_microsecond(moment: datetime) -> None:
    assert id_at("audit", moment) < id_at("audit", moment + timedelta(microseconds=1))


@given(MOMENTS)
def test_none_of_a_moment_sorts_before_the_first_of_it(moment: datetime) -> None:
    assert first_id("audit", moment) <= id_at("audit", moment)
    assert id_at("audit", moment) < first_id("audit", moment + timedelta(milliseconds=1))


def test_those_of_one_moment_sort_as_they_were_made() -> None:
    moment = datetime(2026, 11, 28, 6, 30, tzinfo=UTC)
    made = [id_at("audit", moment) for _ in range(1000)]
    assert all(one < next_ for one, next_ in pairwise(made))


def test_they_are_what_all_ids_are() -> None:
    moment = datetime(2026, 11, 28, 6, 30, 0, 123999, tzinfo=UTC)
    made = id_at("audit", moment)
    uuid = UUID(bytes=TypeID.from_string(made).uuid.bytes)
    assert is_id(made, "audit")
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert uuid.int >> 80 == int(moment.timestamp() * 1000)
    assert len(made) == len(new_id("audit"))
