"""How far reports are read as Sisimai's suite says, told at the end of the run."""

from typing import Any

TOLD = "bounces"


def write_summary(terminalreporter: Any) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == TOLD:
                    terminalreporter.section(TOLD)
                    terminalreporter.write_line(_line(value))


def _line(told: dict[str, Any]) -> str:
    agreed = told["files"] - len(told["missed"])
    by_field = ", ".join(f"{name} {number}/{told['recipients']}" for name, number in told["agreed"].items())
    return f"{agreed} of {told['files']} reports read as the suite says ({by_field}); missed: {', '.join(told['missed']) or 'none'}"
