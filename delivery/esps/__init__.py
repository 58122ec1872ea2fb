"""The ESPs that mail can leave and come in by: each module here holds one, and is found by being here."""

from importlib import import_module
from pkgutil import iter_modules

from delivery.esps.base import Esp


def _found() -> dict[str, type[Esp]]:
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    classes = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    esps = [esp for esp in classes if issubclass(esp, Esp) and "key" in vars(esp)]
    return {esp.key: esp for esp in sorted(esps, key=lambda esp: esp.label.lower())}


ESPS: dict[str, type[Esp]] = _found()
