"""Whether a program asked for a pixel or followed a link, and no reader: a few signs, each of which is told. docs/engagement.md

None of them is proof. Apple's and Google's proxies stand between a mail and everybody who reads there, and fetch when they like.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

SOON = timedelta(seconds=10)  # after the mail was handed over: scanners on its way, and hardly anybody who reads
MAX_AGENT = 200

_PROXIES = re.compile(r"GoogleImageProxy|YahooMailProxy", re.IGNORECASE)
_PROGRAMS = re.compile(
    r"bot\b|crawler|spider|scanner|preview|prefetch|facebookexternalhit|curl/|wget/|python-|aiohttp|httpx|go-http-client|okhttp|java/"
    r"|libwww|apache-httpclient|node-fetch|axios|headless|barracuda|proofpoint|mimecast|safelinks|urldefense|symantec|trendmicro",
    re.IGNORECASE,
)
APPLE_PROXY = "Mozilla/5.0"  # all that Mail Privacy Protection says of itself


def machine_signs(agent: str, headers: Mapping[str, str], at: datetime, left_at: datetime | None) -> list[str]:
    """The names of what speaks for a program. `headers` as Django's request has them; empty where only the agent is known."""
    purpose = " ".join(headers.get(name, "") for name in ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"))
    signs = {
        "no_user_agent": not agent,
        "privacy_proxy": agent.strip() == APPLE_PROXY,
        "image_proxy": bool(_PROXIES.search(agent)),
        "program": bool(_PROGRAMS.search(agent)),
        "prefetch": "prefetch" in purpose.lower() or "preview" in purpose.lower(),
        "too_soon": left_at is not None and at - left_at < SOON,
    }
    return [name for name, is_there in signs.items() if is_there]


def told_of(agent: str, signs: list[str]) -> dict[str, Any]:
    """As an event holds it."""
    return {"user_agent": agent[:MAX_AGENT], "probably_machine": bool(signs), "machine_signs": signs}
