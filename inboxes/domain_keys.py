"""DKIM keys of domains: made, put into use once they are published, let go. What is private about them is decrypted by whoever signs.

Source: RFC 6376 3.1 and 3.6.1, RFC 8301 3.2 (at least 1,024 bits, better 2,048).
"""

import base64
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.db import transaction

from audit.record import Act, record
from inboxes.models import Domain, DomainKey
from mailbot.lib.crypto import encrypted

BITS = 2048
# How long mail may be on its way (five days, RFC 5321 4.5.4.1) and be looked at again.
KEPT_FOR = timedelta(days=7)


class NewKey(NamedTuple):
    selector: str
    public: str
    sealed: str


def new_key() -> NewKey:
    """Takes about 100 ms: to be made before a transaction begins. Of a selector that no other server of the domain uses."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode("ascii")
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return NewKey(f"mb-{secrets.token_hex(4)}", base64.b64encode(public).decode("ascii"), encrypted(private))


@transaction.atomic
def add_key(domain: Domain, made: NewKey) -> DomainKey:
    """The next key of the domain, in place of one that was never used. It signs once its record is seen in DNS."""
    Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)
    domain.keys.filter(state=DomainKey.State.NEXT).delete()
    key = DomainKey.objects.create(account_id=domain.account_id, domain=domain, **made._asdict())
    record(Act.DOMAIN_KEY_MADE, domain, account_id=domain.account_id, changes={"selector": key.selector})
    return key


def put_into_use(domain: Domain, key: DomainKey, now: datetime) -> None:
    """It was seen in DNS, and signs from now on. In the caller's transaction."""
    active = domain.keys.filter(state=DomainKey.State.ACTIVE).first()
    if active:
        active.state, active.retired_at = DomainKey.State.RETIRED, now
        active.save(update_fields=["state", "retired_at"])
    key.state = DomainKey.State.ACTIVE
    key.save(update_fields=["state"])
    changes = {"selector": [active.selector if active else "", key.selector]}
    record(Act.DOMAIN_KEY_CHANGED, domain, account_id=domain.account_id, changes=changes)


def forget_old_keys(domain: Domain, now: datetime) -> None:
    """In the caller's transaction."""
    old = list(domain.keys.filter(state=DomainKey.State.RETIRED, retired_at__lte=now - KEPT_FOR).order_by("pk"))
    if old:
        domain.keys.filter(pk__in=[key.pk for key in old]).delete()
        changes = {"selectors": [key.selector for key in old]}
        record(Act.DOMAIN_KEY_REMOVED, domain, account_id=domain.account_id, changes=changes)
