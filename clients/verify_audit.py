#!/usr/bin/env python3
"""Verify an export of mailbot's audit log without the server. Python 3.9 or newer and `cryptography`; no code of mailbot's.

    python verify_audit.py export.zip [--key PUBLIC_KEY] [--head HEADS.jsonl] [--certificate ERASURE.json]

It says whether the entries are those that were sealed, and names the first that is changed, missing, added or moved. With --key the heads
must be signed by that key or by one that follows from it; with --head the export must go on from heads that you kept, as far as it can
tell; with --certificate the certificate of an erasure must be signed by one of these keys, and the export go on from its head. Exit
code 0: it holds; 1: it does not; 2: it cannot be read; 3: it holds, but whether it goes on from all heads that you gave, this export does
not tell. The format is described in docs/audit/format.md.
"""

from __future__ import annotations

import argparse
import bisect
import hashlib
import hmac
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "mailbot.audit/1"
BLOCK_LEVEL = 8
MOST = 20  # findings that are told
COMPARED = 50  # bad entries among which it is looked for moved ones
CHANGED = "The entry is another than the one that was sealed."
PLAIN = (
    "id time account_id inbox_id mode action operation object_type object_id object_number content_type actor_kind actor_id"
    " request_id remote_port"
).split()
PERSONAL = "actor_name actor_email remote_addr object_name object_data details changes_text".split()
ENTRY = {*PLAIN, *PERSONAL, "changes"}
LINES = ({"entry", "hash", "salt", "seq"}, {"entry", "hash", "replaced", "salts", "seq"})
REMOVED, REPLACED = "trail.removed", "trail.replaced"


class Unreadable(Exception):
    """The export is none, or not of this format."""


# --- RFC 8785 ----------------------------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    return _text(value).encode("utf-8", "surrogatepass")


def _text(value: Any) -> str:
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.encoder.encode_basestring(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 2**53 else f'"{value}"'
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(_text(name) + ":" + _text(value[name]) for name in names) + "}"


def _number(value: Any) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return '"NaN"' if value != value else '"Infinity"' if value > 0 else '"-Infinity"'
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    sign, count = "-" if value < 0 else "", len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    return sign + digits[0] + ("." + digits[1:] if count > 1 else "") + f"e{point - 1:+d}"


# --- Merkle trees, RFC 9162 2.1 ----------------------------------------------------------------------------------------


def leaf_hash(content: Any) -> bytes:
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: Any, right: Any) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """One that grows at its right, by leaves and by complete subtrees. `blocks`: the hashes of its complete blocks of 256 leaves."""

    def __init__(self) -> None:
        self.size = 0
        self.hashes: list[bytes] = []
        self.blocks: dict[int, bytes] = {}

    def add(self, hash_: Any, level: Any = 0) -> None:
        if self.size % (1 << level):
            raise Unreadable(f"A proof has a subtree at {self.size} where none of its size can begin.")
        index = self.size >> level
        self.size += 1 << level
        while True:
            if level == BLOCK_LEVEL:
                self.blocks[index] = hash_
            if not index & 1:
                break
            hash_, level, index = node_hash(self.hashes.pop(), hash_), level + 1, index >> 1
        self.hashes.append(hash_)

    def root(self) -> bytes:
        if not self.hashes:
            return hashlib.sha256(b"").digest()
        *lefts, hash_ = self.hashes
        for left in reversed(lefts):
            hash_ = node_hash(left, hash_)
        return hash_


