"""The console in a real Chromium, under its strict Content-Security-Policy: what an operator does on a day with work."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from audit.models import AuditEntry
from audit.sealing import seal_all
from delivery.storage_figures import count_storage
from inboxes.holds import place
from inboxes.models import Account, ApiKey, Inbox, Provider
from inboxes.retention_classes import make_class
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
        self.page.wait_for_load_state("load")  # a click waits only until the next page begins
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


STUMBLES = (Path(__file__).parent / "stumbles.js").read_text()
FOCUS = """() => { const e = document.activeElement || document.documentElement, s = getComputedStyle(e);
  const outline = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0;
  return {tag: e.tagName, text: (e.innerText || '').trim(), id: e.id, outline}; }"""


class TestCompliance:
    """The view of an inbox, by somebody who has a keyboard and perhaps a screen reader, and on paper."""

    @pytest.fixture
    def inbox(self, alice: Caller) -> Inbox:
        inbox = alice.create_inbox(username="billing")
        deliver(mail(Subject=HOSTILE[:300]), inbox)
        sent = alice.send(inbox, to="ada@example.com", subject="Invoice 42")
        alice.get(f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}")
        place(alice.account, inbox=inbox, matter="Smith ./. Acme", reason="Court order")
        person("rita", alice.account, "reviewer")
        seal_all()
        return inbox

    def tab_to(self, browser: Browser, **wanted: str) -> dict[str, Any]:
        for _ in range(120):
            browser.page.keyboard.press("Tab")
            focus = dict(browser.page.evaluate(FOCUS))
            if all(focus[name].startswith(value) for name, value in wanted.items()):
                return focus
        raise AssertionError(f"The keyboard does not come to {wanted}.")

    def go_on(self, browser: Browser) -> None:
        """By Enter, to another page."""
        with browser.page.expect_navigation():
            browser.page.keyboard.press("Enter")

    def test_a_reviewer_answers_by_keyboard_alone(self, browser, inbox):
        browser.sign_in("rita")
        self.tab_to(browser, tag="A", text="Compliance")
        self.go_on(browser)
        self.tab_to(browser, tag="INPUT", id="find-inbox")
        browser.page.keyboard.type("bill")
        self.go_on(browser)
        self.tab_to(browser, tag="A", text=inbox.address)
        self.go_on(browser)
        assert browser.page.url.endswith(f"/{inbox.pk}/compliance/")
        focus = self.tab_to(browser, tag="BUTTON", text="Verify now")
        assert focus["outline"]
        self.go_on(browser)
        assert browser.page.locator(".seal.tone-good").is_visible()
        browser.page.keyboard.press("Tab")
        assert browser.page.evaluate(FOCUS)["text"] == "Skip to main content"
        browser.page.keyboard.press("Enter")
        entry = browser.page.locator("summary", has_text="sent “Invoice 42” to ada@example.com")
        for _ in range(120):
            browser.page.keyboard.press("Tab")
            if entry.evaluate("e => e === document.activeElement"):
                break
        assert browser.page.evaluate(FOCUS)["outline"]
        browser.page.keyboard.press("Enter")
        self.tab_to(browser, tag="A", text="The whole proof")
        self.go_on(browser)
        assert "The proof holds" in browser.text

    def test_nothing_stands_in_the_way_of_a_screen_reader(self, browser, inbox):
        browser.sign_in("rita")
        view = f"/admin/inboxes/inbox/{inbox.pk}/compliance/"
        entry = AuditEntry.objects.get(act="inbox.created").public_id
        for url in (
            "/admin/inboxes/inbox/compliance/",
            view,
            f"{view}?open=1&account=on",
            f"{view}{entry}/",
            f"{view}review/",
        ):
            browser.open(url)
            assert browser.page.evaluate(STUMBLES) == [], url
            assert browser.is_as_wide_as_its_window(), url
        browser.page.set_viewport_size({"width": 360, "height": 740})
        browser.open(view)
        assert browser.is_as_wide_as_its_window()

    def test_an_operator_removes_what_is_over_by_keyboard_alone(self, browser, alice):
        person("oscar", alice.account)
        inbox = alice.create_inbox(username="archive")
        deliver(mail(Subject="Old"), inbox)
        Message.objects.filter(inbox=inbox).update(created_at=timezone.now() - timedelta(days=31))
        retention = make_class(alice.account, {"name": "A month", "content_days": 30})
        Inbox.objects.filter(pk=inbox.pk).update(retention_class=retention)
        browser.sign_in("oscar")
        browser.open(f"/admin/inboxes/inbox/{inbox.pk}/compliance/")
        assert self.tab_to(browser, tag="A", text="Remove now…")["outline"]
        self.go_on(browser)
        for width in (360, 1280):
            browser.page.set_viewport_size({"width": width, "height": 740})
            assert browser.is_as_wide_as_its_window()
        assert browser.page.evaluate(STUMBLES) == []
        assert self.tab_to(browser, tag="BUTTON", text="Remove now")["outline"]
        self.go_on(browser)
        assert "Removed: 1 message." in browser.text
        assert "Nothing is over." in browser.text
        assert browser.page.evaluate(STUMBLES) == []
        assert not Message.objects.filter(inbox=inbox).exists()

    def test_on_paper_there_is_no_navigation_and_each_entry_is_open(self, browser, inbox):
        browser.sign_in("rita")
        browser.open(f"/admin/inboxes/inbox/{inbox.pk}/compliance/?open=1")
        browser.page.emulate_media(media="print")
        for hidden in ("#places", "#header", ".bar", ".filter >> nth=0", "button:has-text('Verify now')"):
            assert not browser.page.locator(hidden).is_visible(), hidden
        for line in browser.page.locator("ol.acts .opened").all():
            assert line.is_visible()
        assert browser.page.locator("ol.acts .opened").count() >= 4

    def test_a_review_is_seen_on_each_page_and_ended_there(self, browser, inbox):
        browser.sign_in("rita")
        browser.open(f"/admin/inboxes/inbox/{inbox.pk}/compliance/")
        browser.page.click("text=Read its mail…")
        browser.page.fill("#id_reason", "Complaint 2041")
        browser.page.click("text=Begin to read")
        browser.page.click("text=Invoice 42")
        assert "You are reading the mail of" in browser.text
        browser.page.click("text=End now")
        assert "The review is over." in browser.text
        assert "You are reading the mail of" not in browser.text


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
