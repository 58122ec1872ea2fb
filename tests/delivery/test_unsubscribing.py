"""List-Unsubscribe: what a mail offers, the one click, the page, and the mail."""

import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes, policy
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connections
from django.test import Client

from audit.models import AuditEntry
from delivery.models import Suppression
from delivery.unsubscribing import Link, link_of, mark_of, token_of
from inboxes.models import Inbox
from mailbot.lib.rates import Rate
from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail
from threads.models import Event, Message

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
TO = "Ann@shop.example"


@pytest.fixture(autouse=True)
def public_address(settings: Any) -> None:
    settings.MAILBOT_URL = "https://mail.example.com"


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    inbox = alice.create_inbox(username="news", list_unsubscribe=True)
    assert inbox.list_unsubscribe
    return inbox


@pytest.fixture
def browser() -> Client:
    return Client(enforce_csrf_checks=True)


def headers_of(caller: Caller, message: dict[str, Any]) -> Any:
    raw = caller.get(f"/v1/inboxes/{message['inbox_id']}/messages/{message['id']}/raw").content
    assert max(map(len, raw.split(b"\r\n"))) < 998
    return message_from_bytes(raw, policy=policy.default)


def ways_of(caller: Caller, message: dict[str, Any]) -> list[str]:
    """What stands between angle brackets (RFC 2369 2)."""
    return re.findall("<([^>]+)>", headers_of(caller, message)["List-Unsubscribe"].replace("\r\n", ""))


@pytest.fixture
def message(alice: Caller, inbox: Inbox) -> dict[str, Any]:
    return alice.send(inbox, to=TO, subject="News", body_text="Hello")


@pytest.fixture
def path(alice: Caller, message: dict[str, Any]) -> str:
    return urlsplit(ways_of(alice, message)[0]).path


class TestOffer:
    def test_it_gives_a_link_an_address_and_one_click(self, alice: Caller, message: dict[str, Any]) -> None:
        link, address = ways_of(alice, message)
        assert link.startswith("https://mail.example.com/u/")
        assert re.fullmatch(r"mailto:news\+u\.[a-z2-7]{16}@mailbot\.localhost\?subject=unsubscribe%20\S+", address)
        assert headers_of(alice, message)["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"

    def test_nobody_guesses_a_link(self, inbox: Inbox) -> None:
        link = Link(inbox.pk, f"msg_{'0' * 26}", "ann@shop.example")
        token = token_of(link)
        assert link_of(token) == link
        signed, signature = token.split(".")
        assert link_of(f"{signed[:-4]}AAAA.{signature}") is None
        assert link_of(f"{signed}.{signature[:-1]}") is None
        assert link_of(token_of(link._replace(address="ben@shop.example"))) != link

    def test_one_click_needs_https(self, alice: Caller, inbox: Inbox, settings: Any) -> None:
        settings.MAILBOT_URL = "http://127.0.0.1:8000"
        headers = headers_of(alice, alice.send(inbox, to=TO))
        assert "List-Unsubscribe" in headers
        assert "List-Unsubscribe-Post" not in headers

    def test_mail_to_several_offers_nothing(self, alice: Caller, inbox: Inbox) -> None:
        assert "List-Unsubscribe" not in headers_of(alice, alice.send(inbox, to=TO, cc="ben@shop.example"))

    def test_it_is_off_unless_it_is_asked_for(self, alice: Caller, inbox: Inbox) -> None:
        assert "List-Unsubscribe" not in headers_of(alice, alice.send(alice.create_inbox(), to=TO))
        answer = alice.patch(f"/v1/inboxes/{inbox.pk}", {"list_unsubscribe": False})
        assert answer.json()["data"]["list_unsubscribe"] is False
        assert "List-Unsubscribe" not in headers_of(alice, alice.send(inbox, to=TO))

    def test_a_header_of_the_authors_own_is_left_alone(self, alice: Caller, inbox: Inbox) -> None:
        message = alice.send(inbox, to=TO, headers={"List-Unsubscribe": "<https://shop.example/out>"})
        assert ways_of(alice, message) == ["https://shop.example/out"]


class TestOneClick:
    def test_it_takes_effect_at_once_without_cookie_or_redirect(
        self, alice: Caller, inbox: Inbox, message: dict[str, Any], path: str, browser: Client
    ) -> None:
        answer = browser.post(path, ONE_CLICK)
        assert answer.status_code == 200
        assert not answer.cookies
        entry = Suppression.objects.get()
        assert (entry.address, entry.cause, entry.inbox, entry.message_id) == (
            "ann@shop.example",
            "unsubscribe",
            inbox,
            message["id"],
        )
        assert entry.expires_at is None
        assert alice.events(message_id=message["id"])[-1] == "message.unsubscribed"
        refused = alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "ann@shop.example"})
        assert refused.json()["error"]["reason"] == "suppressed"
        assert AuditEntry.objects.get(act="suppression.added").remote_addr == "127.0.0.1"

    def test_it_takes_both_forms_of_a_body(self, path: str, browser: Client) -> None:
        body = "List-Unsubscribe=One-Click"
        assert browser.post(path, body, content_type="application/x-www-form-urlencoded").status_code == 200
        assert Suppression.objects.exists()

    def test_it_counts_once(self, message: dict[str, Any], path: str, browser: Client) -> None:
        assert [browser.post(path, ONE_CLICK).status_code for _ in range(3)] == [200] * 3
        assert Event.objects.filter(type="message.unsubscribed").count() == 1

    @pytest.mark.django_db(transaction=True)
    def test_of_eight_at_once_one_counts(self, path: str) -> None:
        def click(_: int) -> int:
            try:
                return Client().post(path, ONE_CLICK).status_code
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(click, range(8))) == {200}
        assert Suppression.objects.count() == 1
        assert Event.objects.filter(type="message.unsubscribed").count() == 1
        assert AuditEntry.objects.filter(act="suppression.added").count() == 1

    def test_it_works_when_the_message_is_purged(self, alice: Caller, inbox: Inbox, path: str, browser: Client) -> None:
        run_workers()
        assert alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true").status_code == 200
        assert browser.post(path, ONE_CLICK).status_code == 200
        assert Suppression.objects.get().cause == "unsubscribe"

    def test_another_body_does_nothing(self, path: str, browser: Client) -> None:
        assert browser.post(path, {"x": "y"}).status_code == 400
        assert browser.put(path).status_code == 405
        assert not Suppression.objects.exists()


