"""A person in every place that we can think of, erased: nothing of her is left in the database, nor in the object store"""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from audit.exports import expire_exports
from audit.verifying import verify
from delivery.erasing import working
from delivery.models import Erasure, InboundMail, ProviderEvent, RawObject, Suppression
from delivery.raw_mover import move_batch
from inboxes.models import Account, AddressRule, Inbox, Provider
from tests.audit.bundles import ask as ask_for_export
from tests.audit.bundles import download, verified
from tests.audit.bundles import make as make_exports
from tests.cast import Caller, run_workers
from tests.delivery.erasing.traces import ask, erase, places, work
from tests.mailing import deliver, mail
from tests.stores import Store
from threads.models import Attachment, Message, Thread
from threads.search_index import index_batch

pytestmark = pytest.mark.django_db(transaction=True)

CAROL = "carol.jones@shop.example"
# In the ways in which people write it.
SPELLINGS = ("Carol.Jones@Shop.Example", "CAROL.JONES@SHOP.EXAMPLE", "carol.jones%40shop.example")
WORDS = ("quillfeather", "subjectmarker", "bodymarker", "filemarker", "namemarker", "repliedmarker", "testmarker")
MARKERS = (CAROL, "carol.jones%40shop.example", *WORDS)
# Where she may still be named: docs/erasure.md says why.
ALLOWED = {"inboxes_addressrule.pattern"}


@pytest.fixture
def alice(acme: Account) -> Caller:
    return Caller(acme, "Alice", mode="live")


@pytest.fixture
def inbox(alice: Caller, store: Store) -> Inbox:
    return alice.create_inbox(username="support")


@pytest.fixture
def everywhere(alice: Caller, bob: Caller, inbox: Inbox, store: Store) -> Iterator[dict[str, Any]]:
    """Carol wrote, was written to, is named in rows, calls, answers, entries and exports; in live and test inboxes, one of them deleted."""
    in_test, ended = bob.create_inbox(username="trial"), alice.create_inbox(username="sales")
    told = mail(
        From=f"Carol Quillfeather <{SPELLINGS[0]}>",
        Subject="subjectmarker of hers",
        Message_ID="<carol-1@shop.example>",
        body="bodymarker\n",
        html="<p>bodymarker</p>",
        attachments={"namemarker.txt": b"filemarker"},
    )
    deliver(told, inbox, envelope_sender=SPELLINGS[1])
    deliver(told, inbox, envelope_sender=SPELLINGS[1])  # it came again
    deliver(mail(From="Dave <dave@other.example>", Cc=CAROL, Subject="subjectmarker cc", body="bodymarker\n"), ended)
    deliver(mail(From=CAROL, Subject="testmarker", body="bodymarker\n"), in_test, envelope_sender=CAROL)
    for message in alice.messages(inbox):
        path = f"/v1/inboxes/{inbox.pk}/messages/{message['id']}"
        alice.get(path)
        alice.get(f"{path}/raw")
        alice.put(f"{path}/labels", {"labels": ["namemarker"]})
        alice.post(
            f"{path}/reply",
            {"body_text": "repliedmarker", "force": True},
            headers={"Idempotency-Key": "reply"},
        )
    alice.post(
        f"/v1/inboxes/{ended.pk}/messages",
        {
            "to": [f"Carol Quillfeather <{CAROL}>", "dave@other.example"],
            "subject": "subjectmarker",
            "body_text": "bodymarker",
        },
        headers={"Idempotency-Key": "send"},
    )
    assert alice.get("/v1/search", query=f"from:{SPELLINGS[0]}").status_code == 200
    run_workers()
    while index_batch():
        pass
    move_batch(older_than=timedelta())  # some raw mail is in the store, some comes later and is in its row
    deliver(mail(From=CAROL, Subject="subjectmarker late", body="bodymarker\n"), inbox, envelope_sender=CAROL)
    for body in ({}, {"inbox_id": inbox.pk}):
        alice.post("/v1/suppressions", {"address": SPELLINGS[1], "reason": f"{CAROL} asked", **body})
    for pattern in (CAROL, "elsewhere.example"):
        alice.post("/v1/lists/receive/block", {"pattern": pattern, "note": f"as {SPELLINGS[0]} asked"})
    deliver(mail(From=CAROL, Subject="subjectmarker blocked", body="bodymarker\n"), inbox, envelope_sender=CAROL)
    alice.patch(f"/v1/inboxes/{inbox.pk}", {"metadata": {"customer": SPELLINGS[0]}, "display_name": CAROL})
    alice.post(f"/v1/inboxes/{inbox.pk}/pause", {"reason": f"<{CAROL}> complains"})
    alice.post(f"/v1/inboxes/{inbox.pk}/resume", {"reason": f"mailto:{SPELLINGS[2]} is fine"})
    Caller(alice.account, f"agent of {CAROL}", "live").get("/v1/inboxes")
    _provider_events(alice.account)
    _shared_provider_event(inbox)
    InboundMail.objects.filter(pk=InboundMail.objects.earliest("pk").pk).update(error=f"from {CAROL}")
    alice.delete(f"/v1/inboxes/{ended.pk}")
    exports = [
        ask_for_export(alice, include=["messages", "threads"], reason=f"Complaint of {CAROL}")["id"],
        ask_for_export(alice, inbox_id=inbox.pk)["id"],
    ]
    make_exports()
    yield {"inbox": inbox, "ended": ended, "in_test": in_test, "exports": exports}
    cache.clear()


