"""JSON to be hashed: the examples of RFC 8785, what the RFC leaves open, and the verifier's own writer"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import canonical, canonical_slowly
from clients import verify_audit

pytestmark = pytest.mark.one_profile

TEXT = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


class TestCanonical:
    def test_the_example_of_the_standard(self):
        """RFC 8785 3.2.2 and 3.2.4."""
        value = {
            "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
            "literals": [None, True, False],
        }
        assert canonical(value) == (
            b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            b'"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        )

    def test_names_are_in_the_order_of_utf_16(self):
        """RFC 8785 3.2.3."""
        names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
        assert list(json.loads(canonical(dict.fromkeys(names, 0)))) == [
            "\r",
            "1",
            "\u0080",
            "\u00f6",
            "\u20ac",
            "\U0001f600",
            "\ufb33",
        ]

    @pytest.mark.parametrize(
        ("value", "written"),
        [
            # RFC 8785 appendix B
            (0.0, "0"),
            (-0.0, "0"),
            (5e-324, "5e-324"),
            (-5e-324, "-5e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (9007199254740992.0, "9007199254740992"),
            (295147905179352830000.0, "295147905179352830000"),
            (9.999999999999997e22, "9.999999999999997e+22"),
            (1e23, "1e+23"),
            (1.0000000000000001e23, "1.0000000000000001e+23"),
            (0.000001, "0.000001"),
            (1e-7, "1e-7"),
            (333333333.3333332, "333333333.3333332"),
            (-0.0000033333333333333333, "-0.0000033333333333333333"),
            (1424953923781206.2, "1424953923781206.2"),
            # what it leaves open
            (2**53 - 1, "9007199254740991"),
            (2**53, '"9007199254740992"'),
            (-(2**64), '"-18446744073709551616"'),
            (float("inf"), '"Infinity"'),
        ],
    )
    def test_numbers(self, value: Any, written: str):
        assert canonical(value).decode() == written

    @given(JSON)
    def test_the_quick_way_the_slow_way_and_the_verifier_write_the_same(self, value: Any):
        assert canonical(value) == canonical_slowly(value) == verify_audit.canonical(value)

    def test_it_refuses_what_is_no_json(self):
        with pytest.raises(TypeError):
            canonical({"a": b"octets"})
