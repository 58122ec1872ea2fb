"""What the OpenAPI schema says of a view's method, written where the method is. `mailbot.api.openapi` reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from rest_framework import serializers

from mailbot.api.errors import Code

Method = TypeVar("Method", bound=Callable[..., Any])
Shape = type[serializers.Serializer[Any]]
AnyShape = TypeVar("AnyShape", bound=Shape)


@dataclass(frozen=True, slots=True)
class Description:
    """`answer` is the shape of `data` in the envelope; None: the answer has none, or is no JSON (`media_types` say what then)."""

    summary: str
    body: Shape | None
    query: Shape | None
    answer: Shape | None
    many: bool
    status: int
    also: dict[int, Shape]
    errors: tuple[Code, ...]
    media_types: tuple[str, ...]
    name: str
    beside: dict[str, Any]


def described(
    summary: str,
    *,
    body: Shape | None = None,
    query: Shape | None = None,
    answer: Shape | None = None,
    many: bool = False,
    status: int = 200,
    also: dict[int, Shape] | None = None,
    errors: tuple[Code, ...] = (),
    media_type: str | tuple[str, ...] = "application/json",
    name: str = "",
    beside: dict[str, Any] | None = None,
) -> Callable[[Method], Method]:
    """Say it of a `get`, `post`, … of a TenantView. The method's docstring becomes the description.

    `many`: a list in the paginated envelope. `also`: other statuses of success (200 beside 201). `errors`: codes beside those that every
    route can answer (400, 401, 403, 404, 429, 503). `name`: the operationId, where the one made of method and path reads badly.
    `beside`: what stands next to `data`, by name, as schemas with an example.
    """
    media_types = (media_type,) if isinstance(media_type, str) else media_type
    description = Description(
        summary, body, query, answer, many, status, also or {}, errors, media_types, name, beside or {}
    )

    def mark(method: Method) -> Method:
        method.described = description  # type: ignore[attr-defined]
        return method

    return mark


def shown_as(example: Any) -> Callable[[AnyShape], AnyShape]:
    """The example that the schema shows of a body or an answer: what a caller of the documentation would really send or get."""

    def mark(shape: AnyShape) -> AnyShape:
        shape.example = example  # type: ignore[attr-defined]
        return shape

    return mark
