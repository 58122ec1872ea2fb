"""POST /v1/inboxes/{id}/messages/search and GET /v1/search: the same on both databases"""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings

from inboxes.models import Inbox
from inboxes.permissions import EVENTS_READ
from tests.cast import Caller
from tests.mailing import deliver, mail
from tests.threads.test_search_query import TEXTS, refusal
from threads.models import Message, SearchDocument, SearchProgress
from threads.search_engines import Entry, found_by_index
from threads.search_index import index_batch, waiting


def ask(caller: Caller, inbox: Inbox, query: str, **body: Any) -> Any:
    return caller.post(f"/v1/inboxes/{inbox.pk}/messages/search", {"query": query, **body})


def found(caller: Caller, inbox: Inbox, query: str, **body: Any) -> list[dict[str, Any]]:
    answer = ask(caller, inbox, query, **body)
    assert answer.status_code == 200, answer.content
    return list(answer.json()["data"])


def subjects(caller: Caller, inbox: Inbox, query: str, **body: Any) -> list[str]:
    return [message["subject"] for message in found(caller, inbox, query, **body)]


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="billing")


@pytest.fixture
def shop(alice: Caller, inbox: Inbox) -> Inbox:
    """An inbox with some mail in it."""
    carol = "Carol Müller <carol@shop.example>"
    deliver(mail(Subject="Invoice INV-2041", From=carol, body="Can I pay in two parts?\n"), inbox)
    deliver(mail(Subject="Crème brûlée", From="Straße <dave@bakery.example>", body="The INVOICE is attached.\n",
                 attachments={"Rechnung 2026.pdf": b"%PDF"}), inbox)  # fmt: skip
    deliver(mail(Subject="Your code", From="no-reply@login.example",
                 body="Your verification code is 482913.\nhttps://login.example/verify?token=abc\n"), inbox)  # fmt: skip
    deliver(mail(Subject="会议", From="li@example.cn", body="明天在北京大学开会。\n"), inbox)
    alice.send(
        inbox, to="Erin <erin@partner.example>", cc="frank@partner.example", subject="Quote", body_text="As agreed."
    )
    message = next(m for m in alice.messages(inbox) if m["subject"] == "Your code")
    alice.put(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/labels", {"labels": ["log in", "urgent"]})
    return inbox


ALL = ["Quote", "会议", "Your code", "Crème brûlée", "Invoice INV-2041"]


class TestLanguage:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("invoice", ["Invoice INV-2041", "Crème brûlée"]),
            ("INVOICE", ["Invoice INV-2041", "Crème brûlée"]),
            ("invoice parts", ["Invoice INV-2041"]),
            ("invoic", []),
            ("invoic*", ["Invoice INV-2041", "Crème brûlée"]),
            ('"in two parts"', ["Invoice INV-2041"]),
            ('"two in parts"', []),
            ('"in two par"*', ["Invoice INV-2041"]),
            ("INV-2041", ["Invoice INV-2041"]),
            ("2041", ["Invoice INV-2041"]),
            ("482913", ["Your code"]),
            ("carol@shop.example", ["Invoice INV-2041"]),
            ("shop.example", ["Invoice INV-2041"]),
            ("https://login.example/verify", ["Your code"]),
            ("token=abc", ["Your code"]),
            ("creme brulee", ["Crème brûlée"]),
            ("muller", ["Invoice INV-2041"]),
            ("from:strasse", ["Crème brûlée"]),
            ("rechnung", ["Crème brûlée"]),
            ("2026.pdf", ["Crème brûlée"]),
            ("北京", ["会议"]),
            ("京北", []),
            ("大学开会", ["会议"]),
            ("invoice -parts", ["Crème brûlée"]),
            ('invoice -"in two"', ["Crème brûlée"]),
            ("invoice -from:carol", ["Crème brûlée"]),
            ("-invoice", ["Quote", "会议", "Your code"]),
            ("-(invoice OR code)", ["Quote", "会议"]),
            ("parts OR 482913", ["Your code", "Invoice INV-2041"]),
            ("invoice parts OR attached", ["Invoice INV-2041", "Crème brûlée"]),
            ("(invoice parts) OR 482913", ["Invoice INV-2041", "Your code"]),
            ("from:carol", ["Invoice INV-2041"]),
            ("from:billing", ["Quote"]),
            ("to:erin", ["Quote"]),
            ("to:frank@partner.example", ["Quote"]),
            ('to:"erin frank"', []),
            ("to:carol", []),
            ("subject:invoice", ["Invoice INV-2041"]),
            ("subject:inv*", ["Invoice INV-2041"]),
            ("label:urgent", ["Your code"]),
            ('label:"log in"', ["Your code"]),
            ("label:urg", []),
            ("-label:urgent", ["Quote", "会议", "Crème brûlée", "Invoice INV-2041"]),
            ("has:attachment", ["Crème brûlée"]),
            ("has:code", ["Your code"]),
            ("has:link", ["Your code"]),
            ("-has:link invoice", ["Invoice INV-2041", "Crème brûlée"]),
            ("invoice OR has:code", ["Invoice INV-2041", "Crème brûlée", "Your code"]),
            ("after:2020-01-01", ALL),
            ("before:2020-01-01", []),
            ("before:2020-01-01 OR quote", ["Quote"]),
            ("thread:thread_01m86mjjvsewt8t640x9zpmss7", []),
        ],
    )  # fmt: skip
    def test_it_finds(self, alice: Caller, shop: Inbox, query: str, expected: list[str]) -> None:
        assert subjects(alice, shop, query) == expected
        answer = alice.get("/v1/search", query=query)
        assert [message["subject"] for message in answer.json()["data"]] == expected

    def test_it_knows_threads_and_times(self, alice: Caller, inbox: Inbox) -> None:
        with time_machine.travel(timezone.now() - timedelta(days=2)):
            deliver(mail(Subject="old"), inbox)
        deliver(mail(Subject="new"), inbox)
        new, old = alice.messages(inbox)
        assert subjects(alice, inbox, f"hello thread:{old['thread_id']}") == ["old"]
        assert subjects(alice, inbox, f"hello after:{new['created_at']}") == ["new"]
        assert subjects(alice, inbox, f"hello before:{new['created_at']}") == ["old"]

    def test_it_points_at_what_cannot_be_read(self, alice: Caller, inbox: Inbox) -> None:
        answer = ask(alice, inbox, "invoice form:carol")
        error = answer.json()["error"]
        assert answer.status_code == 400
        assert error["position"] == 8
        assert error["excerpt"] == "invoice form:carol\n        ^"
        assert "Did you mean “from:”" in error["fields"]["query"][0]
        assert "one of from, to" in error["fix"]
        assert alice.get("/v1/search", query="(a").json()["error"]["position"] == 0

    @pytest.mark.parametrize(
        "body",
        [{}, {"query": ""}, {"query": None}, {"query": ["a"]}, {"query": "a" * 1001}, {"query": "a\0"}, {"query": "a", "limit": 0},
         {"query": "a", "limit": 101}, {"query": "a", "cursor": "!"}, {"query": "a", "cursor": "W10"}, {"query": "a", "qury": 1},
         {"query": "a", "cursor": "WzAsIjAwMDEtMDEtMDFUMDA6MDA6MDArMTQ6MDAiLDFd"}],
    )  # fmt: skip
    def test_it_refuses(self, alice: Caller, inbox: Inbox, body: dict[str, Any]) -> None:
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages/search", body)
        assert answer.status_code == 400
        assert answer.json()["error"]["fields"]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(TEXTS.filter(lambda text: "\0" not in text))
    def test_it_answers_whatever_can_be_read(self, alice: Caller, inbox: Inbox, text: str) -> None:
        if not SearchDocument.objects.exists():
            deliver(mail(Subject="Straße 北京 é", body="a link OR 2026-11-24 x@y.z ﷺ 한글\n"), inbox)
        answer = ask(alice, inbox, text)
        refused = refusal(text) is not None or not text.strip()
        assert answer.status_code == (400 if refused else 200), answer.content


