"""GET /v1/audit-log/verify"""

from typing import Any

import pytest
from django.db import connection

from audit.api import proofs
from audit.merkle import is_consistent
from audit.models import AuditEntry
from audit.sealing import seal_all
from tests.audit.trail import tamper, write
from tests.cast import Caller


def verdict(caller: Caller, **query: Any) -> Any:
    answer = caller.get("/v1/audit-log/verify", **query)
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


class TestVerify:
    def test_it_says_that_the_trail_holds(self, alice: Caller) -> None:
        alice.create_inbox()
        assert verdict(alice) == verdict(alice) | {"holds": True, "size": 0, "head": None, "findings": []}
        seal_all()
        alice.create_inbox()
        told = verdict(alice)
        size = AuditEntry.objects.filter(account_id=alice.account.pk).count()
        assert (told["holds"], told["size"], told["unsealed"]) == (True, size - 1, 1)
        assert told["head"]["account_id"] == alice.account.pk
        assert told["next_from_seq"] is None

    def test_it_names_the_first_bad_entry(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        seal_all()
        entry = AuditEntry.objects.get(act="inbox.created")
        tamper("UPDATE audit_auditentry SET actor_name = 'Mallory' WHERE id = %s", entry.pk)
        told = verdict(alice)
        assert not told["holds"]
        assert (told["findings"][0]["kind"], told["findings"][0]["id"]) == ("changed", entry.public_id)
        assert inbox.pk not in str(told)

    def test_it_names_no_entry_of_the_other_mode(self, alice: Caller) -> None:
        live = alice.with_key(mode="live")
        inbox = live.create_inbox()
        seal_all()
        entry = AuditEntry.objects.get(inbox_id=inbox.pk)
        tamper("UPDATE audit_auditentry SET actor_name = 'Mallory' WHERE id = %s", entry.pk)
        assert verdict(live)["findings"][0]["id"] == entry.public_id
        assert verdict(alice)["findings"][0]["id"] is None

    def test_it_goes_piece_by_piece(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proofs, "AT_ONCE", 256)
        write(600, alice.account.pk)
        seal_all()
        entry = AuditEntry.objects.filter(account_id=alice.account.pk).order_by("pk")[520]
        tamper("UPDATE audit_auditentry SET cid = 'x' WHERE id = %s", entry.pk)
        pieces: list[bool] = []
        start: int | None = 0
        while start is not None:
            told = verdict(alice, from_seq=start)
            pieces.append(told["holds"])
            start = told["next_from_seq"]
        assert pieces == [True, True, False]

    def test_it_proves_that_it_goes_on_from_a_head(self, alice: Caller) -> None:
        alice.create_inbox()
        seal_all()
        kept = verdict(alice)["head"]
        write(300, alice.account.pk)
        seal_all()
        told = verdict(alice, size=kept["size"], root=kept["root"])
        path = [bytes.fromhex(hash_) for hash_ in told["consistency"]["path"]]
        roots = [bytes.fromhex(head["root"]) for head in (kept, told["head"])]
        assert told["holds"]
        assert is_consistent(kept["size"], roots[0], told["head"]["size"], roots[1], path)

    @pytest.mark.parametrize("table", ["audit_auditleaf", "audit_auditnode"])
    def test_it_names_what_is_missing_where_the_proof_is_lost_with_it(self, alice: Caller, table: str) -> None:
        write(300, alice.account.pk)
        seal_all()
        head = verdict(alice)["head"]
        write(300, alice.account.pk)
        seal_all()
        where = "seq = 257" if table == "audit_auditleaf" else connection.ops.quote_name("index") + " = 0"
        tamper(f"DELETE FROM {table} WHERE {where} AND account_id = %s", alice.account.pk)
        told = verdict(alice, size=head["size"], root=head["root"])
        assert (told["holds"], told["consistency"]["path"]) == (False, None)
        assert told["findings"][0]["seq"] == (257 if table == "audit_auditleaf" else 0)
        entry = AuditEntry.objects.filter(account_id=alice.account.pk).order_by("pk")[256]
        assert alice.get(f"/v1/audit-log/{entry.public_id}").json()["data"]["proof"] is None

    def test_a_head_that_it_does_not_go_on_from_is_told(self, alice: Caller) -> None:
        seal_all()
        size = verdict(alice)["size"]
        for query in ({"size": size, "root": "00" * 32}, {"size": size + 5, "root": "00" * 32}):
            told = verdict(alice, **query)
            assert not told["holds"]
            assert told["consistency"]["path"] is None

    def test_a_key_of_some_inboxes_may_not(self, alice: Caller) -> None:
        limited = alice.with_key(inbox=alice.create_inbox())
        assert limited.get("/v1/audit-log/verify").status_code == 403

    @pytest.mark.parametrize(
        "query", [{"from_seq": 3}, {"size": 1}, {"root": "00" * 32}, {"size": 1, "root": "xy"}, {"x": 1}]
    )
    def test_it_says_what_it_cannot_read(self, alice: Caller, query: dict[str, Any]) -> None:
        assert alice.get("/v1/audit-log/verify", **query).status_code == 400
