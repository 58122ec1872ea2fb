"""kombu's filesystem transport, without its two races.

Source: kombu 5.7, kombu/transport/filesystem.py. It opens a file under its final name and then writes into it. A worker that polls in
between reads an empty message and ends with "Unrecoverable error: JSONDecodeError", which happened within the first few mails; and a
process that starts while another makes the table of an exchange reads an empty table. Here a message is written aside and renamed, which
is atomic within a file system (POSIX rename), and there is no table: a queue hears the exchange of its own name.
"""

import os
from pathlib import Path
from time import monotonic_ns
from typing import Any
from uuid import uuid4

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

SCHEME = "mailbot-filesystem"


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]
        name = f"{monotonic_ns() // 1_000_000}_{uuid4()}.{queue}.msg"
        aside = Path(self.data_folder_out, f"{name}.part")
        aside.write_text(dumps(payload), encoding="utf-8")
        os.replace(aside, aside.with_suffix(""))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str | None, queue: str) -> None:
        """Nothing to write down."""

    def get_table(self, exchange: str) -> list[filesystem.exchange_queue_t]:  # type: ignore[override]
        return [filesystem.exchange_queue_t(exchange, "", exchange)]


class Transport(filesystem.Transport):
    Channel = Channel


def register() -> None:
    """Make `mailbot-filesystem://` a broker URL."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
