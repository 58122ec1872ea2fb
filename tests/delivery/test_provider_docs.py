"""docs/providers has a page for each ESP, which names every one of its credentials."""

from pathlib import Path

import pytest

from delivery.esps import ESPS

pytestmark = pytest.mark.one_profile

DOCS = Path(__file__).resolve().parents[2] / "docs" / "providers"


@pytest.mark.parametrize("key", ESPS)
def test_each_esp_has_a_page_with_its_credentials(key: str) -> None:
    page = (DOCS / f"{key}.md").read_text(encoding="utf-8")
    assert all(f"| `{field.name}` |" in page for field in ESPS[key].fields)
    assert f"]({key}.md) | `{key}` |" in (DOCS / "README.md").read_text(encoding="utf-8")


def test_no_page_is_about_an_esp_that_is_not_there() -> None:
    assert {page.stem for page in DOCS.glob("*.md")} == {*ESPS, "README"}