def _provider_events(account: Account) -> None:
    provider = Provider(account=account, name=f"for {CAROL}", esp="postmark")
    provider.credentials = {"server_token": "x"}
    provider.save()
    for number, state in enumerate(("processed", "unmatched")):
        ProviderEvent.objects.create(
            provider=provider,
            kind="tracking",
            key=f"key {number}",
            type="bounced",
            recipient=SPELLINGS[0],
            reason=f"550 5.1.1 <{SPELLINGS[0]}> no such user",
            payload={"Recipient": SPELLINGS[1], "Subject": "subjectmarker"},
            state=state,
            processed_at=timezone.now(),
        )


def _shared_provider_event(inbox: Inbox) -> None:
    """Mail that came in by a provider that all accounts share."""
    provider = Provider.objects.create(name="Everybody's", esp="mailgun")
    ProviderEvent.objects.create(
        provider=provider,
        kind="inbound",
        key="shared",
        recipient=inbox.address,
        payload={"from": SPELLINGS[0], "body-plain": "bodymarker"},
        state="failed",
        processed_at=timezone.now(),
    )


class TestErasing:
    def test_nothing_is_left_of_her(self, alice: Caller, everywhere: dict[str, Any], store: Store) -> None:
        assert len(places(store, MARKERS)) > 20
        told = erase(alice, SPELLINGS[0])
        assert places(store, MARKERS) <= ALLOWED
        assert told["counts"]["messages"] >= 7
        assert Erasure.objects.get().sealed == ""

    def test_what_the_dry_run_lists_is_what_goes(self, alice: Caller, everywhere: dict[str, Any], store: Store) -> None:
        before = places(store, MARKERS)
        plan = ask(alice, CAROL, dry_run=True)
        assert places(store, MARKERS) == before
        counts = erase(alice, CAROL)["counts"]
        assert counts["messages"] == plan["messages"]["count"] == sum(i["count"] for i in plan["messages"]["by_inbox"])
        assert counts["attachments"] == plan["attachments"] == 1
        assert counts["recipients"] == plan["recipients"] == 3
        assert counts["suppressions"] == len(plan["suppressions"]) == 2
        assert counts["withdrawn_exports"] == len(plan["exports"]) == 2
        assert counts["provider_events"] == plan["provider_events"]
        assert len(plan["list_entries"]) == 1
        assert counts["audit_entries"] >= plan["audit_entries"] > 20
        again = ask(alice, CAROL, dry_run=True)
        assert (again["messages"]["count"], again["audit_entries"], again["other_rows"]) == (0, 0, {})

    def test_every_proof_holds(self, alice: Caller, everywhere: dict[str, Any], store: Store, tmp_path: Path) -> None:
        person = erase(alice, CAROL)["person"]
        verdict = verify(alice.account.pk)
        assert verdict.findings == []
        assert verdict.replaced > 20
        assert verify("").holds
        export = ask_for_export(alice)
        make_exports()
        bundle = download(alice, export["id"])
        code, report = verified(bundle, tmp_path)
        assert code == 0, report
        assert CAROL.encode() not in bundle
        told = alice.get(f"/v1/erasures/{Erasure.objects.get().pk}/certificate").json()
        file = tmp_path / "certificate.json"
        for changed, right in (({}, 0), ({"reason": "another"}, 1)):
            file.write_text(json.dumps({"data": {**told["data"], **changed}}))
            code, report = verified(bundle, tmp_path, "--certificate", str(file))
            assert code == right, report
        entries = alice.get("/v1/audit-log", limit=100).json()["data"]
        assert any(person in str(entry) for entry in entries)

    def test_what_others_wrote_stays(
        self, alice: Caller, charlie: Caller, everywhere: dict[str, Any], store: Store
    ) -> None:
        theirs = charlie.create_inbox()
        AddressRule.objects.all().delete()
        deliver(mail(From=CAROL, Subject="to another account", body="theirs\n"), theirs, envelope_sender=CAROL)
        deliver(
            mail(From=CAROL, Subject="to both", body="both\n"), theirs, everywhere["in_test"], envelope_sender=CAROL
        )
        deliver(mail(From="Dave <dave@other.example>", Subject="Daves own", body="kept\n"), everywhere["inbox"])
        deliver(
            mail(From="Carol <carol.jones+news@shop.example>", Subject="tagged", body="kept\n"), everywhere["inbox"]
        )
        erase(alice, CAROL)
        kept = {message["subject"]: message for message in alice.messages(everywhere["inbox"])}
        assert kept["Daves own"]["body_text"].strip() == "kept"
        assert kept["tagged"]["from_address"] == "carol.jones+news@shop.example"
        of_charlie = charlie.messages(theirs)
        assert [(m["subject"], m["from_address"]) for m in of_charlie] == [
            ("to both", CAROL),
            ("to another account", CAROL),
        ]
        for message in of_charlie:
            raw = charlie.get(f"/v1/inboxes/{theirs.pk}/messages/{message['id']}/raw")
            assert CAROL.encode() in raw.content

    def test_a_tombstone_is_left(self, alice: Caller, everywhere: dict[str, Any], store: Store) -> None:
        inbox = everywhere["inbox"]
        before = alice.messages(inbox)
        erase(alice, CAROL)
        after = alice.messages(inbox)
        assert [message["id"] for message in after] == [message["id"] for message in before]
        assert {tuple(message["trust"]["flags"]) for message in after} == {("erased",)}
        for message in after:
            path = f"/v1/inboxes/{inbox.pk}/messages/{message['id']}"
            assert alice.get(f"{path}/raw").status_code in (404, 410)
            assert alice.get(f"{path}/explain").json()["data"]["thread"]["rule"] == "erased"
        assert not Attachment.objects.exists()
        thread = Thread.objects.get(pk=after[0]["thread_id"])
        assert (thread.subject, thread.preview, thread.participants) == ("", "", [])
        deliver(mail(Subject="New"), inbox)
        assert alice.messages(inbox)[0]["subject"] == "New"
        assert Inbox.objects.get(pk=inbox.pk).message_octets == Message.objects.get(subject="New").size

    def test_nothing_is_sent_to_her(self, alice: Caller, everywhere: dict[str, Any], store: Store) -> None:
        person = erase(alice, CAROL)["person"]
        AddressRule.objects.all().delete()
        answer = alice.post(
            f"/v1/inboxes/{everywhere['inbox'].pk}/messages", {"to": [SPELLINGS[1]], "subject": "x", "body_text": "x"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "blocked")
        assert "suppress" in answer.content.decode()
        assert {(entry.address, entry.person, entry.reason) for entry in Suppression.objects.all()} == {
            ("", person, "")
        }
        listed = alice.get("/v1/suppressions").json()["data"]
        assert [(entry["address"], entry["person"]) for entry in listed] == [("", person)] * 2
        assert alice.get("/v1/suppressions/check", address=CAROL).json()["data"]["suppressed"] is True

    def test_mail_that_comes_meanwhile_goes_too(
        self, alice: Caller, everywhere: dict[str, Any], store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        came: list[int] = []

        def one_more() -> int:
            if not came:
                came.append(1)
                deliver(mail(From=CAROL, Subject="subjectmarker new"), everywhere["in_test"], envelope_sender=CAROL)
            return original()

        original = expire_exports
        monkeypatch.setattr(working, "expire_exports", one_more)
        erase(alice, CAROL)
        # The round that found nothing more was the last but one.
        work()
        assert came
        assert places(store, MARKERS) <= ALLOWED

    def test_raw_mail_leaves_the_store(self, alice: Caller, everywhere: dict[str, Any], store: Store) -> None:
        assert RawObject.objects.exists()
        erase(alice, CAROL)
        assert not RawObject.objects.exists()
        assert not [name for name in store.names() if not name.startswith("exports")]
