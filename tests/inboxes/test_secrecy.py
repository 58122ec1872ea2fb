"""The secret of a key is nowhere: a story with every mistake that people make with keys, and a search through all that was kept."""

import base64
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.test import Client

from inboxes.models import Account, ApiKey
from tests.cast import Caller, run_workers
from tests.console import act, console, list_of, page_of, person

ISSUE = "/admin/inboxes/apikey/add/"
LOGIN = "/admin/login/?next=/admin/"


def everything_stored() -> Iterator[tuple[str, str]]:
    """Name and text of each table, of each file of the server, and of each message on the broker."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table.startswith("threads_searchindex"):  # words without a text to read them from
                continue
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            yield table, "\n".join(str([bytes(v) if isinstance(v, memoryview) else v for v in row]) for row in cursor)
    for file in settings.VAR.rglob("*"):
        if file.is_file() and "sqlite3" not in file.name:
            yield str(file), file.read_bytes().decode(errors="replace")
    if settings.REDIS_URL:
        with redis.Redis.from_url(settings.REDIS_URL) as broker:
            for name in broker.scan_iter():
                if broker.type(name) == b"list":
                    yield f"redis {name!r}", str(broker.lrange(name, 0, -1))


def parts(secret: str) -> list[str]:
    """The secret as it is, its end alone, and as Basic authentication would write it."""
    return [secret, secret[14:], base64.b64encode(f"{secret}:".encode()).decode().rstrip("=")]


def mistakes(secret: str, inbox_id: str) -> Iterator[Any]:
    """The answers to what a careless client does."""
    basic = base64.b64encode(f"{secret}:".encode()).decode()
    for header in (f"Basic {basic}", f"Token {secret}", secret, f"Bearer {secret} {secret}", f"Bearer {secret}x"):
        yield Client().get("/v1/inboxes", headers={"Authorization": header})
    good = Client(headers={"Authorization": f"Bearer {secret}"}, raise_request_exception=False)
    for path in (
        f"/v1/inboxes?api_key={secret}",
        f"/v1/inboxes/{secret}",
        f"/v1/{secret}/x",
        f"/{secret}",
        f"/admin/{secret}/",
        f"/v1/inboxes?{secret}=1",
    ):
        yield good.get(path)
        yield Client().get(path)
    for path in ("/v1/inboxes", f"/v1/inboxes/{inbox_id}/pause", f"/v1/inboxes/{inbox_id}/messages", "/v1/api-keys"):
        for field in ("display_name", "reason", "subject", "name", "client_id", secret):
            body = {"to": "a@example.com", field: secret}
            yield good.post(path, body, content_type="application/json")
        yield good.post(path, f"{{{secret}", content_type="application/json")
        yield good.post(path, "{}", content_type="application/json", headers={"X-Request-Id": secret})
        yield good.post(path, "{}", content_type="application/json", headers={"Idempotency-Key": secret})
        yield good.post(
            path, "{}", content_type="application/json", headers={"User-Agent": secret, "Cookie": f"a={secret}"}
        )


@pytest.mark.django_db(transaction=True)
class TestSecrecy:
    def test_it_is_nowhere(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
        caplog.set_level(logging.DEBUG)
        caplog.set_level(logging.DEBUG, "django.request")  # as somebody might set it who looks for a fault
        acme = Account.objects.create(name="Acme")
        maker = Caller(acme, "Alice", key_options={})
        browser = console(person("olga", acme, "owner"))
        shown = browser.post(ISSUE, {"account": acme.pk, "name": "Agent", "mode": "test", "preset": "full"})
        by_api = maker.post("/v1/api-keys", {"name": "Agent", "preset": "full"}).json()["data"]["secret"]
        canaries = [maker.secret, shown.context["secret"], by_api]
        inbox = maker.create_inbox()
        answers: list[Any] = []
        for secret in canaries:
            answers += mistakes(secret, inbox.pk)
            answers.append(self.failing(secret, monkeypatch))
            self.in_the_console(browser, secret)
        run_workers()
        told = [str(answer.headers) + answer.content.decode() for answer in answers]
        kept = [*everything_stored(), ("log", caplog.text), ("output", "".join(capfd.readouterr()))]
        for part in (part for secret in canaries for part in parts(secret)):
            assert not any(part in text for text in told)
            assert [place for place, text in kept if part in text] == []

    def in_the_console(self, browser: Client, secret: str) -> None:
        """A form shows what was typed into it to who typed it; nothing else may."""
        key = ApiKey.objects.latest("pk")
        here = {"account": key.account_id, "mode": "test"}
        for path, body in (
            (ISSUE, {"name": secret, "preset": "full"}),
            (ISSUE, {"name": "x", "preset": "full", "inboxes": secret}),
            ("/admin/inboxes/inbox/add/", {"display_name": secret}),
            ("/admin/inboxes/inbox/add/", {"username": secret}),
            ("/admin/inboxes/inbox/add/", {"domain": secret}),
            ("/admin/inboxes/membership/add/", {"username": secret, "role": "owner"}),
        ):
            assert browser.post(path, {**here, **body}).status_code == 400
        act(browser, "revoke", key, reason=secret)
        for username, password in ((secret, secret), ("olga", secret)):
            Client().post(LOGIN, {"username": username, "password": password})
        for page in (list_of(key), page_of(key), "/admin/audit/auditentry/", "/admin/"):
            assert secret not in browser.get(page).content.decode()

    def failing(self, secret: str, monkeypatch: pytest.MonkeyPatch) -> Any:
        """A fault of ours while such a key calls: what is logged of it has the traceback."""

        def break_down(*_: Any, **__: Any) -> None:
            raise RuntimeError("Out of order")

        with monkeypatch.context() as patch:
            patch.setattr("inboxes.api.views.paginated", break_down)
            client = Client(headers={"Authorization": f"Bearer {secret}"}, raise_request_exception=False)
            answer = client.get("/v1/inboxes")
        assert answer.status_code == 500
        return answer


def test_the_search_would_find_it(db: None, tmp_path: Path) -> None:
    """What looks for the secret sees what is written."""
    Account.objects.create(name="mb_test_canary")
    assert any("mb_test_canary" in text for _, text in everything_stored())
