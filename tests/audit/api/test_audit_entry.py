"""GET /v1/audit-log/{entry_id}"""

from audit.leaves import FORMAT
from audit.merkle import is_included, leaf_hash
from audit.sealing import seal_all
from clients import verify_audit
from tests.cast import Caller


class TestAuditEntry:
    def test_it_comes_with_its_proof(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        alice.post(f"/v1/inboxes/{inbox.pk}/pause", {"reason": "lunch"})
        seal_all()
        listed = alice.get("/v1/audit-log", inbox_id=inbox.pk).json()["data"][0]
        entry = alice.get(f"/v1/audit-log/{listed['id']}").json()["data"]
        proof = entry.pop("proof")
        assert entry == listed
        assert entry["changes"]["reason"] == "lunch" or "lunch" in str(entry["changes"])
        leaf, head = proof["leaf"], proof["head"]
        assert (leaf["format"], leaf["seq"], leaf["entry"]["id"]) == (FORMAT, entry["seq"], entry["id"])
        hash_ = leaf_hash(verify_audit.canonical(leaf))
        assert hash_.hex() == entry["hash"]
        path = [bytes.fromhex(part) for part in proof["path"]]
        assert is_included(hash_, entry["seq"], head["size"], path, bytes.fromhex(head["root"]))
        keys = verify_audit.checked_keys(proof["keys"], None, lambda *finding: None)
        assert verify_audit.is_head_signed(head, keys)
        for name, value in entry["changes"].items():
            salt = verify_audit.salt_of(proof["opening"], f"changes.{name}")
            assert leaf["commitments"][f"changes.{name}"] == verify_audit.commitment(salt, value)

    def test_one_that_is_not_sealed_yet_has_none(self, alice: Caller) -> None:
        listed = alice.get("/v1/audit-log").json()["data"][0]
        assert (listed["seq"], listed["hash"]) == (None, None)
        assert alice.get(f"/v1/audit-log/{listed['id']}").json()["data"]["proof"] is None

    def test_a_key_of_some_inboxes_learns_no_place(self, alice: Caller) -> None:
        """Places count what happens in the other inboxes."""
        limited = alice.with_key(inbox=alice.create_inbox())
        seal_all()
        (listed, *_) = limited.get("/v1/audit-log").json()["data"]
        entry = limited.get(f"/v1/audit-log/{listed['id']}").json()["data"]
        assert (entry["seq"], entry["hash"], entry["proof"]) == (None, None, None)

    def test_it_is_404_for_a_stranger_and_for_the_other_mode(self, alice: Caller, charlie: Caller) -> None:
        inbox = alice.create_inbox()
        entry = alice.get("/v1/audit-log", inbox_id=inbox.pk).json()["data"][0]
        other = alice.with_key(inbox=alice.create_inbox())
        for caller in (charlie, alice.with_key(mode="live"), other):
            assert caller.get(f"/v1/audit-log/{entry['id']}").status_code == 404
        assert alice.get("/v1/audit-log/audit_00000000000000000000000000").status_code == 404