class TestRank:
    def test_it_weighs_where_a_word_stands_and_then_how_new_it_is(self, alice: Caller, inbox: Inbox) -> None:
        deliver(mail(Subject="old", body="About the parcel.\n"), inbox)
        deliver(mail(Subject="Parcel", body="Nothing.\n"), inbox)
        deliver(mail(Subject="sender", From="Parcel Service <a@b.example>"), inbox)
        deliver(mail(Subject="new", body="parcel parcel parcel\n"), inbox)
        deliver(mail(Subject="Parcel both", body="parcel\n"), inbox)
        ranked = found(alice, inbox, "parcel")
        assert [m["subject"] for m in ranked] == ["Parcel both", "Parcel", "sender", "new", "old"]
        assert [m["score"] for m in ranked] == [9, 8, 4, 1, 1]

    def test_it_shows_where_the_words_stand(self, alice: Caller, inbox: Inbox) -> None:
        body = "First line <b>& more</b> of it.\n" + "word " * 100 + "The Überweisung came.\n"
        deliver(mail(Subject="Re: Uberweisung", From="Über Weg <a@b.example>", body=body), inbox)
        (message,) = found(alice, inbox, "uberweisung OR uber OR more")
        assert message["highlights"][0] == {"field": "subject", "text": "Re: <mark>Uberweisung</mark>"}
        assert message["highlights"][1] == {"field": "from", "text": "<mark>Über</mark> Weg &lt;a@b.example&gt;"}
        first, second = message["highlights"][2:]
        assert first["field"] == second["field"] == "body"
        assert first["text"].startswith("First line &lt;b&gt;&amp; <mark>more</mark>&lt;/b&gt; of it.")
        assert second["text"].startswith("…word word")
        assert second["text"].rstrip().endswith("The <mark>Überweisung</mark> came.")

    def test_it_marks_phrases_beginnings_and_fields_only_there(self, alice: Caller, inbox: Inbox) -> None:
        deliver(mail(Subject="paid in parts", body="In two parts, or in one.\n"), inbox)
        (message,) = found(alice, inbox, '"in two" subject:par* -never')
        assert message["highlights"] == [
            {"field": "subject", "text": "paid in <mark>parts</mark>"},
            {"field": "body", "text": "<mark>In two</mark> parts, or in one. "},
        ]


