"""What one inbox's storm of bounces does to the others: whether each of their mails arrives, and how long it waits.

    python -m benchmarks.storm [--runs 1] [--inboxes 1000] [--mails 5000] [--seconds 20] [--rate 20]

One inbox has so many mails that come due at one moment, of which three in ten bounce; meanwhile the others send by HTTP, in turn, at that
rate. Beside it, in the same run: the others alone, and the others beside as many mails that all arrive, so that what the breaker does is
told from what the mere load does. All is mail of the sandbox, whose answers come with the hand-over. It ends in an error where a mail of
the others did not arrive, any of them is no longer active, or the loud one did not trip.
"""

import asyncio
import json
import time
from typing import Any

import httpx
import uvloop

from benchmarks.figures import Figure, options_of, percentile, profile, report
from benchmarks.lab import HOST, Mailbot, in_django, new_database, until
from benchmarks.outbound import worker

HEAD_START = 40.0  # seconds that the worker has to come up, before anything is due
LOUD = {"alone": 0.0, "beside good mail": 0.0, "beside the storm": 0.3}  # how much of its mail bounces
SETUP = """
import django; django.setup()
from datetime import timedelta
from audit.actors import acting_as_system
from delivery.models import OutboundMail
from delivery.outbound.queue import Draft, queue_mail
from inboxes.models import Account, Inbox
from inboxes.provisioning import InboxRequest, create_inbox
from mailbot.lib.clock import database_now
from threads.mime import Address
with acting_as_system("benchmark"):
    account = Account.objects.get()
    for number in range({inboxes}):
        create_inbox(account, "test", InboxRequest(local_part=f"storm{{number}}"))
    loud = Inbox.objects.select_related("account").get(local_part="storm0")
    for number in range({mails}):
        bounces = number % 10 < {tenths}
        to = "bounce@simulator.mailbot.localhost" if bounces else f"n{{number}}@example.com"
        queue_mail(loud, Draft(to=(Address("", to),), subject=f"Number {{number}}", body_text="Hello"))
    OutboundMail.objects.update(next_attempt_at=database_now() + timedelta(seconds={head_start}))
"""
FOUND = """
import json
import django; django.setup()
from collections import Counter
from delivery.models import OutboundMail, Recipient, SendAttempt
from inboxes.models import AddressRule, Inbox
loud = Inbox.objects.get(local_part="storm0")
waits = [
    (attempt.started_at - attempt.mail.created_at).total_seconds() * 1000
    for attempt in SendAttempt.objects.exclude(mail__inbox=loud).select_related("mail")
]
print(json.dumps({
    "loud": loud.status,
    "handed over": Recipient.objects.filter(mail__inbox=loud, counted__gt=0).count(),
    "states": dict(Counter(OutboundMail.objects.filter(inbox=loud).values_list("state", flat=True))),
    "others": dict(Counter(Recipient.objects.exclude(mail__inbox=loud).values_list("status", flat=True))),
    "inactive": Inbox.objects.exclude(pk=loud.pk).exclude(status="active").count(),
    "listed": AddressRule.objects.exclude(inbox=loud).count(),
    "waits": waits,
}))
"""


async def send_in_turn(bot: Mailbot, inboxes: list[str], seconds: float, rate: float) -> list[float]:
    """Milliseconds that each POST took; `rate` of them a second, whether the one before has been answered or not."""
    took: list[float] = []

    async def send(inbox_id: str) -> None:
        began = time.perf_counter()
        body = {"to": "someone@example.com", "subject": "Hello", "body_text": "How are you?"}
        (await http.post(f"/inboxes/{inbox_id}/messages", json=body)).raise_for_status()
        took.append((time.perf_counter() - began) * 1000)

    headers = {"Authorization": f"Bearer {bot.key}"}
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{bot.port}/v1", headers=headers, timeout=60) as http:
        sends = []
        for number in range(int(seconds * rate)):
            sends.append(asyncio.create_task(send(inboxes[number % len(inboxes)])))
            await asyncio.sleep(1 / rate)
        await asyncio.gather(*sends)
    return took


def run(loud: str, options: Any) -> dict[str, Any]:
    """One database, one loud inbox or none."""
    with new_database() as environment, Mailbot(environment, processes=("web", "beat")) as bot:
        mails = 0 if loud == "alone" else options.mails
        tenths = round(LOUD[loud] * 10)
        setup = SETUP.format(inboxes=options.inboxes, mails=mails, tenths=tenths, head_start=HEAD_START)
        in_django(setup, bot.environment)
        begins = time.monotonic() + HEAD_START
        rows = bot.store.rows("SELECT id FROM inboxes_inbox WHERE local_part LIKE 'storm%' AND local_part <> 'storm0'")
        with worker(bot):
            until(
                lambda: bool(bot.store.rows("SELECT 1 FROM delivery_heartbeat")),
                "the worker works",
                HEAD_START,
                pause=0.5,
            )
            time.sleep(max(0.0, begins - time.monotonic()))
            posts = uvloop.run(send_in_turn(bot, [pk for (pk,) in rows], options.seconds, options.rate))
            while bot.store.rows("SELECT count(*) FROM delivery_outboundmail WHERE state IN ('queued', 'sending')") != [
                (0,)
            ]:
                time.sleep(0.5)
        found: dict[str, Any] = json.loads(in_django(FOUND, bot.environment))
    assert found["others"] == {"delivered": len(posts)}, found["others"]
    assert (found["inactive"], found["listed"]) == (0, 0), found
    assert found["loud"] == ("tripped" if LOUD[loud] else "active"), found["loud"]
    return found | {"posts": posts}


def main() -> None:
    options = options_of(__doc__, inboxes=1000, mails=5000, seconds=20.0, rate=20.0).parse_args()
    figures: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.runs):
        for loud in LOUD:
            found = run(loud, options)
            for what, key in (("answered", "posts"), ("handed over", "waits")):
                for share in (0.5, 0.99):
                    name = f"others' mail {what}, {loud}, p{share * 100:.0f} / {profile()}"
                    figures.setdefault((name, "ms"), []).append(percentile(found[key], share))
            if LOUD[loud]:
                print(
                    f"{found['handed over']} of {options.mails} left before it tripped: {found['states']}", flush=True
                )
    report([Figure(name, unit, runs) for (name, unit), runs in figures.items()])


if __name__ == "__main__":
    main()
