"""The proof that an entry is in the tree of its account: the leaf, the way to the root of the newest signed head, and that head."""

from typing import Any

from audit.canonical import canonical
from audit.leaves import FORMAT, Salts, commitments
from audit.lookups import entries_by_key
from audit.merkle import is_included, leaf_hash
from audit.models import AuditHead, AuditKey, AuditLeaf
from audit.signing import head_as_json, is_signed, key_as_json
from audit.tree import Lacking, Tree


def inclusion_proof(leaf: AuditLeaf) -> dict[str, Any] | None:
    """As the API shows it; None until a head is signed that has the leaf, where the entry is gone, and where the tree lacks what it takes:
    what was done to that, verification tells."""
    tree = Tree(leaf.account_id)
    head = tree.head(at_least=leaf.seq + 1)
    told = entries_by_key([leaf.entry_id]).get(leaf.entry_id)
    salts = Salts.stored(leaf.salt, leaf.kept)
    if head is None or told is None or salts is None:
        return None
    try:
        path = tree.inclusion(leaf.seq, head.size)
    except Lacking:
        return None
    content = {"commitments": commitments(told, salts), "entry": told.plain, "format": FORMAT, "seq": leaf.seq}
    return {
        "leaf": content,
        "opening": salts.as_json(),
        "path": [hash_.hex() for hash_ in path],
        "head": head_as_json(head),
        "keys": keys_as_json(),
    }


def keys_as_json() -> list[dict[str, str]]:
    return [key_as_json(key) for key in AuditKey.objects.order_by("pk")]


def holds(proof: dict[str, Any]) -> bool:
    """Whether the proof is one: done anew out of what is shown, as anybody can who has it, with the keys of the trail."""
    leaf, head = leaf_hash(canonical(proof["leaf"])), proof["head"]
    path = [bytes.fromhex(hash_) for hash_ in proof["path"]]
    signed = AuditHead.objects.filter(account_id=head["account_id"], size=head["size"], key_id=head["key"]).first()
    keys = {key.key_id: bytes(key.public_key) for key in AuditKey.objects.order_by("pk")}
    is_in = is_included(leaf, proof["leaf"]["seq"], head["size"], path, bytes.fromhex(head["root"]))
    return is_in and signed is not None and is_signed(signed, keys)
