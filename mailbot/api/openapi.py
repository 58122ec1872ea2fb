"""From views to OpenAPI 3.1: each method's `described`, its view's `needs`, and the shapes that serializers have.

drf-spectacular finds the routes and maps serializers; what an operation looks like is ours, because every one of them has the same
envelope, errors and headers.
"""

import copy
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import append_meta, force_instance, resolve_type_hint
from rest_framework import serializers

from mailbot.api.openapi_parts import (
    ALWAYS,
    IDEMPOTENCY_KEY,
    LIST_META_EXAMPLE,
    ON_EVERY_ANSWER,
    TAGS,
    WITH_BODY,
    WITH_ID,
    WITH_IDEMPOTENCY_KEY,
    document,
    error_responses,
    headers,
)
from mailbot.api.schema import Description, Shape
from mailbot.api.views import StrictSerializer
from mailbot.lib.ids import TypeIDField

Part = dict[str, Any]

JSON = "application/json"
VERBS = {"GET": "get", "POST": "create", "PUT": "replace", "PATCH": "update", "DELETE": "delete"}
# What bounds a column or tells who fills it says nothing to a reader of answers.
OF_NO_USE_IN_ANSWERS = ("maxLength", "minLength", "minimum", "maximum", "default", "readOnly", "title")
EXAMPLE_SUFFIX = "01m86mjjvsewt8t640x9zpmss7"
NOT_DESCRIBED = Description("", None, None, None, False, 200, {}, (), (JSON,), "", {})


def openapi(patterns: Iterable[Any]) -> Part:
    """The document of all routes of /v1 among these URL patterns."""
    generator = SchemaGenerator(patterns=list(patterns))
    paths = generator.parse(None, public=True)
    return _tidied(document(paths, generator.registry.build({})))  # type: ignore[no-any-return]


