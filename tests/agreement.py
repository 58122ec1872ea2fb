"""How far we agree with suites that others wrote, told at the end of the run.

A test says it by `record_property(AGREEMENT, agreement("RFC 7208", passed, of))`.
"""

from typing import Any

AGREEMENT = "agreement"


def agreement(suite: str, passed: int, of: int) -> dict[str, Any]:
    return {"suite": suite, "passed": passed, "of": of}


def write_summary(terminalreporter: Any) -> None:
    told = {
        value["suite"]: value
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        for name, value in getattr(report, "user_properties", ())
        if name == AGREEMENT
    }
    if told:
        terminalreporter.section(AGREEMENT)
    for suite, value in sorted(told.items()):
        share = 100 * value["passed"] / value["of"]
        terminalreporter.write_line(f"{suite}: {value['passed']:,} of {value['of']:,} ({share:.1f} %)")
