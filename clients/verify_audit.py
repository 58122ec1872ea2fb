#!/usr/bin/env python3
"""Verify an export of mailbot's audit log without the server. Python 3.9 or newer and `cryptography`; no code of mailbot's.

    python verify_audit.py export.zip [--key PUBLIC_KEY] [--head HEADS.jsonl]

It says whether the entries are those that were sealed, and names the first that is changed, missing, added or moved. With --key the heads
must be signed by that key or by one that follows from it; with --head the export must go on from heads that you kept, as far as it can
tell. Exit code 0: it holds; 1: it does not; 2: it cannot be read. The format is described in docs/audit/format.md.
"""

import argparse
import hashlib
import hmac
import json
import sys
import zipfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "mailbot.audit/1"
BLOCK_LEVEL = 8
MOST = 20  # findings that are told
PLAIN = (
    "id time account_id inbox_id mode action operation object_type object_id object_number content_type actor_kind actor_id"
    " request_id remote_port"
).split()
PERSONAL = "actor_name actor_email remote_addr object_name object_data details changes_text".split()
REMOVED, REPLACED = "trail.removed", "trail.replaced"


class Unreadable(Exception):
    """The export is none, or not of this format."""


# --- RFC 8785 ----------------------------------------------------------------------------------------------------------


def canonical(value):
    return _text(value).encode("utf-8", "surrogatepass")


