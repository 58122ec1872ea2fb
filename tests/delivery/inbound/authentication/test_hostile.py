"""Mail that is built to take time or to break whoever checks it: it takes little, raises nothing, and passes nothing."""

from base64 import b64encode
from collections.abc import Mapping
from time import monotonic, thread_time
from typing import Any

import pytest

from delivery.inbound.authentication.answers import Answers
from delivery.inbound.authentication.arc_check import check_arc
from delivery.inbound.authentication.breaker import Breaker
from delivery.inbound.authentication.dkim_check import check_dkim, verdict_of
from delivery.inbound.authentication.dmarc_check import find_policy
from delivery.inbound.authentication.spf_check import check_spf, evaluate
from mailbot.lib.dns import NotFound
from tests.delivery.inbound.authentication.senders import key_pair, signed
from tests.mailing import mail

pytestmark = pytest.mark.one_profile
LIMIT = 5.0  # seconds of CPU; each takes less than one


KEY, POLICY = "s1._domainkey.bank.example", "_dmarc.bank.example"


def answers(records: Mapping[str, str] = {}) -> Answers:
    def lookup(name: str, record_type: str, *, within: float) -> tuple[str, ...]:
        if name not in records or record_type != "TXT":
            raise NotFound(name, record_type)
        return (records[name],)

    return Answers(monotonic() + 60, lookup, Breaker(lambda: True))


@pytest.fixture(autouse=True)
def _reserved_names_are_asked(settings: Any) -> None:
    settings.DNS_ZONE_FILE = "what each test says"


def signature(**changes: str) -> bytes:
    tags = {
        "v": "1",
        "a": "rsa-sha256",
        "d": "bank.example",
        "s": "s1",
        "h": "from",
        "bh": "YWJj",
        "b": "YWJj",
    } | changes
    return f"DKIM-Signature: {'; '.join(f'{name}={value}' for name, value in tags.items())}\r\n".encode()