def cover(start: Any, end: Any) -> Iterator[int]:
    """Levels of the fewest complete subtrees that are the leaves start … end-1."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level
        start += 1 << level


def is_consistent(first: Any, first_root: Any, second: Any, second_root: Any, path: Any) -> bool:
    if first == second:
        return not path and first_root == second_root
    if not 0 < first < second or not path:
        return False
    if first & (first - 1) == 0:
        path = [first_root, *path]
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    one = other = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            one, other = node_hash(sibling, one), node_hash(sibling, other)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            other = node_hash(other, sibling)
        position, last = position >> 1, last >> 1
    return bool(last == 0 and one == first_root and other == second_root)


# --- Leaves ------------------------------------------------------------------------------------------------------------


def personal_of(entry: Any) -> dict[str, Any]:
    """What can name a person, by the names of the commitments."""
    values = {name: entry[name] for name in PERSONAL if name in entry}
    values.update({"changes." + name: value for name, value in entry["changes"].items()})
    return values


def commitment(salt: Any, value: Any) -> str:
    return hashlib.sha256(b"\x02" + salt + canonical(value)).hexdigest()


def leaf_of(line: Any, seq: Any) -> bytes:
    """The octets of the leaf that this line is, at `seq`."""
    entry, replaced = line["entry"], line.get("replaced", {})
    made = {name: one["commitment"] for name, one in replaced.items()}
    for name, value in personal_of(entry).items():
        if name not in replaced:
            salt = salt_of(line, name)
            made[name] = commitment(salt, value) if salt else ""
    plain = {name: entry[name] for name in PLAIN}
    return canonical({"commitments": made, "entry": plain, "format": FORMAT, "seq": seq})


def strange_in(line: Any) -> list[str]:
    """Names in a line that no leaf has: whatever they say was never sealed."""
    of_line = min((sorted(set(line) ^ names) for names in LINES), key=len)
    of_salts = set(line.get("salts", {})) - set(personal_of(line["entry"]))
    of_replaced = {name for one in line.get("replaced", {}).values() for name in set(one) - {"commitment", "salt"}}
    return [*of_line, *sorted(set(line["entry"]) - ENTRY), *sorted(of_salts | of_replaced)]


def salt_of(line: Any, name: Any) -> bytes:
    if "salt" in line:
        return hmac.new(bytes.fromhex(line["salt"]), name.encode("utf-8", "surrogatepass"), "sha256").digest()
    return bytes.fromhex(line.get("salts", {}).get(name, ""))


# --- Heads and keys ----------------------------------------------------------------------------------------------------


def is_signed(public_key: Any, signature: Any, octets: Any) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, octets)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_head_signed(head: Any, keys: Any) -> bool:
    fields = {name: head[name] for name in ("account_id", "size", "root", "time", "key")}
    octets = b"mailbot audit head\n" + canonical(fields)
    return head["key"] in keys and is_signed(keys[head["key"]], bytes.fromhex(head["signature"]), octets)


def is_certificate_signed(certificate: Any, keys: Any) -> bool:
    fields = {name: value for name, value in certificate.items() if name != "signature"}
    octets = b"mailbot certificate\n" + canonical(fields)
    key = certificate["key"]
    return key in keys and is_signed(keys[key], bytes.fromhex(certificate["signature"]), octets)


def checked_keys(told: Any, pinned: Any, say: Any) -> dict[str, bytes]:
    """Public keys by id: all of the export, or with `pinned` those that follow from it."""
    keys: dict[str, bytes] = {}
    before: tuple[str, bytes] | None = None
    for key in told:
        public = bytes.fromhex(key["public_key"])
        name = hashlib.sha256(public).hexdigest()[:16]
        if name != key["key"]:
            say("key", None, f"The public key {key['key']} is another than the one with this name.")
            continue
        is_endorsed = (
            before is not None
            and key["endorsed_by"] == before[0]
            and is_signed(before[1], bytes.fromhex(key["endorsement"]), b"mailbot audit key\n" + public)
        )
        if before is not None and not is_endorsed:
            say("key", None, f"The key {name} is not endorsed by the one before it.")
        if pinned is None or public == pinned or (is_endorsed and before is not None and before[0] in keys):
            keys[name] = public
        before = (name, public)
    if pinned is not None and pinned not in keys.values():
        say("key", None, "The key that you gave is none of the export's.")
    return keys


# --- The export --------------------------------------------------------------------------------------------------------


class Export:
    """A zip or a folder."""

    def __init__(self, path: Any) -> None:
        self.path = Path(path)
        self.zip = None if self.path.is_dir() else zipfile.ZipFile(self.path)

    def names(self) -> list[str]:
        """Of all files that are in it, each as often as it is."""
        if self.zip is not None:
            return [one.filename for one in self.zip.infolist() if not one.is_dir()]
        return [one.relative_to(self.path).as_posix() for one in self.path.rglob("*") if one.is_file()]

    def open(self, name: Any) -> Any:
        return (self.path / name).open("rb") if self.zip is None else self.zip.open(name)

    def json(self, name: Any) -> Any:
        with self.open(name) as file:
            return json.load(file)

    def lines(self, name: Any) -> Iterator[tuple[bytes, Any]]:
        with self.open(name) as file:
            for number, line in enumerate(file, 1):
                try:
                    yield line, json.loads(line)
                except ValueError:
                    raise Unreadable(f"{name}, line {number} is no JSON.") from None

    def sha256(self, name: Any) -> str:
        sum_ = hashlib.sha256()
        with self.open(name) as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                sum_.update(piece)
        return sum_.hexdigest()


class Verification:
    def __init__(self, export: Any, pinned: Any = None, kept: Any = ()) -> None:
        self.export = export
        self.findings: list[dict[str, Any]] = []
        self.kept = kept
        self.kept_sizes = {head["size"] for head in kept}
        self.kept_roots: dict[int, str] = {}
        manifest = export.json("manifest.json")
        self.told = manifest["audit"]
        if self.told["format"] != FORMAT:
            raise Unreadable(f"The format is {self.told['format']}, and this program reads {FORMAT}.")
        self.head, self.files = self.told["head"], manifest.get("files", {})
        self.keys = checked_keys(self.told["keys"], pinned, self.say)
        self.known_keys = checked_keys(self.told["keys"], None, lambda *_: None)
        self.tree = Tree()
        self.entries = self.replaced = 0
        self.removed: list[tuple[int, int]] = []
        self.said: set[tuple[int, str, str]] = set()
        self.unsaid: list[tuple[int, str, str, str]] = []
        self.gaps: list[tuple[int, int]] = []
        self.bad: list[tuple[Any, int, str]] = []

    def say(self, kind: Any, seq: Any, what: Any, id_: Any = "") -> None:
        if len(self.findings) < 10 * MOST:
            self.findings.append({"kind": kind, "seq": seq, "id": id_, "what": what})

    def run(self) -> list[dict[str, Any]]:
        self.check_files()
        self.check_head(self.head, "The head of the export")
        for earlier in self.told.get("earlier", []):
            self.check_earlier(earlier)
        self.proof = self.export.lines("audit-proof.jsonl")
        for raw, line in self.export.lines("audit.jsonl"):
            self.take(raw, line)
        self.finish()
        self.findings.sort(key=lambda one: (one["seq"] is None, one["seq"] or 0))
        return self.findings

    def check_files(self) -> None:
        """Those that the manifest names, each once, and no others: nobody may slip in what was never exported."""
        names = self.export.names()
        for name in sorted(set(names) - set(self.files) - {"manifest.json"}):
            self.say("file", None, f"{name} is no file of the export: the manifest does not name it.")
        for name in sorted(name for name, times in Counter(names).items() if times > 1):
            self.say("file", None, f"{name} is in it more than once, and each program takes another of them.")
        for name, told in self.files.items():
            try:
                if self.export.sha256(name) != told:
                    self.say("file", None, f"{name} is another file than the manifest says.")
            except (KeyError, FileNotFoundError):
                self.say("file", None, f"{name} is missing.")

    def check_head(self, head: Any, what: Any) -> None:
        if head["account_id"] != self.told["account_id"]:
            self.say("signature", None, f"{what} is that of another account.")
        if not is_head_signed(head, self.keys):
            self.say("signature", None, f"{what} is not signed by a key that counts here.")

    def check_earlier(self, earlier: Any) -> None:
        head, path = earlier["head"], [bytes.fromhex(hash_) for hash_ in earlier["consistency"]]
        if not is_head_signed(head, self.keys) and is_head_signed(head, self.known_keys):
            return  # by a key from before the one that was given: nothing is known of it
        self.check_head(head, "An earlier head")
        root, newest = bytes.fromhex(head["root"]), bytes.fromhex(self.head["root"])
        if is_consistent(head["size"], root, self.head["size"], newest, path):
            self.kept_roots[head["size"]] = head["root"]
        else:
            self.say("head", None, f"The trail does not go on from the head of size {head['size']}.")

    def check_certificate(self, certificate: Any) -> None:
        if certificate["account_id"] != self.told["account_id"]:
            self.say("certificate", None, "The certificate is that of another account.")
        if not is_certificate_signed(certificate, self.keys):
            self.say("certificate", None, "The certificate is not signed by a key that counts here, or was changed.")

    # --- Lines, in the order of the tree ---

    def take(self, raw: Any, line: Any) -> None:
        seq, id_ = line["seq"], line["entry"].get("id", "")
        if seq < self.tree.size:
            self.say("reordered", seq, "The entry stands behind one that comes after it, or twice.", id_)
            return
        if seq > self.tree.size and not self.fill(seq):
            self.say(
                "missing",
                self.tree.size,
                f"The entries {self.tree.size} to {seq - 1} are not there, and neither are the hashes that stand for them.",
            )
            self.skip(seq)
        self.entries += 1
        self.check_line(raw, line, seq, id_)
        self.push(bytes.fromhex(line["hash"]))

    broken = False

    def skip(self, seq: Any) -> None:
        """Something is missing: what follows can still be held against its own hash."""
        self.broken, self.tree.size = True, seq

    def push(self, hash_: Any, level: Any = 0) -> None:
        if self.broken:
            self.tree.size += 1 << level
        else:
            self.tree.add(hash_, level)
            self.note_size()

    def note_size(self) -> None:
        if self.tree.size in self.kept_sizes:
            self.kept_roots[self.tree.size] = self.tree.root().hex()

    def check_line(self, raw: Any, line: Any, seq: Any, id_: Any) -> None:
        try:
            if leaf_hash(leaf_of(line, seq)).hex() != line["hash"]:
                self.bad.append((line, seq, id_))
                if len(self.bad) > COMPARED:
                    self.say("changed", seq, CHANGED, id_)
                return
            strange = strange_in(line)
            self.note(line, seq, id_)
        except (KeyError, TypeError, ValueError, AttributeError):
            self.say("changed", seq, "The entry is none of this format.", id_)
            return
        if strange:
            self.say("changed", seq, f"The line is not of this format; nobody sealed {', '.join(strange)}.", id_)
        if canonical(line) + b"\n" != raw:
            self.say("changed", seq, "The line is not in canonical form.", id_)
        if line["entry"]["account_id"] != self.told["account_id"]:
            self.say("added", seq, "The entry is of another account.", id_)

    def name_the_bad(self) -> None:
        """Among the first of them: were they changed, or have they another one's place?"""
        for line, seq, id_ in self.bad[:COMPARED]:
            kind, at, what = self.named(line, seq)
            # However much has been said of later ones.
            self.findings.append({"kind": kind, "seq": at, "id": id_, "what": what})

    def named(self, line: Any, seq: Any) -> Any:
        def has_place(of: Any, other: Any, place: Any) -> bool:
            return bool(leaf_hash(leaf_of(of, place)).hex() == other["hash"])

        if has_place(line, line, seq + 1):
            return "missing", seq, "An entry was removed here, and those behind it were moved."
        if seq and has_place(line, line, seq - 1):
            return "added", seq - 1, "An entry was added here, and those behind it were moved."
        for other, place, _ in self.bad[:COMPARED]:
            if other is not line and (has_place(line, line, place) or has_place(line, other, place)):
                return "reordered", seq, f"The entry has the place of another; its own is {place}."
        return "changed", seq, CHANGED

    def note(self, line: Any, seq: Any, id_: Any) -> None:
        """What the trail says of itself, and what needs to be said."""
        changes = line["entry"]["changes"]
        if line["entry"]["action"] == REMOVED:
            self.removed += [(first, last) for first, last in changes.get("removed", [])]
        if line["entry"]["action"] == REPLACED:
            self.said.update((at, name, new) for at, name, new in changes.get("replaced", []))
        personal = personal_of(line["entry"])
        for name, one in line.get("replaced", {}).items():
            now = commitment(bytes.fromhex(one["salt"]), personal.get(name))
            self.unsaid.append((seq, name, now, id_))
        self.replaced += bool(line.get("replaced"))

    # --- What is not there ---

    def fill(self, end: Any) -> bool:
        """Put the hashes of the proof where entries are not in the export. False where there are none that fit."""
        part = self.gap_at(self.tree.size)
        if part is None or part["end"] != end:
            return False
        self.pending = None
        levels, hashes = list(cover(part["start"], part["end"])), [bytes.fromhex(hash_) for hash_ in part["hashes"]]
        if len(levels) != len(hashes):
            return False
        self.gaps.append((part["start"], part["end"]))
        for level, hash_ in zip(levels, hashes):  # noqa: B905 (Python 3.9)
            self.push(hash_, level)
        return True

    pending: Any = None  # what the proof has next

    def gap_at(self, start: Any) -> Any:
        """The one of the proof that begins there; one that begins later waits."""
        while self.pending is None or self.pending["start"] < start:
            self.pending = self.next_gap()
            if self.pending is None:
                return None
        return self.pending if self.pending["start"] == start else None

    def next_gap(self) -> Any:
        for _, part in self.proof:
            if "block" not in part:
                return part
            self.check_block(part)
        return None

    def check_block(self, part: Any) -> None:
        made = self.tree.blocks.pop(part["block"], None)
        if made is not None and made.hex() != part["hash"]:
            start = part["block"] << BLOCK_LEVEL
            what = (
                f"One of the entries {start} to {start + 255} is another, or at another place, than when it was sealed."
            )
            self.say("changed", start, what)

    def finish(self) -> None:
        size = self.head["size"]
        if self.tree.size < size and not self.fill(size):
            self.say("missing", self.tree.size, f"The export ends before its head, which is of {size} entries.")
            self.broken = True
        self.next_gap()
        if self.tree.size > size:
            self.say("added", size, "The export has more entries than its head.")
        elif not self.broken and self.tree.root().hex() != self.head["root"]:
            self.say("head", None, "The entries are not those that the head was signed for.")
        if self.entries != self.told["entries"] and not self.findings:
            self.say(
                "missing",
                None,
                f"The manifest counts {self.told['entries']} entries, and {self.entries} are there.",
            )
        self.name_the_bad()
        self.check_said()
        self.check_kept()

    def check_said(self) -> None:
        for seq, name, now, id_ in self.unsaid:
            if (seq, name, now) not in self.said:
                self.say("changed", seq, f"{name}: replaced, and no entry says so.", id_)
        if not self.told["complete"]:
            return
        removed = joined(self.removed)
        for start, end in self.gaps:
            if (seq := first_outside(start, end, removed)) is not None:
                self.say("missing", seq, "The entry is not there, and no entry says that it was removed.")

    def check_kept(self) -> None:
        for head in self.kept:
            if head["account_id"] != self.told["account_id"]:
                continue
            if not is_head_signed(head, self.keys):
                self.say(
                    "key",
                    None,
                    f"The head of size {head['size']} that you kept is not signed by a key that counts here.",
                )
            elif head["size"] > self.head["size"]:
                what = f"The trail ends before: you kept a head of size {head['size']}, and {self.head['size']} entries are left."
                self.say("missing", self.head["size"], what)
            elif self.kept_roots.get(head["size"], head["root"]) != head["root"]:
                self.say(
                    "head", None, f"The trail is another than that of the head of size {head['size']} that you kept."
                )

    def untold(self) -> list[int]:
        """Sizes of heads that were kept and of which this export says nothing."""
        ours = {head["size"] for head in self.kept if head["account_id"] == self.told["account_id"]}
        return sorted(size for size in ours - set(self.kept_roots) if size <= self.head["size"])


