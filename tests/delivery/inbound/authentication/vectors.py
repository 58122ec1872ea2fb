"""The public vectors for SPF and ARC, which tests read from beside the project: `MAILBOT_CORPUS`, else `../shared/corpus`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mailbot.lib.dns import NotFound, Temporary
from tests.threads.corpus import CORPUS

FOLDER = CORPUS / "spf_arc"


@dataclass(frozen=True)
class Vector:
    suite: str
    name: str
    asked: Mapping[str, Any]
    zone: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.suite}:{self.name}"


def vectors(file: str) -> Iterator[Vector]:
    """Of each scenario of the file, with its zone."""
    for scenario in yaml.safe_load_all((FOLDER / file).read_text(encoding="utf-8")):
        zone = scenario.get("zonedata") or scenario.get("txt-records") or {}
        for name, asked in scenario["tests"].items():
            yield Vector(file.removesuffix("-tests.yml"), name, {**scenario, **asked}, zone)


class KeyZone:
    """`txt-records` of the ARC suites."""

    def __init__(self, zone: Mapping[str, Any]) -> None:
        self._zone = {name.lower(): str(text) for name, text in zone.items()}

    def lookup(self, name: str, record_type: str, *, within: float = 0) -> tuple[str, ...]:
        if record_type != "TXT" or name.lower() not in self._zone:
            raise NotFound(name, record_type)
        return (self._zone[name.lower()],)


class SpfZone:
    """`zonedata` of the SPF suites: names with lists of records; `TIMEOUT` for types that are not there. A record of type SPF is one of
    type TXT too, unless the zone has a TXT of that name (the suite's own rule, from before RFC 7208 gave up the type)."""

    def __init__(self, zone: Mapping[str, Any]) -> None:
        self._zone = {str(name).lower(): list(records) for name, records in zone.items()}

    def lookup(self, name: str, record_type: str, *, within: float = 0) -> tuple[str, ...]:
        name = name.lower()
        for _ in range(8):
            records = self._zone.get(name, [])
            if found := [text for text in self._of_type(records, record_type) if text != "NONE"]:
                return tuple(found)
            if "TIMEOUT" in records:
                raise Temporary(f"{name} is silent.")
            aliases = self._of_type(records, "CNAME")
            if not aliases:
                break
            name = aliases[0].lower()
        return self._none(name, record_type)

    def _none(self, name: str, record_type: str) -> tuple[str, ...]:
        raise NotFound(name, record_type, name_exists=name in self._zone)

    def _of_type(self, records: list[Any], record_type: str) -> list[str]:
        typed = [(kind, value) for record in records if isinstance(record, dict) for kind, value in record.items()]
        found = [_text(value) for kind, value in typed if kind == record_type]
        if record_type == "TXT" and not found:
            found = [_text(value) for kind, value in typed if kind == "SPF"]
        return found


def _text(value: Any) -> str:
    """Strings of one record are one text; an MX is its preference and its host."""
    if not isinstance(value, list):
        return str(value)
    is_mx = bool(value) and isinstance(value[0], int)
    return (" " if is_mx else "").join(map(str, value))