class Operation(AutoSchema):
    """One method of one route (settings.REST_FRAMEWORK)."""

    def get_operation(self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any) -> Part | None:
        self.registry, self.path, self.path_regex, self.path_prefix = registry, path, path_regex, path_prefix
        self.method = method.upper()
        return self._operation() if path.startswith("/v1/") else None

    def _operation(self) -> Part:
        told, right = self._told(), self._right()
        about = "\n\n".join(filter(None, [told.docstring, f"Needs the right `{right}`." if right else ""]))
        operation: Part = {
            "operationId": told.description.name or operation_id(self.method, self.path, told.description.many),
            "summary": told.description.summary,
            "description": about,
            "tags": [tag_of(self.path)],
            "parameters": self._all_parameters(told.description),
            "security": [{"ApiKey": []}] if right else [],
        }
        if told.description.body:
            operation["requestBody"] = self._body(told.description.body)
        operation["responses"] = self._successes(told.description, right) | self._errors(told.description, right)
        return operation | ({"x-right": right} if right else {})

    def _told(self) -> "Told":
        method = getattr(self.view, self.method.lower())
        return Told(getattr(method, "described", NOT_DESCRIBED), prose(method.__doc__))

    def _right(self) -> str:
        """ "" where no key is needed."""
        needs = getattr(self.view, "needs", "")
        return needs if isinstance(needs, str) else needs.get(self.method, "")

    # --- What is asked ------------------------------------------------------------------------------------------------

    def _all_parameters(self, told: Description) -> list[Part]:
        names = [part[1:-1] for part in self.path.split("/") if part.startswith("{")]
        found = [self._path_parameter(name) for name in names]
        if told.query:
            found += self._query_parameters(told.query)
        if self.method == "POST":
            found.append({"$ref": f"#/components/parameters/{IDEMPOTENCY_KEY['name'].replace('-', '')}"})
        return found

    def _path_parameter(self, name: str) -> Part:
        """An id, or one of the words that the view names in `path_values`."""
        place = {"name": name, "in": "path", "required": True}
        if words := getattr(self.view, "path_values", {}).get(name):
            return {**place, "schema": {"type": "string", "enum": list(words)}, "example": words[0]}
        prefix = id_prefixes().get(name.removesuffix("_id"), name.removesuffix("_id"))
        return {**place, "schema": id_schema(prefix), "example": f"{prefix}_{EXAMPLE_SUFFIX}"}

    def _query_parameters(self, shape: Shape) -> list[Part]:
        serializer = force_instance(shape)
        mapped = self._map_serializer(serializer, "request")
        return [
            _query_parameter(name, schema, name in mapped.get("required", []))
            for name, schema in mapped["properties"].items()
        ]

    def _body(self, shape: Shape) -> Part:
        component = self.resolve_serializer(shape, "request")
        content: Part = {"schema": component.ref} | _example(shape)
        return {"required": bool(component.schema.get("required")), "content": {JSON: content}}

    # --- What is answered ---------------------------------------------------------------------------------------------

    def _successes(self, told: Description, right: str) -> Part:
        named: tuple[str, ...] = ON_EVERY_ANSWER if right else ON_EVERY_ANSWER[:1]
        named += ("Idempotent-Replayed",) if self.method == "POST" else ()
        return {
            str(status): {"description": told.summary, "headers": headers(named)} | self._content(told, shape, status)
            for status, shape in sorted({told.status: told.answer, **told.also}.items())
        }

    def _content(self, told: Description, shape: Shape | None, status: int) -> Part:
        if status == 204:
            return {}
        if shape is None:
            plain = {"type": "object"} if told.media_types == (JSON,) else {"type": "string", "format": "binary"}
            return {"content": {media_type: {"schema": plain} for media_type in told.media_types}}
        return {"content": {JSON: self._envelope(told, shape)}}

    def _envelope(self, told: Description, shape: Shape) -> Part:
        ref = self.resolve_serializer(shape, "response").ref
        properties: Part = {"data": {"type": "array", "items": ref} if told.many else ref}
        shown = _example(shape).get("example")
        example: Part = {"data": [shown] if told.many else shown}
        if told.many:
            properties["meta"] = {"$ref": "#/components/schemas/ListMeta"}
            example["meta"] = LIST_META_EXAMPLE
        properties |= told.beside
        example |= {name: schema["example"] for name, schema in told.beside.items()}
        schema = {"type": "object", "required": list(properties), "properties": properties}
        return {"schema": schema} | ({"example": example} if shown is not None else {})

    def _errors(self, told: Description, right: str) -> Part:
        if not right:
            return error_responses(told.errors, has_body=False)
        codes = ALWAYS + told.errors
        codes += WITH_ID if "{" in self.path else ()
        codes += WITH_BODY if told.body else ()
        codes += WITH_IDEMPOTENCY_KEY if self.method == "POST" else ()
        return error_responses(codes, has_body=bool(told.body))

    # --- Shapes -------------------------------------------------------------------------------------------------------

    def _map_serializer_field(self, field: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        """A field may say in `openapi` what it is: a schema, or a type."""
        told = getattr(field, "openapi", None)
        if told is None:
            return super()._map_serializer_field(field, direction, bypass_extensions)
        schema = copy.deepcopy(told) if isinstance(told, dict) else resolve_type_hint(told)
        return append_meta(schema, self._get_serializer_field_meta(field, direction))

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Part:
        """Closed where an unknown field is refused; and an answer always has all of its fields."""
        schema: Part = super()._map_basic_serializer(serializer, direction)
        schema.pop("description", None)
        if about := prose(vars(type(serializer)).get("__doc__")):  # its own, and not that of a base class of ours
            schema["description"] = about
        if direction == "request":
            return schema | ({"additionalProperties": False} if isinstance(serializer, StrictSerializer) else {})
        properties = {
            name: _answered(told) | _id_in(serializer, name) for name, told in schema.get("properties", {}).items()
        }
        return schema | {"properties": properties, "required": list(properties)}

    def _get_serializer_name(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> str:
        shape = serializer.child if isinstance(serializer, serializers.ListSerializer) else serializer
        return type(shape).__name__.removesuffix("Serializer")


class Told:
    """What a method's decorator and its docstring say."""

    def __init__(self, description: Description, docstring: str) -> None:
        self.description, self.docstring = description, docstring


def prose(docstring: str | None) -> str:
    """Without the indentation and the line ends of the source; paragraphs stay."""
    paragraphs = (docstring or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()


def _answered(schema: Part) -> Part:
    kept = {key: value for key, value in schema.items() if key not in OF_NO_USE_IN_ANSWERS}
    return {key: value for key, value in kept.items() if (key, value) != ("format", "int64")}


def _id_in(serializer: Any, name: str) -> Part:
    """The shape of an id, where the column is one or points to one: what is a plain column of text may also be empty."""
    model = getattr(getattr(serializer, "Meta", None), "model", None)
    columns = {column.attname: column for column in model._meta.concrete_fields} if model else {}
    column = columns.get(serializer.fields[name].source)
    target = column.target_field if column is not None and column.is_relation else column
    return {"pattern": id_schema(target.prefix)["pattern"]} if isinstance(target, TypeIDField) else {}


def _query_parameter(name: str, schema: Part, required: bool) -> Part:
    """An empty one counts as absent, and there is no null in a query."""
    kept = {key: value for key, value in schema.items() if key not in ("description", "minLength", "title")}
    if isinstance(kept.get("type"), list):
        kept["type"] = next(kind for kind in kept["type"] if kind != "null")
    if kept.get("default", 0) is None:
        del kept["default"]
    told = {"description": schema["description"]} if "description" in schema else {}
    return {"name": name, "in": "query", **told, "required": required, "allowEmptyValue": True, "schema": kept}


def _example(shape: Any) -> Part:
    """Nothing where none is given: the test of the schema names those."""
    return {"example": shape.example} if hasattr(shape, "example") else {}


def id_prefixes() -> dict[str, str]:
    """By model and by prefix: `message` → `msg`, `msg` → `msg`."""
    keys = [model._meta.pk for model in apps.get_models()]
    own = [(key.model._meta.model_name, key.prefix) for key in keys if isinstance(key, TypeIDField)]
    return {name: prefix for model, prefix in own for name in (model or prefix, prefix)}


def id_schema(prefix: str) -> Part:
    return {"type": "string", "pattern": f"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"}


def tag_of(path: str) -> str:
    """The last place on the way that has a tag of its own; `/v1/inboxes/{inbox_id}/threads` is about threads."""
    places = [part for part in path.removeprefix("/v1/").split("/") if not part.startswith("{")]
    known = [place for place in places if place in TAGS]
    return TAGS[known[-1]][0] if known else places[0].replace("-", " ").capitalize()


def operation_id(method: str, path: str, many: bool) -> str:
    """`list_messages`, `get_thread`, `pause_inbox`, `list_thread_events`, of method and path. An inbox above goes without saying."""
    parts = path.removeprefix("/v1/").split("/")
    *above, last = [part for part in parts if not part.startswith("{")]
    is_act = method == "POST" and len(parts) > 1 and parts[-2].startswith("{") and not last.endswith("s")
    if is_act:
        words = [last, singular(above[-1])]
    else:
        is_one = parts[-1].startswith("{") or method == "POST"
        parents = [singular(place) for place in above if place != "inboxes"]
        words = ["list" if many else VERBS[method], *parents, singular(last) if is_one else last]
    return "_".join(words).replace("-", "_")


def singular(plural: str) -> str:
    return plural.removesuffix("es") if plural.endswith(("xes", "sses")) else plural.removesuffix("s")


def _tidied(part: Any) -> Any:
    """drf-spectacular leaves `nullable` inside of lists and objects, and marks of its own on enumerations."""
    if isinstance(part, list):
        return [_tidied(item) for item in part]
    if not isinstance(part, dict):
        return part
    tidy = {key: _tidied(value) for key, value in part.items() if key not in ("nullable", "x-spec-enum-id")}
    if part.get("nullable") is True:
        tidy = append_meta(tidy, {"nullable": True})
    return tidy
