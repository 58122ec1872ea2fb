"""/v1/erasures: asking for the erasure of a person, dry and for good, and its certificate"""

import json
from typing import Any

import pytest

from audit.models import AuditEntry, AuditKey
from audit.signing import is_certificate_signed
from delivery.models import Erasure
from inboxes.holds import place, release
from inboxes.models import Inbox
from tests.cast import Caller
from tests.delivery.erasing.traces import ask, erase, work
from tests.mailing import deliver, mail
from tests.stores import Store
from threads.models import Message

PATH = "/v1/erasures"
CAROL = "carol@shop.example"


@pytest.fixture
def owner(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(owner: Caller, store: Store) -> Inbox:
    inbox = owner.create_inbox()
    deliver(mail(From=f"Carol <{CAROL}>", Subject="A secret"), inbox, envelope_sender=CAROL)
    return inbox


class TestDryRun:
    def test_it_says_what_would_go_and_changes_nothing(self, owner: Caller, inbox: Inbox) -> None:
        plan = ask(owner, "CAROL@Shop.Example", dry_run=True)
        (message,) = owner.messages(inbox)
        assert plan["messages"] == {
            "count": 1,
            "by_inbox": [{"inbox_id": inbox.pk, "address": inbox.address, "count": 1}],
            "ids": [message["id"]],
        }
        assert (plan["raw_mails"], message["subject"]) == (1, "A secret")
        assert not Erasure.objects.exists()

    def test_its_entry_names_the_pseudonym_alone(self, owner: Caller, inbox: Inbox) -> None:
        plan = ask(owner, CAROL, dry_run=True, reason=f"{CAROL} wrote")
        entry = AuditEntry.objects.get(act="erasure.previewed")
        assert entry.changes["person"] == plan["person"]
        assert entry.changes["reason"] == f"{plan['person']} wrote"
        assert (entry.actor_id, CAROL in json.dumps(plan)) == (owner.key.pk, False)

    def test_a_person_has_another_pseudonym_in_another_account(self, owner: Caller, charlie: Caller) -> None:
        mine = ask(owner, CAROL, dry_run=True)["person"]
        assert mine == ask(owner, CAROL.upper(), dry_run=True)["person"]
        assert mine != ask(charlie.with_key(mode="live"), CAROL, dry_run=True)["person"]

    def test_who_only_is_mentioned_is_counted(self, owner: Caller, inbox: Inbox) -> None:
        deliver(mail(body=f"Ask {CAROL}\n"), inbox)
        plan = ask(owner, CAROL, dry_run=True)
        assert (plan["messages"]["count"], plan["mentioned_in"]) == (1, 1)


class TestAsking:
    def test_it_is_done_and_says_so(self, owner: Caller, inbox: Inbox) -> None:
        asked = ask(owner, CAROL)
        assert (asked["state"], asked["progress"]) == ("planned", 0)
        work()
        told = owner.get(f"{PATH}/{asked['id']}").json()["data"]
        assert (told["state"], told["progress"], told["counts"]["messages"]) == ("done", 100, 1)
        assert [one["id"] for one in owner.get(PATH, state="done").json()["data"]] == [asked["id"]]
        acts = set(AuditEntry.objects.values_list("act", flat=True))
        assert {"erasure.requested", "erasure.finished", "trail.replaced"} <= acts

    def test_the_address_is_encrypted_meanwhile_and_gone_afterwards(self, owner: Caller, inbox: Inbox) -> None:
        ask(owner, CAROL)
        erasure = Erasure.objects.get()
        assert (erasure.address, CAROL in erasure.sealed) == (CAROL, False)
        work()
        erasure.refresh_from_db()
        assert erasure.sealed == ""

    @pytest.mark.parametrize("body", [{"address": "nobody"}, {"address": CAROL, "reason": ""}, {"reason": "r"}])
    def test_what_is_wrong_is_said(self, owner: Caller, body: dict[str, Any]) -> None:
        assert owner.post(PATH, {"reason": "because", **body}).status_code == 400

    def test_an_inbox_is_no_person(self, owner: Caller, inbox: Inbox) -> None:
        answer = owner.post(PATH, {"address": inbox.address, "reason": "because"})
        assert answer.status_code == 400
        assert "purge" in answer.json()["error"]["message"]

    def test_one_at_a_time(self, owner: Caller, inbox: Inbox) -> None:
        first = ask(owner, CAROL)
        answer = owner.post(PATH, {"address": CAROL, "reason": "again"})
        assert (answer.status_code, first["id"] in answer.json()["error"]["fix"]) == (409, True)
        work()
        erase(owner, CAROL)

    def test_it_takes_a_live_key_of_the_whole_account(self, alice: Caller, owner: Caller, inbox: Inbox) -> None:
        body = {"address": CAROL, "reason": "because"}
        assert alice.post(PATH, body).status_code == 403
        assert owner.with_key(inbox=inbox).post(PATH, body).status_code == 403
        assert owner.with_key(permissions=["erasures:read"]).post(PATH, body).status_code == 403
        assert owner.with_key(permissions=["audit:read"]).get(PATH).status_code == 403
        assert not Erasure.objects.exists()

    def test_it_is_404_for_a_stranger_and_for_a_key_of_some_inboxes(
        self, owner: Caller, charlie: Caller, inbox: Inbox
    ) -> None:
        path = f"{PATH}/{ask(owner, CAROL)['id']}"
        for caller in (charlie, owner.with_key(inbox=inbox)):
            assert caller.get(path).status_code == caller.get(f"{path}/certificate").status_code == 404
            assert caller.get(PATH).json()["data"] == []

    def test_a_repeated_request_is_answered_once(self, owner: Caller, inbox: Inbox) -> None:
        body = {"address": CAROL, "reason": "because"}
        first, second = (owner.post(PATH, body, headers={"Idempotency-Key": "1"}).json() for _ in range(2))
        assert first == second
        assert Erasure.objects.count() == 1


class TestHolds:
    @pytest.mark.parametrize("whole_account", [True, False])
    def test_a_held_inbox_is_not_touched(self, owner: Caller, inbox: Inbox, whole_account: bool) -> None:
        hold = place(owner.account, inbox=None if whole_account else inbox, matter="Smith v. Acme", reason="court")
        assert [one["id"] for one in ask(owner, CAROL, dry_run=True)["holds"]] == [hold.pk]
        answer = owner.post(PATH, {"address": CAROL, "reason": "because"})
        assert (answer.status_code, "Smith v. Acme" in answer.content.decode()) == (409, True)
        assert AuditEntry.objects.filter(act="hold.enforced").exists()
        assert (Erasure.objects.count(), owner.messages(inbox)[0]["subject"]) == (0, "A secret")
        release(hold, reason="settled")
        erase(owner, CAROL)

    def test_one_that_is_placed_before_the_work_stops_it(self, owner: Caller, inbox: Inbox) -> None:
        asked = ask(owner, CAROL)
        place(owner.account, inbox=inbox, matter="Smith v. Acme", reason="court")
        work()
        told = owner.get(f"{PATH}/{asked['id']}").json()["data"]
        assert (told["state"], "Smith v. Acme" in told["error"]) == ("refused", True)
        assert Message.objects.get().subject == "A secret"
        assert {"hold.enforced", "erasure.refused"} <= set(AuditEntry.objects.values_list("act", flat=True))
        assert owner.get(f"{PATH}/{asked['id']}/certificate").status_code == 409

    def test_of_another_inbox_it_forbids_nothing(self, owner: Caller, inbox: Inbox) -> None:
        place(owner.account, inbox=owner.create_inbox(), matter="Another", reason="court")
        assert erase(owner, CAROL)["counts"]["messages"] == 1


class TestCertificate:
    def test_it_is_signed(self, owner: Caller, inbox: Inbox) -> None:
        told = erase(owner, CAROL)
        certificate = owner.get(f"{PATH}/{told['id']}/certificate").json()["data"]
        keys = {key.key_id: bytes(key.public_key) for key in AuditKey.objects.all()}
        assert is_certificate_signed(certificate, keys)
        assert not is_certificate_signed({**certificate, "reason": "another"}, keys)
        assert (certificate["person"], certificate["erased"]) == (told["person"], told["counts"])
        assert certificate["requested_by"]["id"] == owner.key.pk
        assert CAROL not in json.dumps(certificate)

    def test_its_head_has_the_last_entry(self, owner: Caller, inbox: Inbox) -> None:
        certificate = owner.get(f"{PATH}/{erase(owner, CAROL)['id']}/certificate").json()["data"]
        entries = AuditEntry.objects.filter(account_id=owner.account.pk).exclude(act="erasure.certificate_read")
        assert certificate["head"]["size"] == entries.count()
        assert entries.order_by("-pk")[0].act == "erasure.finished"

    def test_before_the_end_there_is_none(self, owner: Caller, inbox: Inbox) -> None:
        answer = owner.get(f"{PATH}/{ask(owner, CAROL)['id']}/certificate")
        assert answer.status_code == 409

    def test_it_names_list_entries_that_stay(self, owner: Caller, inbox: Inbox) -> None:
        rule = owner.post("/v1/lists/send/block", {"pattern": CAROL}).json()["data"]
        certificate = owner.get(f"{PATH}/{erase(owner, CAROL)['id']}/certificate").json()["data"]
        assert certificate["kept"]["list_entries"] == [rule["id"]]
