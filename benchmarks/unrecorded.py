"""mailbot's web process without the entries of reads and of sends, for `benchmarks.reads` to compare with."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

application = import_module("mailbot.asgi").application  # first: it loads the apps


def nothing(_: Sequence[Any]) -> None: ...


import_module("threads.conversation").record_many = nothing  # type: ignore[attr-defined]
import_module("audit.reads").write_reads = nothing  # type: ignore[attr-defined]
