"""An export of a whole trail: how long a worker takes, and how much memory. PostgreSQL.

    python -m benchmarks.audit_export [--runs 1] [--entries 1000000] [--small 10000]

The trail is filled by the database and sealed. Then an export of the whole account is made, as a worker makes it, in a process of its own,
without mail; first one of a `small` trail, so that its memory can be told from that of the many entries. The bundle is read back and held
against its hash by the exporter, and checked by the verifier of `clients/`, whose time and memory are given too.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.audit_entries import FILL
from benchmarks.figures import Figure, options_of, profile, report
from benchmarks.lab import PREPARE, ROOT, in_django, new_database

SEAL = """
import json, time
from audit.sealing import seal_all
fill(BEFORE, SIZE)
tell_the_sealer()
began = time.perf_counter()
sealed = seal_all()
print(json.dumps(sealed / (time.perf_counter() - began)))
"""
EXPORT = """
import json, resource, time
import django; django.setup()
from audit.actors import acting_as_system
from audit.exports import ask_for_export, make_exports, octets_of_export
from audit.models import Export
from inboxes.models import Account
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with acting_as_system("benchmark"):
    account_id = Account.objects.get().pk
    export = ask_for_export(
        account_id=account_id, inbox_id="", mode="", since=None, until=None, include=[], reason="benchmark"
    )
    before, began, used = peak(), time.perf_counter(), time.process_time()
    while make_exports(20): pass
    took, cpu, most = time.perf_counter() - began, time.process_time() - used, peak()
    export.refresh_from_db()
    assert export.status == "done", export.error
    with open(BUNDLE, "wb") as file:
        for octets in octets_of_export(export): file.write(octets)
print(json.dumps({"took": took, "cpu": cpu, "more": most - before, "entries": export.entries, "size": export.size / 1e6}))
"""


def exported(environment: dict[str, str], bundle: Path) -> dict[str, float]:
    return dict(json.loads(in_django(EXPORT.replace("BUNDLE", repr(str(bundle))), environment)))


def verified(bundle: Path) -> float:
    """Seconds. Ends the benchmark where it does not hold."""
    began = time.perf_counter()
    verifier = [sys.executable, "-I", str(ROOT / "clients" / "verify_audit.py"), str(bundle), "--json"]
    done = subprocess.run(verifier, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"The bundle does not hold: {done.stdout}{done.stderr}")
    return time.perf_counter() - began


def measured(environment: dict[str, str], name: str, before: int, size: int, runs: int) -> list[Figure]:
    sealed = float(
        json.loads(in_django(FILL + SEAL.replace("BEFORE", str(before)).replace("SIZE", str(size)), environment))
    )
    told, checked, memory = list[dict[str, float]](), list[float](), list[float]()
    with tempfile.TemporaryDirectory(prefix="mailbot-bench-") as folder:
        for _ in range(runs):
            told.append(exported(environment, Path(folder) / "bundle.zip"))
            checked.append(verified(Path(folder) / "bundle.zip"))
            memory.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)  # the most of any child so far
    end = f" / {profile()}"
    return [
        Figure(f"sealed, {name}{end}", "/s", [sealed]),
        Figure(f"export, {name}{end}", "s", [one["took"] for one in told]),
        Figure(f"export, {name}, CPU{end}", "s", [one["cpu"] for one in told]),
        Figure(f"export, {name}, entries a second{end}", "/s", [one["entries"] / one["took"] for one in told]),
        Figure(f"export, {name}, memory beyond that of the process{end}", "MB", [one["more"] for one in told]),
        Figure(f"export, {name}, size{end}", "MB", [one["size"] for one in told]),
        Figure(f"export, {name}, verified without the server{end}", "s", checked),
        Figure(f"export, {name}, most memory of exporter and verifier{end}", "MB", memory),
    ]


def main() -> None:
    parser = options_of(__doc__, entries=1_000_000, small=10_000)
    parser.set_defaults(runs=1)
    options = parser.parse_args()
    with new_database() as environment:
        if not environment.get("DATABASE_URL"):
            sys.exit("This fills the trail by PostgreSQL: set DATABASE_URL.")
        in_django(PREPARE, environment)
        report(measured(environment, "few entries", 0, options.small, options.runs))
        report(measured(environment, "many entries", options.small, options.entries, options.runs))


if __name__ == "__main__":
    main()
