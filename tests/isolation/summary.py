"""What the matrix tried, told at the end of the run."""

from collections import defaultdict
from typing import Any

TOLD = "isolation"


def write_summary(terminalreporter: Any) -> None:
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == TOLD:
                    told[value["by"]].append(value)
    if told:
        terminalreporter.section(TOLD)
    for by, reports in sorted(told.items()):
        terminalreporter.write_line(f"{by}: {_line(reports)}")


def _line(reports: list[dict[str, Any]]) -> str:
    routes, slots = (max(report[name] for report in reports) for name in ("routes", "slots"))
    requests, leaks = (sum(report[name] for report in reports) for name in ("requests", "leaks"))
    return f"{routes} routes × {slots} slots × {len(reports)} principals tried by {requests:,} requests, leaks: {leaks}"
