"""What the API says of the tree: the proof of an entry, the verdict on the trail."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypedDict

from rest_framework import serializers

from audit.findings import OutsideHead, Verdict, as_json
from audit.leaves import FORMAT
from audit.models import AuditLeaf
from audit.proofs import inclusion_proof, keys_as_json
from audit.tree import BLOCK, Lacking, Tree
from audit.verifying import verify
from mailbot.api.errors import invalid
from mailbot.api.fields import StoredField
from mailbot.api.schema import shown_as

AT_ONCE = 64 * BLOCK  # leaves a call
_HASH = r"^[0-9a-f]{64}$"


class Head(TypedDict):
    account_id: str
    size: int
    root: str
    time: str
    key: str
    signature: str


class Key(TypedDict):
    key: str
    public_key: str
    made_at: str
    endorsed_by: str
    endorsement: str


class Proof(TypedDict):
    """`leaf` is hashed in its canonical form (RFC 8785); `opening` has the salts that lead from the entry's values to its commitments."""

    leaf: dict[str, Any]
    opening: dict[str, Any]
    path: list[str]
    head: Head
    keys: list[Key]


EXAMPLE_HEAD = {
    "account_id": "account_01m86mhzv8e2p9x3r7w5k1d4nc",
    "size": 2050,
    "root": "5a0c6a3f0d0f3c3f7b8e1c9a6d5b4e3f2a1908f7e6d5c4b3a2918f7e6d5c4b3a",
    "time": "2026-11-24T10:15:05.000000Z",
    "key": "0f3c5b7a9d1e2f40",
    "signature": "c3" * 64,
}
EXAMPLE_KEY = {
    "key": "0f3c5b7a9d1e2f40",
    "public_key": "7d" * 32,
    "made_at": "2026-11-01T08:00:00.000000Z",
    "endorsed_by": "",
    "endorsement": "",
}
EXAMPLE_PROOF = {
    "leaf": {
        "commitments": {"actor_name": "3e" * 32},
        "entry": {"id": "audit_01m86n1c41f9ca9v7dq2w3k6rz", "action": "message.queued"},
        "format": FORMAT,
        "seq": 2041,
    },
    "opening": {"salt": "a1" * 32},
    "path": ["4b" * 32, "9f" * 32],
    "head": EXAMPLE_HEAD,
    "keys": [EXAMPLE_KEY],
}
EXAMPLE_VERDICT = {
    "holds": True,
    "size": 2050,
    "from_seq": 0,
    "next_from_seq": None,
    "removed": 0,
    "replaced": 0,
    "unsealed": 3,
    "head": EXAMPLE_HEAD,
    "keys": [EXAMPLE_KEY],
    "findings": [],
    "consistency": None,
}


def proof_of(leaf: AuditLeaf) -> Proof | None:
    shown: Any = inclusion_proof(leaf)
    return shown  # type: ignore[no-any-return]


def _keys() -> list[Key]:
    shown: Any = keys_as_json()
    return shown  # type: ignore[no-any-return]


class VerifyQuery(serializers.Serializer[Any]):
    from_seq = serializers.IntegerField(min_value=0, max_value=2**62, default=0)
    size = serializers.IntegerField(min_value=1, max_value=2**62, required=False)
    head_root = serializers.RegexField(_HASH, required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        root = fields.pop("head_root")
        return {**fields, "root": root}  # `root` is a name of every serializer


class FindingShape(TypedDict):
    kind: str
    what: str
    seq: int | None
    id: str | None


class Consistency(TypedDict):
    """`path` is a proof as in RFC 9162 2.1.4.1, from `size` to the size of the newest head; null where there is none."""

    size: int
    root: str
    path: list[str] | None


@shown_as(EXAMPLE_VERDICT)
class TrailVerdictSerializer(serializers.Serializer[Any]):
    holds = serializers.BooleanField()
    size = serializers.IntegerField(help_text="Entries that have a place in the tree.")
    from_seq = serializers.IntegerField()
    next_from_seq = serializers.IntegerField(allow_null=True)
    removed = serializers.IntegerField(help_text="Entries that were removed, as an entry says.")
    replaced = serializers.IntegerField(help_text="Entries in which a person's data were replaced, as an entry says.")
    unsealed = serializers.IntegerField(help_text="Entries that wait for the sealer.")
    head = StoredField(Head | None)
    keys = StoredField(list[Key])
    findings = StoredField(list[FindingShape])
    consistency = StoredField(Consistency | None)


def verdict_of(account_id: str, query: dict[str, Any], visible_ids: Callable[[Verdict], set[str]]) -> dict[str, Any]:
    """As `data`. Raises ApiError."""
    start, size, root = query["from_seq"], query.get("size"), query.get("root")
    if start % BLOCK:
        raise invalid("from_seq", f"This is no multiple of {BLOCK}.", "Use next_from_seq as it was given.")
    if (size is None) != (root is None):
        raise invalid("root" if root is None else "size", "Give both: size and root of the head that you kept.")
    outside = [OutsideHead(account_id, size, bytes.fromhex(root), "yours")] if size and root else []
    verdict = verify(account_id, start, start + AT_ONCE, outside)
    shown = as_json(verdict)
    shown["from_seq"], shown["next_from_seq"] = shown.pop("from"), shown.pop("to")
    shown["next_from_seq"] = verdict.stop if verdict.stop < verdict.size else None
    visible = visible_ids(verdict)
    for finding in shown["findings"]:
        finding["id"] = finding["id"] if finding["id"] in visible else None
    return {**shown, "keys": _keys(), "consistency": _consistency(Tree(account_id), verdict, size, root)}


def _consistency(tree: Tree, verdict: Verdict, size: int | None, root: str | None) -> dict[str, Any] | None:
    if size is None or root is None:
        return None
    path = None
    with suppress(Lacking):  # the findings say it
        if size <= verdict.size and tree.root(size).hex() == root:
            path = [hash_.hex() for hash_ in tree.consistency(size, verdict.size)]
    return {"size": size, "root": root, "path": path}
