"""A mail as dkimpy verifies it, DKIM and ARC alike, within bounds: what stands in a mail and in DNS was written by a stranger.

dkimpy 1.1.8 takes quadratic time for some bodies and headers, and any time at all for a key that is large enough. Here it gets bodies that
are in their canonical form already (which leaves it nothing to do), and no header or key beyond what anybody needs.
"""

import logging
import re
from typing import Any

import dkim
from dkim.canonicalization import (
    CanonicalizationPolicy,
    InvalidCanonicalizationPolicyError,
)

from delivery.inbound.authentication.answers import Answers
from mailbot.lib.dns import NotFound

MAX_HEADER = 256 * 1024  # octets of all header fields together
MAX_LINES = 5000  # of the header
MAX_FIELDS = 1000
MAX_FIELD = 8 * 1024  # octets of a signature, and of an ARC field
MAX_NAMES = 250  # in h=
MAX_HASHED = 96 * 1024 * 1024  # octets of bodies for one mail, each signature counted
MAX_KEY = 8192  # bits; RFC 8301 3.2 asks for 4096
MIN_KEY = 1024  # RFC 8301 3.2
MAX_EXPONENT = 2**32

_END_OF_HEADER = re.compile(rb"\r?\n\r?\n")
_LONG_BLANK = re.compile(rb"\s{200}")
_SILENT = logging.getLogger("delivery.dkimpy")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class Refused(dkim.DKIMException):  # type: ignore[misc]
    """It goes beyond what is verified here; the message says what."""


def check_bounds(raw: bytes) -> None:
    """Before dkimpy reads it. Raises Refused."""
    found = _END_OF_HEADER.search(raw, 0, MAX_HEADER + 4)
    header = raw[: found.start()] if found else raw
    if len(header) > MAX_HEADER or header.count(b"\n") > MAX_LINES:
        raise Refused(f"The header is longer than {MAX_HEADER // 1024} kB or {MAX_LINES} lines.")


class Careful:
    """For dkim.DKIM and dkim.ARC: keys through our DNS, bodies canonical beforehand."""

    answers: Answers
    headers: list[Any]
    body: bytes

    def set_up(self, answers: Answers) -> None:
        """Raises Refused."""
        self.answers = answers
        if len(self.headers) > MAX_FIELDS:
            raise Refused(f"There are more than {MAX_FIELDS} header fields.")
        self._given = self.body
        self._bodies: dict[bytes, bytes] = {}
        self._hashed = 0

    def canonical_body(self, sig: dict[bytes, bytes]) -> bytes:
        """Raises dkim.MessageFormatError for a form that nobody knows."""
        try:
            policy = CanonicalizationPolicy.from_c_value(sig.get(b"c", b"simple/simple"))
        except InvalidCanonicalizationPolicyError as error:
            raise dkim.MessageFormatError(f"invalid c= value: {error.args[0]!r}") from error
        name = policy.body_algorithm.name
        if name not in self._bodies:
            self._bodies[name] = canonical_body(self._given, is_relaxed=name == b"relaxed")
        return self._bodies[name]

    def verify_sig(self, sig: Any, include_headers: list[bytes], sig_header: Any, dnsfunc: Any) -> bool:
        """Raises DKIMException for what is permanent, Temporary for what is not known, and returns whether the signature is right."""
        _check_field(sig_header[1])
        if len(include_headers) > MAX_NAMES:
            raise Refused(f"It signs more than {MAX_NAMES} names.")
        self.pk, self.keysize, self.ktag, self.seqtlsrpt = self._key(sig)  # where dkimpy looks for them
        self.body = self.canonical_body(sig) if b"bh" in sig else b""
        self._hashed += len(self.body)
        if self._hashed > MAX_HASHED:
            raise Refused(f"Its signatures together sign more than {MAX_HASHED // 1024 // 1024} MB.")
        return bool(self.verify_sig_process(sig, include_headers, sig_header, dnsfunc))  # type: ignore[attr-defined]

    def _key(self, sig: dict[bytes, bytes]) -> Any:
        name = f"{sig[b's'].decode('ascii')}._domainkey.{sig[b'd'].decode('ascii')}"
        try:
            record = self.answers.ask(name, "TXT")[0]
        except NotFound as error:
            raise dkim.KeyFormatError(f"There is no key at {name}.") from error
        found = dkim.evaluate_pk(name, record.encode())
        _check_key(found[0], found[2])
        _check_use(record, sig)
        return found


def _check_field(value: bytes) -> None:
    if len(value) > MAX_FIELD or _LONG_BLANK.search(value):
        raise Refused(f"The field is longer than {MAX_FIELD // 1024} kB, or has a very long blank in it.")


def _check_key(key: Any, kind: bytes) -> None:
    if kind != b"rsa":
        return
    bits, exponent = key["modulus"].bit_length(), key["publicExponent"]
    if not MIN_KEY <= bits <= MAX_KEY:
        raise dkim.KeyFormatError(f"The key has {bits} bits, not {MIN_KEY} to {MAX_KEY} (RFC 8301).")
    if not 1 < exponent <= MAX_EXPONENT:
        raise dkim.KeyFormatError("The exponent of the key is none that is used.")


def _check_use(record: str, sig: dict[bytes, bytes]) -> None:
    """What its owner says of the key (RFC 6376 3.6.1): with which hashes it signs, and whether for the domain itself alone (t=s)."""
    tags = {name.strip(): value for name, _, value in (tag.partition("=") for tag in record.split(";"))}
    hashes = [one.strip() for one in tags.get("h", "").split(":") if one.strip()]
    if hashes and sig[b"a"].decode("ascii").rpartition("-")[2] not in hashes:
        raise dkim.KeyFormatError("The key is not for this hash.")
    identity = sig.get(b"i", b"@" + sig[b"d"]).rpartition(b"@")[2]
    if "s" in [flag.strip() for flag in tags.get("t", "").split(":")] and identity.lower() != sig[b"d"].lower():
        raise dkim.KeyFormatError("The key is not for subdomains.")


def canonical_body(body: bytes, *, is_relaxed: bool) -> bytes:
    """RFC 6376 3.4.3 and 3.4.4, in linear time. `body` has CRLF at the ends of lines, as dkimpy leaves it."""
    lines = body.split(b"\r\n")
    if is_relaxed:
        lines = [_BLANKS.sub(b" ", line.rstrip(b"\t ")) for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"" if is_relaxed else b"\r\n"
    return b"\r\n".join([*lines, b""])


_BLANKS = re.compile(rb"[\t ]+")


class SignedMail(Careful, dkim.DKIM):  # type: ignore[misc]
    """For its DKIM signatures. Raises Refused, and dkim.MessageFormatError for what is no mail."""

    def __init__(self, raw: bytes, answers: Answers) -> None:
        check_bounds(raw)
        super().__init__(raw, logger=_SILENT, minkey=MIN_KEY)
        self.set_up(answers)


class SealedMail(Careful, dkim.ARC):  # type: ignore[misc]
    """For its ARC chain. Raises the same."""

    def __init__(self, raw: bytes, answers: Answers) -> None:
        check_bounds(raw)
        super().__init__(raw, logger=_SILENT, minkey=MIN_KEY)
        self.set_up(answers)
