"""A figure, how it is printed, and the table of all of them."""

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One thing measured several times, side by side. The median is what counts."""

    name: str
    unit: str
    runs: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def __str__(self) -> str:
        return f"{self.name}: {shown(self.median)} {self.unit} ({', '.join(map(shown, self.runs))})"


def shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def report(figures: list[Figure]) -> None:
    """Print them; BENCH_FIGURES names a file that gets them too, a line of JSON each."""
    for figure in figures:
        print(figure, flush=True)
    if place := os.environ.get("BENCH_FIGURES"):
        with Path(place).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(figure)) + "\n" for figure in figures)


def profile() -> str:
    return "production" if os.environ.get("DATABASE_URL") else "embedded"


def options_of(doc: str | None, **defaults: float) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring, with `--runs` and an option for each default."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"runs": 3, **defaults}.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"default {default}"
        )
    return parser
