"""The broker of the embedded profile"""

import threading
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from mailbot.lib import filesystem_broker

pytestmark = pytest.mark.one_profile


@pytest.fixture
def broker(tmp_path: Path) -> dict[str, Any]:
    filesystem_broker.register()
    folders = {
        "data_folder_in": str(tmp_path),
        "data_folder_out": str(tmp_path),
        "control_folder": str(tmp_path / "control"),
    }
    return {"hostname": f"{filesystem_broker.SCHEME}://localhost", "transport_options": folders}


class TestBroker:
    def test_it_never_shows_half_a_message(self, broker: dict[str, Any]) -> None:
        def write() -> None:
            with Connection(**broker) as connection, connection.SimpleQueue("hints") as queue:
                for number in range(500):
                    queue.put({"number": number, "padding": "x" * 2000})

        writer = threading.Thread(target=write)
        writer.start()
        with Connection(**broker) as connection, connection.SimpleQueue("hints") as queue:
            seen = set()
            for _ in range(500):
                message = queue.get(timeout=10)
                message.ack()
                seen.add(message.payload["number"])
        writer.join()
        assert seen == set(range(500))

    def test_it_leaves_nothing_behind(self, broker: dict[str, Any], tmp_path: Path) -> None:
        with Connection(**broker) as connection, connection.SimpleQueue("others") as queue:
            queue.put("ring")
            queue.get(timeout=10).ack()
        assert [file.name for file in tmp_path.iterdir() if file.is_file()] == []
