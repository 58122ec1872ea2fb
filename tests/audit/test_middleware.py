"""From where a request comes, as the trail keeps it"""

from pathlib import Path
from typing import Any

import pytest

from tests.cast import Caller


def remote_addr(caller: Caller, **headers: str) -> Any:
    caller.client.post("/v1/inboxes", {}, content_type="application/json", headers=headers)
    return caller.get("/v1/audit-log").json()["data"][0]["remote_addr"]


class TestRemoteAddress:
    def test_it_believes_nobody_by_default(self, alice: Caller) -> None:
        assert remote_addr(alice, X_Forwarded_For="192.0.2.1") == "127.0.0.1"

    def test_the_web_server_believes_nobody_either(self) -> None:
        """Uvicorn would take the header of whoever calls from this machine, and write it over the address."""
        procfile = Path(__file__).parents[2] / "Procfile"
        (web,) = [line for line in procfile.read_text().splitlines() if line.startswith("web:")]
        assert "--no-proxy-headers" in web

    @pytest.mark.parametrize(
        ("header", "shown"),
        [
            ("198.51.100.9, 192.0.2.1", "192.0.2.1"),
            ("fe80::1%eth0", "fe80::1"),
            ("192.0.2.1:4711", None),
            ("unknown", None),
            ("x'); --", None),
        ],
    )
    def test_it_takes_an_address_of_its_own_proxy_and_nothing_else(
        self, alice: Caller, settings: Any, header: str, shown: str | None
    ) -> None:
        settings.TRUSTED_PROXIES = 1
        assert remote_addr(alice, X_Forwarded_For=header) == shown
