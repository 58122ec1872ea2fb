"""Suppressions in the console: read, added, imported, removed."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from audit.models import AuditEntry
from delivery.models import Suppression
from inboxes.models import Account, Inbox
from tests.cast import Caller
from tests.console import HOSTILE, act, console, list_of, page_of, person, queries_for

pytestmark = pytest.mark.one_profile

ADD, IMPORT = "/admin/delivery/suppression/add/", "/admin/delivery/suppression/import/"


@pytest.fixture
def operator(acme: Account) -> Any:
    return console(person("olga", acme))


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="support")


def body(account: Account, **given: Any) -> dict[str, Any]:
    return {"account": account.pk, "mode": "test", "address": "ann@shop.example", "reason": "She called.", **given}


def entry(caller: Caller, address: str = "ann@shop.example", **given: Any) -> Suppression:
    answer = caller.post("/v1/suppressions", {"address": address, **given})
    return Suppression.objects.get(pk=answer.json()["data"]["id"])


class TestAdding:
    def test_it_adds_for_an_inbox_with_an_end(self, acme: Account, operator: Any, inbox: Inbox) -> None:
        answer = operator.post(ADD, body(acme, inbox=inbox.address, expires_at="2099-01-01T00:00"))
        added = Suppression.objects.get()
        assert answer.url == page_of(added)
        assert (added.inbox, added.cause, added.created_by["name"]) == (inbox, "manual", "olga")
        assert added.expires_at is not None
        assert AuditEntry.objects.get(act="suppression.added").actor_name == "olga"

    def test_it_adds_for_a_domain(self, acme: Account, operator: Any) -> None:
        operator.post(ADD, body(acme, domain="Mailbot.localhost"))
        assert Suppression.objects.get().domain == "mailbot.localhost"

    @pytest.mark.parametrize(
        "given",
        [
            {"address": "x"},
            {"reason": ""},
            {"expires_at": "2020-01-01T00:00"},
            {"inbox": "no@such.example"},
            {"inbox": "a@b.example", "domain": "b.example"},
        ],
    )
    def test_it_says_what_is_wrong(self, acme: Account, operator: Any, given: dict[str, str]) -> None:
        assert operator.post(ADD, body(acme, **given)).status_code == 400
        assert not Suppression.objects.exists()

    def test_it_is_filled_in_from_the_page_of_an_inbox(self, operator: Any, inbox: Inbox) -> None:
        page = operator.get(page_of(inbox)).content.decode()
        assert f"{ADD}?inbox={inbox.pk}" in page
        assert f"/admin/delivery/suppression/?inbox={inbox.pk}" in page
        assert inbox.address in operator.get(f"{ADD}?inbox={inbox.pk}").content.decode()


class TestImporting:
    def file(self, content: bytes) -> SimpleUploadedFile:
        return SimpleUploadedFile("old.csv", content)

    def test_it_says_what_became_of_it(self, acme: Account, operator: Any, inbox: Inbox) -> None:
        content = b"email,cause\nann@shop.example,bounce\n<b>nobody</b>,\n"
        answer = operator.post(IMPORT, body(acme, inbox=inbox.pk, file=self.file(content)))
        page = answer.content.decode()
        assert (answer.status_code, "&lt;b&gt;nobody" in page) == (200, True)
        assert Suppression.objects.get().cause == "hard_bounce"
        assert AuditEntry.objects.get(act="suppression.imported").changes["source"] == "console"

    @pytest.mark.parametrize("content", [b"\xff\xfe", b'["x"', b"a@b.example\n" * 10_001])
    def test_it_says_what_it_cannot_read(self, acme: Account, operator: Any, content: bytes) -> None:
        assert operator.post(IMPORT, body(acme, file=self.file(content))).status_code == 400
        assert not Suppression.objects.exists()

    @pytest.mark.parametrize(("role", "status"), [("owner", 200), ("operator", 200), ("reviewer", 404)])
    def test_who_may(self, acme: Account, role: str, status: int) -> None:
        assert console(person("visitor", acme, role)).get(IMPORT).status_code == status

    def test_nobody_imports_for_another_account(self, charlie: Caller, operator: Any) -> None:
        answer = operator.post(IMPORT, body(charlie.account, file=self.file(b"ann@shop.example")))
        assert answer.status_code == 400
        assert not Suppression.objects.exists()


class TestPages:
    def test_removing_asks_for_a_reason(self, alice: Caller, operator: Any) -> None:
        found = entry(alice)
        assert "asked for no more mail" in act(operator, "remove_suppressions", found).content.decode()
        act(operator, "remove_suppressions", found, reason="")
        assert Suppression.objects.exists()
        act(operator, "remove_suppressions", found, reason="She asked.")
        assert not Suppression.objects.exists()
        assert AuditEntry.objects.get(act="suppression.removed").changes["reason"] == "She asked."

    def test_it_finds(self, alice: Caller, operator: Any, inbox: Inbox) -> None:
        entry(alice, "ann@shop.example", inbox_id=inbox.pk, cause="complaint")
        entry(alice, "ben@shop.example")
        for query in ("q=ann", f"inbox={inbox.pk}", "cause=complaint", "scope=inbox", f"q={inbox.pk}"):
            page = operator.get(f"/admin/delivery/suppression/?{query}").content.decode()
            assert ("ann@shop.example" in page, "ben@shop.example" in page) == (True, False), query

    def test_a_list_asks_the_same_however_long_it_is(self, alice: Caller, operator: Any, inbox: Inbox) -> None:
        first = entry(alice, "a0@shop.example", inbox_id=inbox.pk)
        few = queries_for(operator, list_of(first))
        for number in range(1, 10):
            entry(alice, f"a{number}@shop.example", inbox_id=inbox.pk)
        assert queries_for(operator, list_of(first)) == few

    def test_what_strangers_write_stays_text(self, alice: Caller, operator: Any) -> None:
        found = entry(alice, reason=HOSTILE[:400].replace("\u202e", ""))
        for path in (list_of(found), page_of(found)):
            assert "<script>alert" not in operator.get(path).content.decode()
