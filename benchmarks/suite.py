"""Every figure of the table in benchmarks/README.md: `make bench`, or with BENCH=quick a rough look in a few minutes.

    python -m benchmarks.suite [--quick] [--write] [--only intake,pipeline]

Runs the scripts one after the other, each in a process of its own, on PostgreSQL and Redis (DATABASE_URL, REDIS_URL) and where the table
asks for it on the embedded profile. Prints the table of what it measured at the end; with --write the rows of the scripts that ran take
the place of those in README.md, and the others stay.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.lab import ROOT
from benchmarks.table import SCRIPTS, Script, measured_today, table, write


def run(script: Script, quick: bool, place: Path) -> bool:
    """Whether it went well."""
    options = [*script.options.split(), *(script.quick.split() if quick else [])]
    environment = {**os.environ, "BENCH_FIGURES": str(place)}
    if script.embedded:
        environment |= {"DATABASE_URL": "", "REDIS_URL": ""}
    command = [sys.executable, "-m", f"benchmarks.{script.module}", *options]
    print(f"\n== {script.command}{' (quick)' if quick else ''}", flush=True)
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def conditions(began: float, quick: bool) -> str:
    """What a reader has to know beside the figures."""
    load = os.getloadavg()[2]
    return (
        f"Measured{' roughly (BENCH=quick)' if quick else ''} on {os.cpu_count()} cores, Python"
        f" {platform.python_version()}, in {(time.time() - began) / 60:.0f} min; load average of the last 15 min {load:.1f}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short and once: not for comparing")
    parser.add_argument("--write", action="store_true", help="keep the figures, and put them into README.md")
    parser.add_argument("--only", default=",".join(SCRIPTS), help=f"some of {', '.join(SCRIPTS)}")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("what was measured roughly is not kept: --write goes without --quick")
    began, scripts = time.time(), options.only.split(",")
    with tempfile.TemporaryDirectory(prefix="mailbot-bench-") as folder:
        place = Path(folder) / "figures.jsonl"
        place.touch()
        failed = [name for name in scripts if not run(SCRIPTS[name], options.quick, place)]
        found = [Figure(**json.loads(line)) for line in place.read_text(encoding="utf-8").splitlines()]
    figures = measured_today(found)
    print("\n" + "\n".join([conditions(began, options.quick), *table(figures, scripts)]))
    if options.write:
        write(figures)
    if failed:
        sys.exit(f"These ended in an error: {', '.join(failed)}")


if __name__ == "__main__":
    main()
