"""Opens and clicks as this server sees them: the pixel, the links, and what is kept of who asked. docs/engagement.md"""

import email
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from delivery.engagement import noting, tokens
from delivery.esps import ESPS
from delivery.esps.base import Tracks
from delivery.models import OutboundMail
from delivery.outbound.messages import anymail_message
from inboxes.models import Inbox
from tests.cast import Caller, run_workers

PAGE = (
    '<html><body><a href="https://shop.example/invoice?a=1&amp;b=2#pay">Pay</a> <a href="mailto:a@b.example">Write</a>'
    ' <a href="#top">Top</a> <a href="https://shop.example/unsubscribe/7">No more</a></body></html>'
)
TARGET = "https://shop.example/invoice?a=1&b=2#pay"
READER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0"


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(track_opens=True, track_clicks=True)


@pytest.fixture
def reader() -> Client:
    """Nobody in particular, with what every mail program sends."""
    return Client(headers={"User-Agent": READER})


def page_of(caller: Caller, inbox: Inbox, message: dict[str, Any]) -> str:
    """The HTML as it leaves."""
    raw = caller.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content
    part: Any = email.message_from_bytes(raw, policy=email.policy.default).get_body(("html",))
    return str(part.get_content()) if part else ""


def pixel_in(page: str) -> str:
    (found,) = re.findall(r'<img src="([^"]+/t/o/[^"]+\.gif)"', page)
    return urlsplit(str(found)).path


def link_in(page: str) -> str:
    (found,) = re.findall(r'href="([^"]+/t/c/[^"]+)"', page)
    return urlsplit(str(found)).path


def send(caller: Caller, inbox: Inbox, **body: Any) -> tuple[dict[str, Any], str]:
    """A mail that left some minutes ago, and its HTML."""
    with time_machine.travel(timezone.now() - timedelta(minutes=5)):
        message = caller.send(inbox, to="ann@example.com", **{"body_text": "Pay", "body_html": PAGE, **body})
        run_workers()
    return message, page_of(caller, inbox, message)


def events(caller: Caller, **query: Any) -> list[dict[str, Any]]:
    return list(caller.get("/v1/engagement/events", **query).json()["data"])


class TestPage:
    def test_it_is_off_by_default(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        shown = alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]
        assert (shown["track_opens"], shown["track_clicks"]) == (False, False)
        assert send(alice, inbox)[1].strip() == PAGE

    def test_links_lead_by_way_of_this_server_and_a_pixel_stands_at_the_end(self, alice: Caller, inbox: Inbox) -> None:
        message, page = send(alice, inbox)
        assert page.count("/t/c/") == page.count("/t/o/") == 1
        assert page.index("/t/o/") < page.index("</body>")
        for untouched in ('"mailto:a@b.example"', '"#top"', '"https://shop.example/unsubscribe/7"'):
            assert untouched in page
        assert message["body_html"] == PAGE  # the message keeps what its author wrote

    def test_text_is_not_touched(self, alice: Caller, inbox: Inbox) -> None:
        message, _ = send(alice, inbox, body_text=f"See {TARGET}")
        raw = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content
        assert TARGET.encode() in raw
        text_only, _ = send(alice, inbox, body_text=f"See {TARGET}", body_html=None)
        assert b"/t/" not in alice.get(f"/v1/inboxes/{inbox.pk}/messages/{text_only['id']}/raw").content

    def test_a_mail_says_otherwise(self, alice: Caller, inbox: Inbox) -> None:
        assert "/t/o/" not in send(alice, inbox, track_opens=False)[1]
        plain = alice.create_inbox()
        page = send(alice, plain, track_opens=True)[1]
        assert ("/t/o/" in page, "/t/c/" in page) == (True, False)

    def test_an_inbox_is_changed(self, alice: Caller, inbox: Inbox) -> None:
        changed = alice.patch(f"/v1/inboxes/{inbox.pk}", {"track_opens": False, "track_clicks": False})
        assert changed.json()["data"]["track_clicks"] is False
        assert send(alice, inbox)[1].strip() == PAGE

    def test_what_is_no_plain_url_is_left_alone(self, alice: Caller, inbox: Inbox) -> None:
        urls = ["javascript:alert(1)", "https://", "https://a.example/\\x", "https://ä.example/", "ftp://a.example/"]
        urls += [f"https://a.example/{'x' * 1500}", "https://a.example/a b", "//a.example/"]
        page = "".join(f'<a href="{url}">x</a>' for url in urls)
        assert "/t/c/" not in send(alice, inbox, body_html=page)[1]


