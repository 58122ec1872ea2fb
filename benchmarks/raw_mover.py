"""What it costs to move a raw mail out of its row into the object store.

    python -m benchmarks.raw_mover [--mails 3000] [--octets 5000]

On a database of its own, of the profile that DATABASE_URL chooses, and a folder as the store; one mover, nothing else. CPU is that of
the mover; what PostgreSQL spends comes on top.
"""

import argparse
import subprocess
import sys

from benchmarks.lab import ROOT, new_database

MOVE = """
import hashlib, os, secrets, statistics, sys, time
import django; django.setup()
from datetime import timedelta
from django.core.management import call_command
from django.utils import timezone
call_command("migrate", verbosity=0)
from delivery.models import InboundMail
from delivery.raw_mover import move_batch
mails, octets = map(int, sys.argv[1:])
for start in range(0, mails, 500):
    raws = [secrets.token_bytes(octets // 2).hex().encode() for _ in range(min(500, mails - start))]
    InboundMail.objects.bulk_create(
        InboundMail(dedupe_key=secrets.token_hex(16), recipients=[{"address": "a@b.c", "tag": "", "inbox_id": "inbox_1"}], raw=raw,
                    size=len(raw), sha256=hashlib.sha256(raw).hexdigest(), state="processed", processed_at=timezone.now())
        for raw in raws)
cpu, clock, moved = time.process_time(), time.monotonic(), 0
while (batch := move_batch(older_than=timedelta())).goes_on:
    moved += batch.moved
cpu, clock = time.process_time() - cpu, time.monotonic() - clock
assert moved == mails, (moved, batch)
print(f"{moved} mails of {octets} octets: {moved / clock:.0f}/s, {cpu / moved * 1000:.3f} ms of CPU a mail")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mails", type=int, default=3000)
    parser.add_argument("--octets", type=int, default=5000)
    options = parser.parse_args()
    with new_database() as environment:
        command = [sys.executable, "-c", MOVE, str(options.mails), str(options.octets)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    main()
