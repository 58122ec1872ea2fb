"""JSON in the one form that can be hashed. Source: RFC 8785 (JSON Canonicalization Scheme).

Where the RFC refuses a value that a JSON column can hold, it is written in a way that loses nothing: the trail seals whatever it finds.
Whole numbers beyond 2^53 − 1 become strings of their digits, numbers beyond the doubles the strings Infinity and -Infinity, and half of a
surrogate pair the octets that UTF-8 would give it.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

LARGEST = 2**53 - 1
_quote = (
    json.encoder.encode_basestring
)  # escapes what RFC 8785 3.2.2.2 escapes, but for DEL, which both leave, and U+0000 to U+001F


_SAME = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def canonical(value: Any) -> bytes:
    """The octets to hash. Raises TypeError for what is no JSON.

    orjson writes the same where there are no fractions and no names outside of ASCII, at a tenth of the cost; it refuses numbers and
    surrogates that are not simple.
    """
    if _is_simple(value):
        with suppress(TypeError):
            return orjson.dumps(value, option=_SAME)
    return canonical_slowly(value)


def _is_simple(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return True
    if kind is list:
        return all(map(_is_simple, value))
    return kind is dict and all(map(_is_simple, value.values())) and all(map(str.isascii, value))


def canonical_slowly(value: Any) -> bytes:
    return "".join(_parts(value)).encode("utf-8", "surrogatepass")


def _parts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield _quote(value)
    elif value is None or value is True or value is False:
        yield {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, int):
        yield str(int(value)) if abs(value) <= LARGEST else f'"{int(value)}"'
    elif isinstance(value, float):
        yield number(value)
    elif isinstance(value, Mapping):
        yield from _object(value)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        yield from _array(value)
    else:
        raise TypeError(f"{type(value).__name__} is no JSON")


def _object(value: Mapping[Any, Any]) -> Iterator[str]:
    """Names in the order of their UTF-16 code units (RFC 8785 3.2.3)."""
    before = "{"
    for name in sorted(value, key=_utf16):
        yield f"{before}{_quote(name)}:"
        yield from _parts(value[name])
        before = ","
    yield "}" if value else "{}"


def _array(value: Sequence[Any]) -> Iterator[str]:
    before = "["
    for item in value:
        yield before
        yield from _parts(item)
        before = ","
    yield "]" if value else "[]"


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")


def number(value: float) -> str:
    """As ECMAScript writes it (RFC 8785 3.2.2.3; ECMA-262, Number::toString): Python finds the same digits, and puts them otherwise."""
    if not math.isfinite(value):
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    if value == 0:
        return "0"
    sign, digits, point = _digits(value)
    count = len(digits)
    if count <= point <= 21:
        return f"{sign}{digits}{'0' * (point - count)}"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def _digits(value: float) -> tuple[str, str, int]:
    """Sign, the shortest digits that give the number back, and where among them the point stands."""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    return "-" if value < 0 else "", digits.rstrip("0") or "0", point
