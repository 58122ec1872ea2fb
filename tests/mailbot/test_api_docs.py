"""docs/api.md describes every route of /v1, with its methods, and no other."""

import re
from pathlib import Path

from django.urls import URLPattern, URLResolver, get_resolver

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
WAIT = ("GET", "/inboxes/{}/messages/wait")  # answered beside Django: threads.api.wait
METHODS = ("get", "post", "put", "patch", "delete")


def served() -> set[tuple[str, str]]:
    routes = {WAIT}
    for entry in get_resolver().url_patterns:
        if isinstance(entry, URLResolver) and str(entry.pattern) == "v1/":
            for pattern in entry.url_patterns:
                assert isinstance(pattern, URLPattern)
                path = "/" + re.sub(r"<[^>]+>", "{}", str(pattern.pattern))
                view = pattern.callback.view_class  # type: ignore[attr-defined]
                routes |= {(method.upper(), path) for method in METHODS if hasattr(view, method)}
    return routes


def documented() -> set[tuple[str, str]]:
    """The headings: `### GET /inboxes/{id}`, several of them separated by commas."""
    headings = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    found = {pair for heading in headings for pair in re.findall(r"\b([A-Z]+) (/[^\s,]+)", heading)}
    return {(method, re.sub(r"{[^}]+}", "{}", path)) for method, path in found}


def test_it_documents_what_is_served():
    assert documented() == served()