class TestPixel:
    def test_an_open_is_an_event(self, alice: Caller, inbox: Inbox, reader: Client) -> None:
        message, page = send(alice, inbox)
        answer = reader.get(pixel_in(page))
        assert (answer.status_code, answer["Content-Type"], answer.content[:6]) == (200, "image/gif", b"GIF89a")
        (event,) = events(alice, event="opened")
        assert (event["message_id"], event["recipient"], event["type"]) == (
            message["id"],
            "ann@example.com",
            "message.opened",
        )
        assert event["data"] == {
            "source": "mailbot",
            "user_agent": READER,
            "probably_machine": False,
            "machine_signs": [],
        }

    def test_it_is_not_kept_by_anybody_and_keeps_nothing(self, alice: Caller, inbox: Inbox, reader: Client) -> None:
        answer = reader.get(pixel_in(send(alice, inbox)[1]))
        assert "no-store" in answer["Cache-Control"]
        assert answer["Referrer-Policy"] == "no-referrer"
        assert not answer.cookies

    def test_with_several_recipients_nobody_knows_who(self, alice: Caller, inbox: Inbox, reader: Client) -> None:
        _, page = send(alice, inbox, cc="bob@example.com")
        reader.get(pixel_in(page))
        assert [event["recipient"] for event in events(alice, event="opened")] == [""]

    def test_a_message_gets_so_many_and_no_more(
        self, alice: Caller, inbox: Inbox, reader: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(noting, "MOST", 3)
        path = pixel_in(send(alice, inbox)[1])
        assert {reader.get(path).status_code for _ in range(5)} == {200}
        assert len(events(alice, event="opened")) == 3

    def test_trouble_with_the_database_is_not_the_readers(
        self, alice: Caller, inbox: Inbox, reader: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = send(alice, inbox)[1]

        def broken(*_: Any) -> Any:
            raise OperationalError("away")

        monkeypatch.setattr(noting, "_mail", broken)
        assert reader.get(pixel_in(page)).status_code == 200
        assert reader.get(link_in(page)).status_code == 302


class TestLink:
    def test_it_leads_exactly_there_and_is_an_event(self, alice: Caller, inbox: Inbox, reader: Client) -> None:
        message, page = send(alice, inbox)
        answer = reader.get(link_in(page))
        assert (answer.status_code, answer["Location"]) == (302, TARGET)
        assert (answer["Referrer-Policy"], "no-store" in answer["Cache-Control"]) == ("no-referrer", True)
        (event,) = events(alice, event="clicked")
        assert (event["message_id"], event["data"]["url"]) == (message["id"], TARGET)

    def test_head_follows_it_and_counts_for_nothing(self, alice: Caller, inbox: Inbox, reader: Client) -> None:
        page = send(alice, inbox)[1]
        assert reader.head(link_in(page))["Location"] == TARGET
        assert reader.head(pixel_in(page)).status_code == 200
        assert reader.post(link_in(page)).status_code == 405
        assert events(alice, event="clicked") == events(alice, event="opened") == []

    def test_it_leads_nowhere_else(self, alice: Caller, inbox: Inbox, reader: Client) -> None:
        page = send(alice, inbox)[1]
        path, pixel = link_in(page), pixel_in(page)
        token = path.rpartition("/")[2]
        changed = [
            token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
            for place in range(len(token) - 1)
        ]
        wrong = [*changed, token[:-4], f"{token}AAAA", "", "x", "https:", "ä", token + "=" * 9, pixel[5:-4]]
        for text in wrong:
            answer = reader.get(f"/t/c/{text}")
            assert (answer.status_code, answer.headers.get("Location")) == (404, None), text
        assert reader.get(f"/t/o/{token}.gif").status_code == 404
        assert events(alice, event="clicked") == []

    def test_it_still_leads_there_when_the_message_is_gone(self, alice: Caller, inbox: Inbox, reader: Client) -> None:
        page = send(alice, inbox)[1]
        alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
        assert reader.get(link_in(page))["Location"] == TARGET
        assert reader.get(pixel_in(page)).status_code == 200
        assert events(alice, event="clicked") == []

    def test_it_outlives_a_change_of_keys(self, alice: Caller, inbox: Inbox, reader: Client, settings: Any) -> None:
        path = link_in(send(alice, inbox)[1])
        settings.ENCRYPTION_KEYS = ["new", *settings.ENCRYPTION_KEYS]
        assert reader.get(path)["Location"] == TARGET
        settings.ENCRYPTION_KEYS = ["new"]
        assert reader.get(path).status_code == 404


class TestMachines:
    @pytest.mark.parametrize(
        ("agent", "headers", "sign"),
        [
            ("", {}, "no_user_agent"),
            ("Mozilla/5.0", {}, "privacy_proxy"),
            ("Mozilla/5.0 (Windows NT 5.1) Firefox/11.0 (via ggpht.com GoogleImageProxy)", {}, "image_proxy"),
            ("Mozilla/5.0 (compatible; Googlebot/2.1)", {}, "program"),
            ("curl/8.5.0", {}, "program"),
            (READER, {"Sec-Purpose": "prefetch;prerender"}, "prefetch"),
            (READER, {"X-Moz": "prefetch"}, "prefetch"),
        ],
    )
    def test_they_are_known_by_what_they_say(
        self, alice: Caller, inbox: Inbox, agent: str, headers: dict[str, str], sign: str
    ) -> None:
        path = pixel_in(send(alice, inbox)[1])
        Client(headers={**headers, "User-Agent": agent}).get(path)
        (event,) = events(alice, event="opened")
        assert (event["data"]["probably_machine"], event["data"]["machine_signs"]) == (True, [sign])

    def test_they_are_known_by_how_soon_they_come(self, alice: Caller, inbox: Inbox, reader: Client) -> None:
        message = alice.send(inbox, body_html=PAGE)
        run_workers()
        reader.get(link_in(page_of(alice, inbox, message)))
        assert events(alice, event="clicked")[0]["data"]["machine_signs"] == ["too_soon"]

    def test_they_open_and_click_nothing(self, alice: Caller, inbox: Inbox, reader: Client) -> None:
        page = send(alice, inbox)[1]
        Client(headers={"User-Agent": "curl/8"}).get(link_in(page))
        reader.get(link_in(page))
        counts = alice.get("/v1/engagement/stats", inbox_id=inbox.pk).json()["data"]["counts"]
        assert (counts["clicked"], counts["clicked_by_machine"], counts["messages_clicked"]) == (1, 1, 1)


class TestEsps:
    """Who tracks is asked to; the others get our pixel and links."""

    @pytest.fixture
    def live(self, alice: Caller) -> Caller:
        return alice.with_key(mode="live")

    def sent(self, live: Caller, esp: str, credentials: dict[str, str]) -> tuple[OutboundMail, str]:
        provider = {"name": esp, "esp": esp, "is_default": True, "credentials": credentials}
        assert live.post("/v1/providers", provider).status_code == 201
        inbox = live.create_inbox(track_opens=True, track_clicks=True)
        message = live.send(inbox, body_html=PAGE)
        return OutboundMail.objects.get(), page_of(live, inbox, message)

    def test_one_that_tracks_is_asked_to(self, live: Caller) -> None:
        mail, page = self.sent(live, "postmark", {"server_token": "secret"})
        assert ("/t/o/" in page, "/t/c/" in page, mail.track_opens) == (False, False, True)
        message: Any = anymail_message(mail, list(mail.recipients.all()), ESPS["postmark"].tracks)
        assert (message.track_opens, message.track_clicks) == (True, True)

    def test_one_that_does_not_is_not(self, live: Caller) -> None:
        mail, page = self.sent(live, "resend", {"api_key": "secret", "signing_secret": "whsec_c2VjcmV0"})
        assert ("/t/o/" in page, "/t/c/" in page, mail.track_opens) == (True, True, False)
        message: Any = anymail_message(mail, list(mail.recipients.all()), ESPS["resend"].tracks)
        assert not hasattr(message, "track_opens")
        assert not hasattr(message, "track_clicks")

    def test_one_in_whose_place_another_tracks_sees_nothing_twice(self, live: Caller) -> None:
        mail, _ = self.sent(live, "resend", {"api_key": "secret", "signing_secret": "whsec_c2VjcmV0"})
        message: Any = anymail_message(mail, list(mail.recipients.all()), frozenset(Tracks))
        assert not hasattr(message, "track_opens")
        assert not hasattr(message, "track_clicks")

    def test_anymail_can_be_asked_for_each_that_tracks(self) -> None:
        """An ESP without the method would refuse the mail."""
        from django.utils.module_loading import import_string

        for esp in ESPS.values():
            payload = esp.backend.rpartition(".")[0] + ".EmailBackend"
            if not esp.tracks:
                continue
            module = __import__(import_string(payload).__module__, fromlist=["*"])
            classes = [
                value for name, value in vars(module).items() if name.endswith("Payload") and name != "RequestsPayload"
            ]
            for what in ("set_track_opens", "set_track_clicks"):
                assert any(what in vars(kind) for kind in classes if isinstance(kind, type)), (esp.key, what)


class TestTokens:
    def test_one_of_another_kind_is_none(self) -> None:
        assert tokens.read(tokens.CLICK, tokens.token(tokens.OPEN, "msg_01m86mzz3xeg3s5qpn0yjgh6ce")) is None

    def test_it_gives_back_what_went_in(self) -> None:
        name = "msg_01m86mzz3xeg3s5qpn0yjgh6ce"
        assert tokens.read(tokens.CLICK, tokens.token(tokens.CLICK, name, TARGET)) == (name, TARGET)
