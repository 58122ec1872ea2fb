"""DKIM signatures on mail that leaves by who does not sign: a smart host, or the server's own backend.

The signature stands before the bytes that were fixed when the mail was accepted, and is made when they leave: with the key that is
published then. So what is kept is the mail without it.

Sources: RFC 6376 (3.5, 5.4, 5.4.2: what is signed once more than it is there cannot be added to), RFC 8301 (rsa-sha256).
"""

import base64
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import dkim
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from delivery.esps import ESPS
from delivery.models import OutboundMail
from inboxes.models import DomainKey, Mode
from mailbot.lib.crypto import CannotDecrypt, decrypted

# Signed once more than they are there, so that nobody adds another one.
CLOSED = (b"from", b"to", b"cc", b"subject", b"date", b"reply-to")
# Signed where they are there. Not Received and others that are added on the way (RFC 6376 5.4.1).
SIGNED = (
    *CLOSED,
    *(b"message-id", b"in-reply-to", b"references", b"mime-version", b"content-type", b"content-transfer-encoding"),
    *(b"list-id", b"list-unsubscribe", b"list-unsubscribe-post", b"auto-submitted", b"sender"),
)
RELAXED = (b"relaxed", b"relaxed")
CRLF = b"\r\n"


class CannotSign(Exception):
    """The key cannot be read. Without a signature the mail would be taken for a forgery, so it waits."""


class _Key(NamedTuple):
    pem: bytes
    rsa: RSAPrivateKey


class _Signer(dkim.DKIM):  # type: ignore[misc]
    """dkimpy's, but with RSA by OpenSSL: in Python it takes 5 ms a mail, in which no other thread runs."""

    def __init__(self, raw: bytes, key: _Key) -> None:
        super().__init__(raw)
        self._key = key

    def gen_header(
        self,
        fields: Any,
        include_headers: Any,
        canon_policy: Any,
        header_name: bytes,
        pk: Any,
        standardize: bool = False,
    ) -> bytes:
        unsigned = dkim.RE_BTAG.sub(b"\\1", dkim.fold(_tags(fields), namelen=len(header_name), linesep=CRLF))
        digest = hashlib.sha256()
        headers = canon_policy.canonicalize_headers(self.headers)
        dkim.hash_headers(digest, canon_policy, headers, include_headers, (header_name, b" " + unsigned), dict(fields))
        signature = base64.b64encode(self._key.rsa.sign(digest.digest(), PKCS1v15(), Prehashed(SHA256())))
        signed = [(name, signature if name == b"b" else value) for name, value in fields]
        return bytes(dkim.fold(_tags(signed) + CRLF, namelen=len(header_name), linesep=CRLF))


def _tags(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"; ".join(b"=".join(field) for field in fields)


def give_keys(mails: Iterable[OutboundMail]) -> None:
    """Put onto each mail that has to be signed the key for it, in one query; in none where no inbox has a domain of its own. For those who
    hand over, and have no database."""
    to_sign = [mail for mail in mails if mail.inbox.own_domain_id and not _is_signed_elsewhere(mail)]
    if not to_sign:
        return
    wanted = {mail.inbox.own_domain_id for mail in to_sign}
    keys = DomainKey.objects.filter(domain__in=wanted, state=DomainKey.State.ACTIVE).select_related("domain")
    by_domain = {key.domain_id: key for key in keys}
    for mail in to_sign:
        mail.signing_key = by_domain.get(str(mail.inbox.own_domain_id))


def _is_signed_elsewhere(mail: OutboundMail) -> bool:
    """Mail of the sandbox goes nowhere; of an ESP that this server lacks, the mail waits."""
    esp = ESPS.get(mail.carrier.esp) if mail.carrier else None
    return mail.mode == Mode.TEST or (esp is not None and esp.signs)


def signed(mail: OutboundMail) -> bytes:
    """The bytes that leave. Raises CannotSign."""
    raw = bytes(mail.raw)
    key = mail.signing_key
    if key is None:  # none that DNS has yet, or nobody's domain but the server's
        return raw
    return signature_of(raw, key) + raw


def signature_of(raw: bytes, key: DomainKey) -> bytes:
    """The header line, with its end. 1 ms for a mail of 2 kB."""
    try:
        loaded = _loaded(key.sealed)
    except CannotDecrypt as error:
        raise CannotSign(f"The DKIM key {key.selector} of {key.domain} cannot be read: {error}") from error
    signer = _Signer(raw, loaded)
    names = [name.lower() for name, _ in signer.headers]
    header = signer.sign(
        key.selector.encode(),
        key.domain.domain.encode(),
        loaded.pem,
        canonicalize=RELAXED,
        include_headers=[*(name for name in names if name in SIGNED), *CLOSED],
    )
    return bytes(header)


@lru_cache(maxsize=256)
def _loaded(sealed: str) -> _Key:
    """Reading a key takes far longer than signing by it. It was made here, so it is not checked again."""
    pem = decrypted(sealed).encode()
    key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)
    return _Key(pem, key)
