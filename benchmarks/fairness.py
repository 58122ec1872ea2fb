"""Whether requests get their turn while mail comes in at full speed.

    PYTHONPATH=. .venv/bin/python benchmarks/fairness.py [--seconds 10] [--connections 20] [--runs 1]

One mailbot of the profile that DATABASE_URL and REDIS_URL choose. Three clients go on one after the other, each by itself: one reads a
list of messages, one makes inboxes, one sends mail. First alone, then beside an SMTP load as fast as it is taken. The embedded profile is
what this is about: SQLite has one writer at a time, and whoever waits for it looks now and then, in no order.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
import uvloop

from benchmarks.figures import Figure, options_of, percentile, profile, report
from benchmarks.lab import HOST, Mailbot, new_database
from benchmarks.load import send_for

PAUSE = 0.02  # seconds between two requests of a client: they ask for a turn, not for all of it
Requests = dict[str, Callable[[], Awaitable[httpx.Response]]]


def requests_of(http: httpx.AsyncClient, bot: Mailbot, own_inbox: str) -> Requests:
    letter = {"to": "someone@example.com", "subject": "Hello", "body_text": "How are you?"}
    return {
        "list messages": lambda: http.get(f"/inboxes/{bot.inbox_ids[0]}/messages", params={"limit": 20}),
        "make an inbox": lambda: http.post("/inboxes", json={}),
        "send a mail": lambda: http.post(f"/inboxes/{own_inbox}/messages", json=letter),
    }


async def repeat(ask: Callable[[], Awaitable[httpx.Response]], ends: float) -> list[float]:
    """Milliseconds of each request."""
    took = []
    while (began := time.perf_counter()) < ends:
        (await ask()).raise_for_status()
        took.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(PAUSE)
    return took


async def measure(bot: Mailbot, seconds: float, connections: int) -> tuple[dict[str, list[float]], float]:
    """(milliseconds by request, mails accepted a second)"""
    headers = {"Authorization": f"Bearer {bot.key}"}
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{bot.port}/v1", headers=headers, timeout=60) as http:
        own_inbox = (await http.post("/inboxes", json={})).json()["data"]["id"]
        asking = requests_of(http, bot, own_inbox)
        loading = asyncio.create_task(send_for(bot.smtp_port, seconds, connections)) if connections else None
        ends = time.perf_counter() + seconds
        took = await asyncio.gather(*(repeat(ask, ends) for ask in asking.values()))
        return dict(zip(asking, took, strict=True)), (await loading).rate if loading else 0.0


def main() -> None:
    options = options_of(__doc__, seconds=10.0, connections=20).parse_args()
    figures: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.runs):
        with new_database() as environment, Mailbot(environment) as bot:
            uvloop.run(measure(bot, 2, 0))
            alone, _ = uvloop.run(measure(bot, options.seconds, 0))
            beside, rate = uvloop.run(measure(bot, options.seconds, options.connections))
        figures.setdefault((f"mail accepted meanwhile / {profile()}", "/s"), []).append(rate)
        for name in alone:
            for share in (0.5, 0.99):
                for when, took in (("alone", alone[name]), ("under load", beside[name])):
                    key = (f"{name}, {when}, p{share * 100:.0f} / {profile()}", "ms")
                    figures.setdefault(key, []).append(percentile(took, share))
    report([Figure(name, unit, runs) for (name, unit), runs in figures.items()])


if __name__ == "__main__":
    main()
