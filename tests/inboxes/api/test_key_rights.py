"""Every route of /v1 × the right it needs, taken from the routes themselves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from inboxes.models import Account
from inboxes.permissions import FULL, MESSAGES_READ, PRESETS, RIGHTS
from mailbot.api.views import TenantView
from tests.cast import Caller
from tests.web import running_web


def routes(patterns: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            yield prefix + str(pattern.pattern), pattern


def calls() -> list[tuple[str, str, str]]:
    """(method, path, right) of everything that a key can call. Ids are those of nothing: rights come first."""
    found = []
    for path, pattern in routes(get_resolver().url_patterns):
        view = getattr(pattern.callback, "view_class", None)
        if not path.startswith("v1/") or view is None or not issubclass(view, TenantView):
            continue
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            if hasattr(view, method.lower()):
                right = view.needs if isinstance(view.needs, str) else view.needs[method]
                found.append((method, "/" + _filled(path), right))
    return found


def _filled(path: str) -> str:
    parts = path.split("/")
    return "/".join("nothing_here" if part.startswith("<") else part for part in parts)


CALLS = calls()


def answer(caller: Caller, method: str, path: str) -> Any:
    return caller.client.generic(method, path, "{}" if method != "GET" else "", content_type="application/json")


class TestRights:
    def test_all_routes_are_here(self) -> None:
        assert len(CALLS) > 20
        assert ("POST", "/v1/api-keys", "keys:manage") in CALLS

    def test_each_call_needs_a_right_of_the_closed_list(self) -> None:
        assert {right for _, _, right in CALLS} <= set(RIGHTS)

    @pytest.mark.parametrize(("method", "path", "right"), CALLS, ids=[f"{method} {path}" for method, path, _ in CALLS])
    def test_it_is_403_without_it_and_not_with_it(self, alice: Caller, method: str, path: str, right: str) -> None:
        lacking = alice.with_key(permissions=[other for other in FULL if other != right])
        refused = answer(lacking, method, path)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "forbidden"
        assert right in refused.json()["error"]["message"]
        holding = alice.with_key(permissions=[right])
        assert answer(holding, method, path).status_code not in (401, 403)

    @pytest.mark.django_db(transaction=True)
    def test_a_wait_needs_it_too(self) -> None:
        alice = Caller(Account.objects.create(name="Acme"), "Alice")
        inbox = alice.create_inbox()
        lacking = alice.with_key(permissions=[right for right in FULL if right != MESSAGES_READ])
        with running_web() as web:
            for caller, status in ((lacking, 403), (alice.with_key(permissions=[MESSAGES_READ]), 408)):
                with web.client(caller) as client:
                    told = client.get(f"/v1/inboxes/{inbox.pk}/messages/wait", params={"timeout_ms": 0})
                assert told.status_code == status

    def test_presets_hold_rights_of_the_list_and_each_once(self) -> None:
        for rights in PRESETS.values():
            assert set(rights) <= set(RIGHTS)
            assert len(rights) == len(set(rights))

    def test_an_auditor_reads_no_mail_and_a_reader_changes_nothing(self) -> None:
        assert not {right for right in PRESETS["auditor"] if right.startswith(("messages", "threads", "drafts"))}
        for name in ("read-only", "auditor"):
            assert {right.partition(":")[2] for right in PRESETS[name]} == {"read"}

    def test_each_right_is_described_in_the_documentation(self) -> None:
        page = (Path(__file__).parents[3] / "docs" / "api" / "keys.md").read_text()
        for right, words in RIGHTS.items():
            held = " | ".join(
                "✓" if right in PRESETS[name] else "" for name in ("full", "agent", "read-only", "auditor")
            )
            assert f"| `{right}` | {words} | {held} |" in page
