"""The states of an outbound mail are written down once, and drawn from there"""

from pathlib import Path

from delivery.outbound.states import diagram

SENDING = Path(__file__).resolve().parents[3] / "docs" / "sending.md"


def test_the_page_on_sending_draws_them() -> None:
    assert f"```mermaid\n{diagram()}\n```" in SENDING.read_text(encoding="utf-8")