def rsa_record(modulus: int, exponent: int) -> str:
    """A key of whatever size, as RFC 6376 3.6.1 has it: SubjectPublicKeyInfo in DER."""

    def der(tag: int, content: bytes) -> bytes:
        length = len(content)
        size = (
            bytes([length])
            if length < 128
            else bytes([0x80 + (length.bit_length() + 7) // 8]) + length.to_bytes((length.bit_length() + 7) // 8)
        )
        return bytes([tag]) + size + content

    def integer(value: int) -> bytes:
        return der(2, value.to_bytes(value.bit_length() // 8 + 1))

    algorithm = der(0x30, der(6, bytes.fromhex("2a864886f70d010101")) + b"\x05\x00")
    key = der(0x30, integer(modulus) + integer(exponent))
    return f"v=DKIM1; p={b64encode(der(0x30, algorithm + der(3, bytes([0]) + key))).decode()}"


HOSTILE = {
    "many signatures": signature() * 500 + mail(),
    "a long signature": signature(z="x" * 100_000) + mail(),
    "a signature of blanks": signature(b=" \r\n " * 2000 + "YWJj") + mail(),
    "many names": signature(h=":".join(["from"] * 1000)) + mail(),
    "many names that are not there": signature(h=":".join(f"x{n}" for n in range(1500))) + mail(),
    "many fields": b"X: y\r\n" * 4000 + signature() + mail(),
    "a long header": b"X: " + b"y\r\n " * 200_000 + b"\r\n" + signature() + mail(),
    "blanks in the body": signature(c="relaxed/relaxed") + mail() + b" " * 2_000_000 + b"x",
    "lines in the body": signature(c="simple/simple") + mail() + b"\r\n" * 500_000,
    "no header": signature() + b"what is this\r\n\r\n",
    "no tags": b"DKIM-Signature: ;;;=;=\r\n" + mail(),
    "not ASCII": b"DKIM-Signature: v=1; d=\xff\xfe; s=\xff; \x00\r\n" + mail(),
    "large numbers": signature(l="9" * 5000, t="9" * 5000, x="9" * 5000) + mail(),
    "a wrong form": signature(c="odd/odd") + mail(),
    "a name of a domain": signature(d="a..b", s="x" * 300) + mail(),
    "many chains": b"".join(
        b"ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=bank.example; s=s1; b=YWJj\r\n"
        b"ARC-Message-Signature: i=%d; a=rsa-sha256; d=bank.example; s=s1; h=from; bh=YWJj; b=YWJj\r\n"
        b"ARC-Authentication-Results: i=%d; x.example; none\r\n" % (n, n, n)
        for n in range(1, 200)
    )
    + mail(),
    "chains without an end": b"ARC-Seal: i=99999999999\r\nARC-Seal: \r\n" + mail(),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_it_passes_nothing_and_takes_little_time(what: str) -> None:
    began = thread_time()
    known = answers({KEY: key_pair("bank.example")[1]})
    assert verdict_of(check_dkim(HOSTILE[what], "bank.example", known)) in ("none", "fail", "permerror")
    assert check_arc(HOSTILE[what], known).result in ("none", "fail")
    assert thread_time() - began < LIMIT


def test_of_many_signatures_those_of_the_author_are_looked_at() -> None:
    raw = signed(mail(From="ann@bank.example"), "bank.example")
    raw = signature(d="evil.example", s="none") * 50 + raw
    found = check_dkim(raw, "bank.example", answers({KEY: key_pair("bank.example")[1]}))
    assert (found[0].domain, found[0].result, verdict_of(found)) == ("bank.example", "pass", "pass")
    assert len(found) == 11


@pytest.mark.parametrize(
    ("modulus", "exponent"),
    [((1 << 16384) + 1, 65537), ((1 << 2047) + 1, (1 << 2040) + 1), ((1 << 511) + 1, 3), (0, 0)],
    ids=["a large modulus", "a large exponent", "a small one", "nothing"],
)
def test_keys_beyond_what_is_used_are_refused(modulus: int, exponent: int) -> None:
    began = thread_time()
    known = answers({KEY: rsa_record(modulus, exponent)})
    (found,) = check_dkim(signed(mail(), "bank.example"), "bank.example", known)
    assert (found.result, thread_time() - began < LIMIT) == ("permerror", True)


@pytest.mark.parametrize(
    "record",
    [
        "",
        "v=DKIM1; p=",
        "v=DKIM2; p=x",
        "p=%%%",
        "k=ed25519; p=YWJj",
        "k=odd; p=x",
        "v=DKIM1; h=sha1; p={}",
        "\u2603" * 9,
    ],
)
def test_a_key_that_is_none_makes_no_signature_right(record: str) -> None:
    public = key_pair("bank.example")[1].partition("p=")[2]
    known = answers({KEY: record.replace("{}", public)})
    (found,) = check_dkim(signed(mail(), "bank.example"), "bank.example", known)
    assert found.result == "permerror"


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 " + "include:bank.example " * 1000,
        "v=spf1 include:bank.example",
        "v=spf1 redirect=bank.example",
        "v=spf1 " + "a:%{l}%{s}%{i}%{d}.bank.example " * 500,
        "v=spf1 exists:%{" + "l" * 10_000 + "}",
        "v=spf1 ip4:1.2.3.4/99 \u2603",
        "v=spf1 " + "x=%{s} " * 3000 + "odd",
    ],
)
def test_spf_records_without_an_end_are_errors(record: str) -> None:
    began = thread_time()
    found = check_spf("203.0.113.5", '"a@b"@bank.example', "mx.example", answers({"bank.example": record}))
    assert (found.result, found.domain) == ("permerror", "bank.example")
    assert thread_time() - began < LIMIT


@pytest.mark.parametrize(
    "sender", ["x@", "@", "x@a", "x@a..b", "x@[192.0.2.1]", f"x@{'y' * 64}.example", "x\x00@ü.example"]
)
def test_a_sender_without_a_domain_has_no_spf(sender: str) -> None:
    assert evaluate("203.0.113.5", sender, "", answers()).result == "none"


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ("v=DMARC1; p=reject", "reject"),
        ("v=DMARC1;p=quarantine;", "quarantine"),
        ("V=DMARC1; p=reject", ""),
        ("v=DMARC1; p=Reject", "reject"),
        ("v=DMARC1; p=delete", ""),
        ("v=DMARC1; p=delete; rua=mailto:x@bank.example", "none"),
        ("v=DMARC1", ""),
        ("v=DMARC1; p", ""),
        ("p=reject; v=DMARC1", ""),
        ("v=DMARC10; p=reject", ""),
        ("v=DMARC1; " + "x=y;" * 10_000 + " p=reject", "reject"),
    ],
)
def test_a_policy_is_one_or_there_is_none(record: str, wanted: str) -> None:
    assert find_policy("bank.example", answers({POLICY: record})).wanted == wanted