class TestPage:
    def test_looking_changes_nothing(self, path: str, browser: Client) -> None:
        answer = browser.get(path)
        page = answer.content.decode()
        assert (answer.status_code, "Unsubscribe</button>" in page, TO in page) == (200, True, True)
        assert browser.head(path).status_code == 200
        assert not Suppression.objects.exists()

    def test_it_says_when_it_is_done(self, path: str, browser: Client) -> None:
        browser.post(path, ONE_CLICK)
        page = browser.get(path).content.decode()
        assert "gets no more mail" in page
        assert "<button" not in page

    def test_it_runs_and_loads_nothing_and_tells_nobody(self, path: str, browser: Client) -> None:
        answer = browser.get(path)
        assert answer["Content-Security-Policy"].startswith("default-src 'none'")
        assert (answer["Referrer-Policy"], answer["Cache-Control"]) == ("no-referrer", "no-store")
        assert "style=" not in answer.content.decode()
        assert "<script" not in answer.content.decode()

    def test_what_is_no_link_of_ours_is_all_the_same(self, path: str, browser: Client) -> None:
        answers = [browser.get(f"/u/{token}") for token in ("x", path[3:-1], "a.b", "x" * 2000, "%00")]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.content for answer in answers}) == 1
        assert browser.post("/u/x", ONE_CLICK).status_code == 404

    @pytest.mark.usefixtures("exact_rates")
    def test_who_tries_many_is_sent_away_and_good_links_work_on(
        self, path: str, browser: Client, settings: Any
    ) -> None:

        settings.RATE_LIMIT_UNSUBSCRIBE = Rate.of("2/hour")
        network = f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"  # Redis counts on from run to run
        found = [browser.get("/u/wrong", REMOTE_ADDR=network) for _ in range(3)]
        assert [answer.status_code for answer in found] == [404, 404, 429]
        assert int(found[-1]["Retry-After"]) > 0
        assert browser.get(path, REMOTE_ADDR=network).status_code == 200


class TestMail:
    def ask(self, to: str, sender: str = TO, subject: str = "unsubscribe") -> Message:
        deliver(mail(From=sender, Subject=subject, To=to), to, envelope_sender=sender)
        return Message.objects.filter(direction="inbound").latest("sequence")

    def test_the_link_in_its_subject_says_who(self, alice: Caller, inbox: Inbox, message: dict[str, Any]) -> None:
        target = urlsplit(ways_of(alice, message)[1])
        asked = self.ask(target.path, sender="alias@elsewhere.example", subject=parse_qs(target.query)["subject"][0])
        entry = Suppression.objects.get()
        assert (entry.address, entry.inbox, entry.cause, entry.message_id) == (
            "ann@shop.example",
            inbox,
            "unsubscribe",
            message["id"],
        )
        assert asked.labels == ["unsubscribe"]
        assert Event.objects.get(type="message.unsubscribed").data == {"by": "mail"}

    def test_without_it_the_address_is_good_for_its_recipient_alone(self, inbox: Inbox) -> None:
        to = f"news+u.{mark_of(inbox.pk, TO)}@mailbot.localhost"
        assert self.ask(to, sender="eve@evil.example").labels == []
        assert not Suppression.objects.exists()
        assert self.ask(to, sender="Ann <ann@shop.example>", subject="please").labels == ["unsubscribe"]
        assert Suppression.objects.get().address == "ann@shop.example"

    def test_a_link_of_another_inbox_means_nothing(self, alice: Caller, inbox: Inbox, message: dict[str, Any]) -> None:
        alice.create_inbox(username="other")
        subject = parse_qs(urlsplit(ways_of(alice, message)[1]).query)["subject"][0]
        self.ask("other+u.x@mailbot.localhost", subject=subject)
        assert not Suppression.objects.exists()

    def test_other_tags_are_other_mail(self, inbox: Inbox) -> None:
        assert self.ask("news+eu@mailbot.localhost").labels == []