class TestPaging:
    def test_it_gives_every_match_once_though_mail_arrives(
        self, alice: Caller, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("threads.search.RANKED", 4)
        for number in range(11):
            deliver(mail(Subject=f"hit {number}" if number % 3 else f"{number}", body="a hit\n"), inbox)
        seen, cursor, totals = [], None, []
        while True:
            answer = ask(alice, inbox, "hit", limit=3, **({"cursor": cursor} if cursor else {})).json()
            seen += [message["subject"].removeprefix("hit ") for message in answer["data"]]
            totals.append((answer["meta"]["total"], answer["meta"].get("total_is_exact", True)))
            cursor = answer["meta"]["next_cursor"]
            if cursor is None:
                break
            deliver(mail(Subject="hit too late", body="a hit\n"), inbox)
        assert seen == ["10", "8", "7", "9", "5", "4", "6", "3", "2", "1", "0"]
        assert totals[0] == (4, False)
        assert totals[-1] == (11, True)

    def test_it_counts(self, alice: Caller, shop: Inbox) -> None:
        meta = ask(alice, shop, "invoice", limit=1).json()["meta"]
        cursor = meta.pop("next_cursor")
        assert meta == {"page": 1, "limit": 1, "total": 2, "not_yet_indexed": 0}
        answer = ask(alice, shop, "invoice", limit=1, cursor=cursor).json()
        assert [message["subject"] for message in answer["data"]] == ["Crème brûlée"]
        assert answer["meta"]["next_cursor"] is None

    def test_it_costs_the_same_number_of_queries_for_any_number_of_matches(
        self, alice: Caller, shop: Inbox, django_assert_max_num_queries: Any
    ) -> None:
        found(alice, shop, "invoice")
        with django_assert_max_num_queries(
            8
        ):  # key, inbox, what is new, matches, messages, attachments, what is left, the entry
            found(alice, shop, "invoice OR code OR 会议")


class TestIsolation:
    def test_it_finds_nothing_of_others(self, alice: Caller, bob: Caller, charlie: Caller, shop: Inbox) -> None:
        other = bob.create_inbox()
        deliver(mail(Subject="of Bob", body="invoice\n"), other)
        live = alice.with_key(mode="live")
        narrow = alice.with_key(inbox=shop)
        stranger = charlie.create_inbox()
        deliver(mail(Subject="of Charlie", body="invoice\n"), stranger)
        assert ask(charlie, shop, "invoice").status_code == 404
        assert ask(live, shop, "invoice").status_code == 404
        assert ask(narrow, other, "invoice").status_code == 404

        def everywhere(caller: Caller) -> list[str]:
            return [message["subject"] for message in caller.get("/v1/search", query="invoice").json()["data"]]

        assert everywhere(bob) == ["Invoice INV-2041", "of Bob", "Crème brûlée"]
        assert everywhere(narrow) == ["Invoice INV-2041", "Crème brûlée"]
        assert everywhere(charlie) == ["of Charlie"]
        assert everywhere(live) == []

    def test_it_takes_the_right_to_read_messages(self, alice: Caller, shop: Inbox) -> None:
        blind = alice.with_key(permissions=[EVENTS_READ])
        assert ask(blind, shop, "invoice").status_code == 403
        assert blind.get("/v1/search", query="invoice").status_code == 403

    def test_it_ranks_without_regard_to_mail_of_others(self, alice: Caller, charlie: Caller, shop: Inbox) -> None:
        query = "invoice OR code OR parts"
        before = [(m["id"], m["score"]) for m in found(alice, shop, query)]
        stranger = charlie.create_inbox()
        for _ in range(20):
            deliver(mail(Subject="invoice", body="invoice invoice invoice\n"), stranger)
        found(charlie, stranger, "invoice")
        assert [(m["id"], m["score"]) for m in found(alice, shop, query)] == before


class TestIndex:
    def test_it_knows_at_once_what_has_just_come(self, alice: Caller, inbox: Inbox) -> None:
        deliver(mail(Subject="first"), inbox)
        assert subjects(alice, inbox, "first") == ["first"]
        deliver(mail(Subject="second"), inbox)
        alice.send(inbox, subject="third", body_html="<p>only <b>html</b></p>")
        assert subjects(alice, inbox, "second") == ["second"]
        assert subjects(alice, inbox, "only html") == ["third"]

    def test_it_is_filled_by_the_worker_newest_first_and_once(self, alice: Caller, inbox: Inbox) -> None:
        for number in range(5):
            deliver(mail(Subject=f"number {number}"), inbox)
        as_if_there_before(inbox)
        deliver(mail(Subject="number 5"), inbox)
        answer = ask(alice, inbox, "number").json()
        assert [message["subject"] for message in answer["data"]] == ["number 5"]
        assert answer["meta"]["not_yet_indexed"] == 5
        assert index_batch(most=2) == 2
        assert subjects(alice, inbox, "number") == ["number 5", "number 4", "number 3"]
        while index_batch(most=2):
            pass
        assert subjects(alice, inbox, "number") == [f"number {number}" for number in range(5, -1, -1)]
        assert SearchDocument.objects.count() == 6
        assert waiting() == 0

    def test_it_is_filled_by_a_command(self, alice: Caller, inbox: Inbox, capsys: pytest.CaptureFixture[str]) -> None:
        for number in range(3):
            deliver(mail(Subject=f"number {number}"), inbox)
        as_if_there_before(inbox)
        call_command("index_messages")
        assert "3 messages indexed." in capsys.readouterr().out
        assert len(found(alice, inbox, "number")) == 3

    def test_it_is_erased_with_the_inbox(self, alice: Caller, shop: Inbox) -> None:
        found(alice, shop, "invoice")
        alice.delete(f"/v1/inboxes/{shop.pk}?purge=true")
        assert SearchDocument.objects.count() == 0
        assert subjects(alice, shop, "invoice") == []
        assert entries_in_index("invoice", shop) == 0
        assert waiting() == 0

    def test_it_still_finds_in_a_deleted_inbox(self, alice: Caller, shop: Inbox) -> None:
        alice.delete(f"/v1/inboxes/{shop.pk}")
        assert len(found(alice, shop, "invoice")) == 2

    def test_it_answers_when_nothing_can_be_written(
        self, alice: Caller, shop: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found(alice, shop, "invoice")
        deliver(mail(Subject="new invoice"), shop)

        def fail(*_: object) -> None:
            raise DatabaseError("disk full")

        monkeypatch.setattr("threads.search_index.bulk_insert", fail)
        answer = ask(alice, shop, "invoice").json()
        assert len(answer["data"]) == 2
        assert answer["meta"]["not_yet_indexed"] == 1

    @pytest.mark.parametrize(
        "body",
        ["x" * 3000 + "\n", "".join(chr(0x3400 + n % 20_000) for n in range(60_000)), "e" + "\u0301" * 60_000, "\u200d" * 5000,
         " ".join(f"{n:x}" for n in range(40_000))],
        ids=["long", "ideographs", "marks", "joiners", "different"],
    )  # fmt: skip
    def test_it_takes_any_text(self, alice: Caller, inbox: Inbox, body: str) -> None:
        deliver(mail(Subject="odd", body=body, attachments={"odd.txt": b"x"}), inbox)
        assert subjects(alice, inbox, "odd") == ["odd"]
        assert subjects(alice, inbox, "odd.txt") == ["odd"]


def as_if_there_before(inbox: Inbox) -> None:
    """As the migration leaves mail that was there before search was."""
    SearchDocument.objects.all().delete()
    count = Message.objects.filter(inbox=inbox).count()
    SearchProgress.objects.update_or_create(
        inbox=inbox, defaults={"account_id": inbox.account_id, "oldest": count + 1, "newest": count}
    )


def entries_in_index(word: str, inbox: Inbox) -> int:
    subquery = found_by_index([inbox.pk], Entry(word, False))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({subquery.sql}) AS entries", subquery.params)
        return int(cursor.fetchone()[0])
