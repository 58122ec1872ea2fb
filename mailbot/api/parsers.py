"""JSON in: an object, of bounded depth."""

from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser


class JSONParser(BaseParser):
    """Reads a JSON object. orjson refuses NaN, lone surrogates and nesting deeper than 1024, each without recursion."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> dict[str, Any]:
        # Not from the stream: the request's own body property holds DATA_UPLOAD_MAX_MEMORY_SIZE against it.
        body = parser_context["request"].body
        if not body.strip():
            return {}
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ParseError(
                f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
            ) from error
        if not isinstance(value, dict):
            raise ParseError("The body must be a JSON object.")
        return value
