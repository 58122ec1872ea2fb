"""JSON in: an object, of bounded depth, in which no name comes twice."""

import json
from collections import Counter
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from mailbot.api.errors import ApiError, Code
from mailbot.lib.stray_keys import holds_key

MAX_DEPTH = 50


def key_in_body() -> ApiError:
    """No field of ours takes a key, so it would be kept or sent on, in the text of a mail too."""
    fix = "Take it out; if the key is in use, revoke it and make a new one. Send keys only as `Authorization: Bearer <key>`."
    return ApiError(Code.INVALID_REQUEST, "An API key stands in the body, which was not kept.", fix=fix)


class JSONParser(BaseParser):
    """Reads a JSON object. orjson refuses NaN and lone surrogates, and nesting deeper than 1024 without recursion. What is read
    is written again, into a column and into answers, by code that recurses: so it ends far earlier here."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> dict[str, Any]:
        # Not from the stream: the request's own body property holds DATA_UPLOAD_MAX_MEMORY_SIZE against it.
        body = parser_context["request"].body
        if not body.strip():
            return {}
        if holds_key(body):
            raise key_in_body()
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ParseError(
                f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
            ) from error
        if not isinstance(value, dict):
            raise ParseError("The body must be a JSON object.")
        if is_deeper(value, MAX_DEPTH):
            raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.")
        if name := repeated_name(body):
            raise ParseError(f"“{name[:100]}” is there twice in one object, and nobody could say which one counts.")
        return value


def is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects are nested more than `depth` times in `value`. Without recursion: the nesting is the caller's."""
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def repeated_name(body: bytes) -> str | None:
    """A name that an object of this JSON has twice: orjson takes the last one, another reader the first. The body can be read."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) < len(pairs):
            found.append(Counter(name for name, _ in pairs).most_common(1)[0][0])

    json.loads(
        body, object_pairs_hook=look, parse_int=str, parse_float=str
    )  # numbers may be too long for Python's int()
    return found[0] if found else None
