"""What is known of who sent a mail, in lines for people."""

from typing import Any, NamedTuple

from threads.models import Message


class Line(NamedTuple):
    """`name`: what was checked; `result`: the word for it; `why`: for whom, and what there is to say of it."""

    name: str
    result: str
    why: str


def verdicts_of(message: Message) -> list[Line]:
    """Nothing for mail that was written here, and for mail from before anybody was checked."""
    checks = message.explanation.get("checks", {})
    found = checks.get("authentication")
    if not found:
        return []
    details = found.get("details", {})
    signatures = details.get("dkim", [])
    return [
        Line("From", str(found.get("standing", "")), _trusted(message, checks.get("trust", {}))),
        Line("SPF", str(found.get("spf", "")), _about(details.get("spf", {}), "domain", "reason")),
        Line("DKIM", str(found.get("dkim", "")), "; ".join(map(_signature, signatures))),
        Line("DMARC", str(found.get("dmarc", "")), _about(details.get("dmarc", {}), "domain", "policy", "reason")),
        Line("ARC", str(found.get("arc", "")), _about(details.get("arc", {}), "reason")),
        Line("How", str(found.get("method", "")), str(found.get("reason", ""))),
    ]


def _trusted(message: Message, trust: dict[str, Any]) -> str:
    score = f"trust {trust['score']}" if "score" in trust else ""
    similar = f"looks like {trust['looks_like']}" if trust.get("looks_like") else ""
    return "; ".join(part for part in (score, similar, ", ".join(map(str, message.flags)).replace("_", " ")) if part)


def _about(told: dict[str, Any], *names: str) -> str:
    return "; ".join(
        f"policy {told[name]}" if name == "policy" else str(told[name]) for name in names if told.get(name)
    )


def _signature(told: dict[str, Any]) -> str:
    unsigned = f"does not cover {', '.join(told['unsigned'])}" if told.get("unsigned") else ""
    whose = f"{told.get('domain') or 'unknown'} {told.get('result', '')}"
    return ", ".join(part for part in (whose, str(told.get("reason", "")), unsigned) if part)
