"""The console in a real Chromium, under its strict Content-Security-Policy: what an operator does on a day with work."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from delivery.storage_figures import count_storage
from inboxes.models import Account, ApiKey, Inbox, Provider
from tests.cast import Caller
from tests.console import HOSTILE, PASSWORD, failed_event, failed_inbound, fill, list_of, page_of, person, unknown_mail
from tests.mailing import deliver, mail
from threads.models import Message

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"There is no Chromium at {CHROMIUM}."),
]


class Browser:
    """A page that notes what must not happen: an error on its console, a request to another host."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.complaints: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.route("**/*", self.let_through)

    def _note(self, message: Any) -> None:
        """Errors, violations of the policy among them; what Chromium merely remarks (a field that has the focus already) is none."""
        if message.type == "error":
            self.complaints.append(message.text)

    def let_through(self, route: Any) -> None:
        """To our server only. Its pages come with a strict policy, so that a violation shows as an error."""
        if urlsplit(route.request.url).netloc != urlsplit(self.url).netloc:
            self.complaints.append(f"asked for {route.request.url}")
            route.abort()
            return
        route.continue_()

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def sign_in(self, name: str) -> None:
        self.open("/admin/")
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", PASSWORD)
        self.page.click("input[type=submit]")

    @property
    def text(self) -> str:
        return str(self.page.inner_text("body"))

    def is_as_wide_as_its_window(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.fixture
def chromium() -> Iterator[Any]:
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = (
        "1"  # playwright runs a loop in this thread; the tests use the database in it
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(params=["light", "dark"])
def browser(request: pytest.FixtureRequest, chromium: Any, live_server: Any) -> Iterator[Browser]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme=request.param)
    browser = Browser(context.new_page(), live_server.url)
    yield browser
    context.close()
    assert browser.complaints == []


@pytest.fixture
def inbox(acme: Account, alice: Caller) -> Inbox:
    person("olga", acme, "owner")
    return alice.create_inbox(username="support", display_name="Acme Support")


class TestConsole:
    def test_an_operator_pauses_an_inbox(self, browser, inbox):
        browser.sign_in("olga")
        assert "Nothing needs you." in browser.text
        browser.page.fill("#find-inbox", "support")
        browser.page.press("#find-inbox", "Enter")
        browser.page.click(f"text={inbox.address}")
        browser.page.click("text=Pause…")
        browser.page.fill("input[name=reason]", "too many bounces")
        browser.page.click("button:has-text('Pause')")
        assert "1 inbox(es) paused." in browser.text
        assert "too many bounces" in browser.text
        inbox.refresh_from_db()
        assert inbox.status == "paused"
        browser.open("/admin/")
        assert "Inboxes paused" in browser.text

    def test_an_owner_issues_a_key_and_sees_it_once(self, browser, inbox, alice):
        browser.sign_in("olga")
        browser.open(page_of(inbox))
        browser.page.click("text=Issue key")
        browser.page.fill("#id_name", "Support agent")
        browser.page.click("button:has-text('Issue key')")
        secret = browser.page.inner_text("#secret")
        assert secret.startswith("mb_test_")
        assert secret not in browser.page.url
        browser.page.click("text=I have copied it")
        assert secret not in browser.page.content()
        key = ApiKey.objects.get(name="Support agent")
        assert (key.inbox_ids, key.prefix) == ([inbox.pk], secret[:12])

    def test_every_page_is_quiet_and_fits_a_laptop(self, browser, inbox, alice, acme):
        person("root")
        deliver(
            mail(Subject=HOSTILE[:900], body=HOSTILE, html=f"<p>{HOSTILE}</p><img src='https://evil.example/x.png'>"),
            inbox,
        )
        live = Caller(acme, "Live", "live")
        unknown = unknown_mail(live, live.create_inbox(username="sales"))
        failed = failed_inbound(inbox)
        made = live.post(
            "/v1/providers", {"name": HOSTILE[:90], "esp": "mailgun", "credentials": {"api_key": "secret"}}
        )
        provider = Provider.objects.get(pk=made.json()["data"]["id"])
        told = failed_event(provider, recipient=HOSTILE, error=HOSTILE, payload={"text": HOSTILE}, state="unmatched")
        fill(alice, inbox, 2)
        message = Message.objects.filter(inbox=inbox, direction="inbound").earliest("pk")
        count_storage()
        browser.sign_in("root")
        rows = [inbox, message.thread, message, unknown, failed, provider, told, alice.key, acme]
        for url in [
            "/admin/",
            *map(list_of, rows),
            *map(page_of, rows),
            "/admin/threads/event/",
            "/admin/audit/auditentry/",
            "/admin/delivery/storagefigures/",
        ]:
            browser.open(url)
            assert browser.is_as_wide_as_its_window(), url