def joined(ranges: Any) -> Any:
    """In order, none of them beginning in another."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def first_outside(start: Any, end: Any, ranges: Any) -> Any:
    """The first of start … end-1 that is in none of the ranges."""
    at = bisect.bisect_right(ranges, (start, float("inf"))) - 1
    covered = ranges[at][1] + 1 if at >= 0 and ranges[at][1] >= start else start
    return covered if covered < end else None


def read_heads(path: Any) -> Any:
    """Of a file with a head a line, and the numbers of lines that begin as a head does and are none, such as half of one."""
    heads, wrong = [], []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.lstrip().startswith(b"{"):
                continue
            try:
                head = json.loads(line.decode())
                bytes.fromhex(head["root"] + head["signature"])
                heads.append({**head, "size": int(head["size"]), "account_id": head["account_id"] + ""})
            except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
                wrong.append(number)
    return heads, wrong


def read_certificate(path: Any) -> Any:
    """As it was downloaded in the console, or in the envelope of the API."""
    with open(path, encoding="utf-8") as file:
        told = json.load(file)
    return told.get("data", told)


def main(arguments: Any = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", help="the zip, or a folder with what was in it")
    parser.add_argument("--key", help="public key in hexadecimal that you know from elsewhere")
    parser.add_argument("--head", help="file with heads that you kept, one a line")
    parser.add_argument("--certificate", help="file with the certificate of an erasure")
    parser.add_argument("--json", action="store_true", help="write the findings as JSON")
    given = parser.parse_args(arguments)
    try:
        kept, wrong = read_heads(given.head) if given.head else ([], [])
        certificate = read_certificate(given.certificate) if given.certificate else None
        kept += [certificate["head"]] if certificate else []
        run = Verification(Export(given.export), bytes.fromhex(given.key) if given.key else None, kept)
        for number in wrong:
            run.say("signature", None, f"{Path(given.head).name}, line {number} is no head.")
        if certificate:
            run.check_certificate(certificate)
        findings = run.run()
    except (Unreadable, KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        print(f"It cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    tell(run, findings, given)
    return 1 if findings else 3 if run.untold() else 0


def tell(run: Any, findings: Any, given: Any) -> None:
    if given.json:
        told = {"holds": not findings, "findings": findings[:MOST], "untold_heads": run.untold()}
        print(json.dumps(told, indent=2))
        return
    print(f"{'BAD' if findings else 'holds'}: {run.entries} entries of {run.told['account_id'] or 'the server'}")
    print(f"head: size {run.head['size']}, root {run.head['root']}, {run.head['time']}")
    for one in findings[:MOST]:
        where = "" if one["seq"] is None else f" {one['seq']}"
        name = f" ({one['id']})" if one["id"] else ""
        print(f"  {one['kind']}{where}{name}: {one['what']}")
    if not run.told["complete"]:
        print("It has some of the entries of the account: that none of its kind was left out cannot be told from it.")
    if run.untold():
        first, more = run.untold()[:MOST], len(run.untold()[MOST:])
        sizes = ", ".join(map(str, first)) + (f" and {more} more" if more else "")
        print(
            f"Whether it goes on from the heads that you kept of size {sizes} cannot be told from it: ask the server,"
        )
        print("GET /v1/audit-log/verify?size=…&root=…, or for an export of the whole account.")
    if not given.key:
        print("The keys are those of the export itself. Give --key with one that you know from elsewhere.")


if __name__ == "__main__":
    sys.exit(main())
