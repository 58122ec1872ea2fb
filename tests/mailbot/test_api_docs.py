"""docs/api.md and the pages of docs/api describe every route of /v1, with its methods, and no other."""

import re
from pathlib import Path

from tests.contract import document

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [DOCS / "api.md", *sorted((DOCS / "api").glob("*.md"))]


def served() -> set[tuple[str, str]]:
    """As the schema has them, which is held against the routes itself."""
    return {
        (method.upper(), re.sub(r"{[^}]+}", "{}", path.removeprefix("/v1")))
        for path, methods in document()["paths"].items()
        for method in methods
    }


def documented() -> set[tuple[str, str]]:
    """The headings: `## GET /inboxes/{id}`, several of them separated by commas."""
    headings = [line for page in PAGES for line in re.findall(r"^##+ (.*)$", page.read_text("utf-8"), re.MULTILINE)]
    found = {pair for heading in headings for pair in re.findall(r"\b([A-Z]+) (/[^\s,]+)", heading)}
    return {(method, re.sub(r"{[^}]+}", "{}", path)) for method, path in found}


def test_it_documents_what_is_served():
    assert documented() == served()