def _text(value):
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.encoder.encode_basestring(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 2**53 else '"%d"' % value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(_text(name) + ":" + _text(value[name]) for name in names) + "}"


def _number(value):
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
    return sign + digits[0] + ("." + digits[1:] if count > 1 else "") + "e%+d" % (point - 1)


# --- Merkle trees, RFC 9162 2.1 ----------------------------------------------------------------------------------------


def leaf_hash(content):
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """One that grows at its right, by leaves and by complete subtrees. `blocks`: the hashes of its complete blocks of 256 leaves."""

    def __init__(self):
        self.size, self.hashes, self.blocks = 0, [], {}

    def add(self, hash_, level=0):
        if self.size % (1 << level):
            raise Unreadable("A proof has a subtree at %d where none of its size can begin." % self.size)
        index = self.size >> level
        self.size += 1 << level
        while True:
            if level == BLOCK_LEVEL:
                self.blocks[index] = hash_
            if not index & 1:
                break
            hash_, level, index = node_hash(self.hashes.pop(), hash_), level + 1, index >> 1
        self.hashes.append(hash_)

    def root(self):
        if not self.hashes:
            return hashlib.sha256(b"").digest()
        *lefts, hash_ = self.hashes
        for left in reversed(lefts):
            hash_ = node_hash(left, hash_)
        return hash_


def cover(start, end):
    """Levels of the fewest complete subtrees that are the leaves start … end-1."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level
        start += 1 << level


def is_consistent(first, first_root, second, second_root, path):
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
    return last == 0 and one == first_root and other == second_root


# --- Leaves ------------------------------------------------------------------------------------------------------------


def personal_of(entry):
    """What can name a person, by the names of the commitments."""
    values = {name: entry[name] for name in PERSONAL if name in entry}
    values.update({"changes." + name: value for name, value in entry["changes"].items()})
    return values


def commitment(salt, value):
    return hashlib.sha256(b"\x02" + salt + canonical(value)).hexdigest()


def leaf_of(line, seq):
    """The octets of the leaf that this line is, at `seq`."""
    entry, replaced = line["entry"], line.get("replaced", {})
    made = {name: one["commitment"] for name, one in replaced.items()}
    for name, value in personal_of(entry).items():
        if name not in replaced:
            salt = salt_of(line, name)
            made[name] = commitment(salt, value) if salt else ""
    plain = {name: entry[name] for name in PLAIN}
    return canonical({"commitments": made, "entry": plain, "format": FORMAT, "seq": seq})


def salt_of(line, name):
    if "salt" in line:
        return hmac.new(bytes.fromhex(line["salt"]), name.encode("utf-8", "surrogatepass"), "sha256").digest()
    return bytes.fromhex(line.get("salts", {}).get(name, ""))


# --- Heads and keys ----------------------------------------------------------------------------------------------------


def is_signed(public_key, signature, octets):
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, octets)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_head_signed(head, keys):
    fields = {name: head[name] for name in ("account_id", "size", "root", "time", "key")}
    octets = b"mailbot audit head\n" + canonical(fields)
    return head["key"] in keys and is_signed(keys[head["key"]], bytes.fromhex(head["signature"]), octets)


def checked_keys(told, pinned, say):
    """Public keys by id: all of the export, or with `pinned` those that follow from it."""
    keys, before = {}, None
    for key in told:
        public = bytes.fromhex(key["public_key"])
        name = hashlib.sha256(public).hexdigest()[:16]
        if name != key["key"]:
            say("key", None, "The public key %s is another than the one with this name." % key["key"])
            continue
        is_endorsed = before is not None and key["endorsed_by"] == before[0] and is_signed(
            before[1], bytes.fromhex(key["endorsement"]), b"mailbot audit key\n" + public
        )
        if before is not None and not is_endorsed:
            say("key", None, "The key %s is not endorsed by the one before it." % name)
        if pinned is None or public == pinned or (is_endorsed and before[0] in keys):
            keys[name] = public
        before = (name, public)
    if pinned is not None and pinned not in keys.values():
        say("key", None, "The key that you gave is none of the export's.")
    return keys


# --- The export --------------------------------------------------------------------------------------------------------


class Export:
    """A zip or a folder."""

    def __init__(self, path):
        self.path = Path(path)
        self.zip = None if self.path.is_dir() else zipfile.ZipFile(self.path)

    def open(self, name):
        return (self.path / name).open("rb") if self.zip is None else self.zip.open(name)

    def json(self, name):
        with self.open(name) as file:
            return json.load(file)

    def lines(self, name):
        with self.open(name) as file:
            for number, line in enumerate(file, 1):
                try:
                    yield line, json.loads(line)
                except ValueError:
                    raise Unreadable("%s, line %d is no JSON." % (name, number)) from None

    def sha256(self, name):
        sum_ = hashlib.sha256()
        with self.open(name) as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                sum_.update(piece)
        return sum_.hexdigest()


class Verification:
    def __init__(self, export, pinned=None, kept=()):
        self.export, self.findings = export, []
        self.kept, self.kept_roots = kept, {}
        manifest = export.json("manifest.json")
        self.told = manifest["audit"]
        if self.told["format"] != FORMAT:
            raise Unreadable("The format is %s, and this program reads %s." % (self.told["format"], FORMAT))
        self.head, self.files = self.told["head"], manifest.get("files", {})
        self.keys = checked_keys(self.told["keys"], pinned, self.say)
        self.tree = Tree()
        self.entries = self.replaced = 0
        self.removed, self.said, self.unsaid, self.gaps = [], set(), [], []

    def say(self, kind, seq, what, id_=""):
        if len(self.findings) < 10 * MOST:
            self.findings.append({"kind": kind, "seq": seq, "id": id_, "what": what})

    def run(self):
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

    def check_files(self):
        for name, told in self.files.items():
            try:
                if self.export.sha256(name) != told:
                    self.say("file", None, "%s is another file than the manifest says." % name)
            except (KeyError, FileNotFoundError):
                self.say("file", None, "%s is missing." % name)

    def check_head(self, head, what):
        if head["account_id"] != self.told["account_id"]:
            self.say("signature", None, "%s is that of another account." % what)
        if not is_head_signed(head, self.keys):
            self.say("signature", None, "%s is not signed by a key that counts here." % what)

    def check_earlier(self, earlier):
        head, path = earlier["head"], [bytes.fromhex(hash_) for hash_ in earlier["consistency"]]
        self.check_head(head, "An earlier head")
        root, newest = bytes.fromhex(head["root"]), bytes.fromhex(self.head["root"])
        if is_consistent(head["size"], root, self.head["size"], newest, path):
            self.kept_roots[head["size"]] = head["root"]
        else:
            self.say("head", None, "The trail does not go on from the head of size %d." % head["size"])

    # --- Lines, in the order of the tree ---

    def take(self, raw, line):
        seq, id_ = line["seq"], line["entry"].get("id", "")
        if seq < self.tree.size:
            return self.say("reordered", seq, "The entry stands behind one that comes after it, or twice.", id_)
        if seq > self.tree.size and not self.fill(seq):
            self.say("missing", self.tree.size, "The entries %d to %d are not there, and no proof is." % (self.tree.size, seq - 1))
            self.skip(seq)
        self.entries += 1
        self.check_line(raw, line, seq, id_)
        self.push(bytes.fromhex(line["hash"]))
        return None

    broken = False
    last = None

    def skip(self, seq):
        """Something is missing: what follows can still be held against its own hash."""
        self.broken, self.tree.size = True, seq

    def push(self, hash_, level=0):
        if self.broken:
            self.tree.size += 1 << level
        else:
            self.tree.add(hash_, level)
            self.note_size()

    def note_size(self):
        if any(head["size"] == self.tree.size for head in self.kept):
            self.kept_roots[self.tree.size] = self.tree.root().hex()

    def check_line(self, raw, line, seq, id_):
        try:
            if leaf_hash(leaf_of(line, seq)).hex() != line["hash"]:
                return self.say(*self.named(line, seq), id_)
        except (KeyError, TypeError, ValueError, AttributeError):
            return self.say("changed", seq, "The entry is none of this format.", id_)
        if canonical(line) + b"\n" != raw:
            self.say("changed", seq, "The line is not in canonical form.", id_)
        if line["entry"]["account_id"] != self.told["account_id"]:
            self.say("added", seq, "The entry is of another account.", id_)
        self.note(line, seq, id_)
        return None

    def named(self, line, seq):
        for other in (seq - 1, seq + 1, self.last):
            if other is not None and other >= 0 and leaf_hash(leaf_of(line, other)).hex() == line["hash"]:
                return "reordered", seq, "The entry has the place of another; its own is %d." % other
        self.last = seq
        return "changed", seq, "The entry is another than the one that was sealed."

    def note(self, line, seq, id_):
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

    def fill(self, end):
        """Put the hashes of the proof where entries are not in the export. False where there are none that fit."""
        part = self.next_gap()
        if part is None or self.broken or part["start"] != self.tree.size or part["end"] != end:
            return False
        levels, hashes = list(cover(part["start"], part["end"])), [bytes.fromhex(hash_) for hash_ in part["hashes"]]
        if len(levels) != len(hashes):
            return False
        self.gaps.append((part["start"], part["end"]))
        for level, hash_ in zip(levels, hashes):
            self.push(hash_, level)
        return True

    def next_gap(self):
        for _, part in self.proof:
            if "block" not in part:
                return part
            self.check_block(part)
        return None

    def check_block(self, part):
        made = self.tree.blocks.pop(part["block"], None)
        if made is not None and made.hex() != part["hash"]:
            start = part["block"] << BLOCK_LEVEL
            what = "One of the entries %d to %d is another, or at another place, than when it was sealed."
            self.say("changed", start, what % (start, start + 255))

    def finish(self):
        size = self.head["size"]
        if self.tree.size < size and not self.fill(size):
            self.say("missing", self.tree.size, "The export ends before its head, which is of %d entries." % size)
            self.broken = True
        self.next_gap()
        if self.tree.size > size:
            self.say("added", size, "The export has more entries than its head.")
        elif not self.broken and self.tree.root().hex() != self.head["root"]:
            self.say("head", None, "The entries are not those that the head was signed for.")
        if self.entries != self.told["entries"] and not self.findings:
            self.say("missing", None, "The manifest counts %d entries, and %d are there." % (self.told["entries"], self.entries))
        self.check_said()
        self.check_kept()

    def check_said(self):
        for seq, name, now, id_ in self.unsaid:
            if (seq, name, now) not in self.said:
                self.say("changed", seq, "%s: replaced, and no entry says so." % name, id_)
        if not self.told["complete"]:
            return
        for start, end in self.gaps:
            for seq in range(start, end):
                if not any(first <= seq <= last for first, last in self.removed):
                    self.say("missing", seq, "The entry is not there, and no entry says that it was removed.")
                    break

    def check_kept(self):
        for head in self.kept:
            if head["account_id"] != self.told["account_id"]:
                continue
            if not is_head_signed(head, self.keys):
                self.say("key", None, "The head of size %d that you kept is not signed by a key that counts here." % head["size"])
            elif head["size"] > self.head["size"]:
                what = "The trail ends before: you kept a head of size %d, and %d entries are left."
                self.say("missing", self.head["size"], what % (head["size"], self.head["size"]))
            elif self.kept_roots.get(head["size"], head["root"]) != head["root"]:
                self.say("head", None, "The trail is another than that of the head of size %d that you kept." % head["size"])

    def unseen(self):
        """Heads that were kept and of which this export cannot say anything."""
        sizes = set(self.kept_roots)
        ours = [head for head in self.kept if head["account_id"] == self.told["account_id"]]
        return [head["size"] for head in ours if head["size"] not in sizes and head["size"] <= self.head["size"]]


def read_heads(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.lstrip().startswith("{")]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", help="the zip, or a folder with what was in it")
    parser.add_argument("--key", help="public key in hexadecimal that you know from elsewhere")
    parser.add_argument("--head", help="file with heads that you kept, one a line")
    parser.add_argument("--json", action="store_true", help="write the findings as JSON")
    given = parser.parse_args(arguments)
    try:
        kept = read_heads(given.head) if given.head else []
        run = Verification(Export(given.export), bytes.fromhex(given.key) if given.key else None, kept)
        findings = run.run()
    except (Unreadable, KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        print("It cannot be read: %s: %s" % (type(error).__name__, error), file=sys.stderr)
        return 2
    tell(run, findings, given)
    return 1 if findings else 0


def tell(run, findings, given):
    if given.json:
        print(json.dumps({"holds": not findings, "findings": findings[:MOST]}, indent=2))
        return
    print("%s: %d entries of %s" % ("BAD" if findings else "holds", run.entries, run.told["account_id"] or "the server"))
    print("head: size %d, root %s, %s" % (run.head["size"], run.head["root"], run.head["time"]))
    for one in findings[:MOST]:
        where = "" if one["seq"] is None else " %d" % one["seq"]
        print("  %s%s%s: %s" % (one["kind"], where, " (%s)" % one["id"] if one["id"] else "", one["what"]))
    if not run.told["complete"]:
        print("It has some of the entries of the account: that none of its kind was left out cannot be told from it.")
    if run.unseen():
        print("Nothing can be told of the heads that you kept of size %s." % ", ".join(map(str, run.unseen())))
    if not given.key:
        print("The keys are those of the export itself. Give --key with one that you know from elsewhere.")


if __name__ == "__main__":
    sys.exit(main())
