"""What somebody may do to the trail who has the database, and makes as much of it fit as he can."""

from typing import Any

from audit.leaves import COLUMNS, Salts, hash_at, told_of, unplaced
from audit.merkle import Frontier
from audit.models import AuditEntry, AuditHead, AuditKey, AuditLeaf, AuditNode, AuditTree
from audit.signing import key_in_use, key_of, signed_head
from audit.tree import Tree, columns_of
from tests.audit.trail import ACCOUNT, entry_at, tamper, unguarded, write


def told(key: int) -> Any:
    return told_of(AuditEntry.objects.values_list(*COLUMNS).get(pk=key))


def forge_between(place: int) -> None:
    """A new entry with a leaf of its own, before which all others are moved on."""
    write(1)
    entry = AuditEntry.objects.latest("pk")
    tamper("DELETE FROM audit_auditunsealed")
    for seq in sorted(AuditLeaf.objects.filter(account_id=ACCOUNT, seq__gte=place).values_list("seq", flat=True))[::-1]:
        tamper("UPDATE audit_auditleaf SET seq = %s WHERE seq = %s AND account_id = %s", seq + 1, seq, ACCOUNT)
    leaf = (entry.pk, ACCOUNT, place, hash_at(unplaced(told(entry.pk), Salts(b"s" * 32)), place), b"s" * 32)
    tamper("INSERT INTO audit_auditleaf (entry_id, account_id, seq, hash, salt) VALUES (%s, %s, %s, %s, %s)", *leaf)


def forge(seq: int) -> None:
    """Change an entry and make its leaf fit."""
    entry = entry_at(seq)
    tamper("UPDATE audit_auditentry SET act = 'message.sent' WHERE id = %s", entry.pk)
    salt = bytes(AuditLeaf.objects.get(pk=entry.pk).salt or b"")
    content = hash_at(unplaced(told(entry.pk), Salts(salt)), seq)
    tamper("UPDATE audit_auditleaf SET hash = %s WHERE entry_id = %s", content, entry.pk)


def fit_nodes() -> None:
    for node in AuditNode.objects.all():
        hash_ = Tree(ACCOUNT).frontier(512).hashes[0] if node.level > 8 else block(node.index)
        tamper("UPDATE audit_auditnode SET hash = %s WHERE id = %s", hash_, node.pk)


def block(index: int) -> bytes:
    tree = Frontier()
    leaves = AuditLeaf.objects.filter(seq__gte=256 * index, seq__lt=256 * (index + 1)).order_by("seq")
    for hash_ in leaves.values_list("hash", flat=True):
        tree.push(bytes(hash_))
    return tree.root()


def forget_after(size: int) -> None:
    """As a back-up of the time when the trail had that size."""
    frontier = Tree(ACCOUNT).frontier(size)
    keys = list(AuditLeaf.objects.filter(account_id=ACCOUNT, seq__gte=size).values_list("pk", flat=True))
    for key in keys:
        tamper("DELETE FROM audit_auditentry WHERE id = %s", key)
        tamper("DELETE FROM audit_auditleaf WHERE entry_id = %s", key)
    tamper("DELETE FROM audit_audithead WHERE size > %s AND account_id = %s", size, ACCOUNT)
    columns = columns_of(frontier)
    AuditTree.objects.filter(pk=ACCOUNT).update(**columns)


def sign_anew(text: str) -> None:
    """Whoever has the database and another key writes both of them over."""
    key = key_of(text)
    head = AuditHead.objects.get(account_id=ACCOUNT)
    new = signed_head(key, ACCOUNT, head.size, bytes(head.root), head.time)
    with unguarded() as cursor:
        cursor.execute("UPDATE audit_auditkey SET key_id = %s, public_key = %s", [key.id, key.public])
        cursor.execute("UPDATE audit_audithead SET key_id = %s, signature = %s", [key.id, new["signature"]])
    assert AuditKey.objects.get().key_id == key_in_use().id
