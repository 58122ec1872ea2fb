"""How long `make run` takes to its first answer, installed, with a fresh MAILBOT_VAR.

    python -m benchmarks.first_answer [--runs 3]

From the start of `make run` until GET / of the web process answers (any status below 500), and until it says that all is ready. The
virtual environment is the one of the Python that runs this script. Embedded profile, as `make run` is without configuration.
"""

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, options_of, report
from benchmarks.lab import HOST, ROOT, free_port, until
from mailbot.quickstart.readiness import smtp_greets


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def one_start() -> tuple[float, float]:
    """Seconds until the web answers, and until the SMTP server greets too."""
    port, smtp_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="mailbot-bench-", ignore_cleanup_errors=True) as folder:
        environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        environment |= {
            "MAILBOT_VAR": folder,
            "MAILBOT_PORT": str(port),
            "MAILBOT_SMTP_PORT": str(smtp_port),
            "MAILBOT_VENV": sys.prefix,
        }
        with (Path(folder) / "output.log").open("wb") as output:
            began = time.perf_counter()
            process = subprocess.Popen(["make", "run"], cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            until(lambda: answers(port), "GET / is answered", pause=0.01)
            web = time.perf_counter() - began
            until(lambda: smtp_greets(HOST, smtp_port), "the smtp process greets", pause=0.01)
            return web, time.perf_counter() - began
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def main() -> None:
    options = options_of(__doc__).parse_args()
    runs = [one_start() for _ in range(options.runs)]
    report(
        [
            Figure("make run to the first answer / embedded", "s", [web for web, _ in runs]),
            Figure("make run to the SMTP greeting / embedded", "s", [smtp for _, smtp in runs]),
        ]
    )


if __name__ == "__main__":
    main()
