"""The certificate of an erasure: what went, when, who asked and why, signed with the key of the trail. docs/erasure.md says how it is
verified. It names nobody: the pseudonym stands for the person."""

from typing import Any

from django.db import transaction
from django.db.models import F

from audit.leaves import moment
from audit.record import Act, record
from audit.signing import head_as_json, signed_certificate
from audit.tree import Tree
from delivery.models import Erasure, Suppression
from inboxes.models import AddressRule

FORMAT = "mailbot.erasure/1"
NOT_COVERED = (
    "Back-ups of the database and of the object store, until they are overwritten; who restores one has to erase again.",
    "Space of the database's files that is free and not written over yet.",
    "What has left the server: mail with its recipients and the providers that carried it, answers of the API that clients kept,"
    " webhooks and streams.",
    "Exports and raw mail that were downloaded before.",
    "Logs of this server and of what stands in front of it.",
    "Mail between other people in which the person is mentioned or quoted.",
    "Mail that was for inboxes of other accounts too: they keep theirs.",
    "Users of the console that have the address as a name: they are members, and are removed as such.",
    "Mail, events and reports that came in after this.",
)


def certificate_of(erasure: Erasure, kept_rules: list[str]) -> dict[str, Any]:
    """As of the newest head, which has to be sealed before. Raises KeyRefused."""
    head = Tree(erasure.account_id).head()
    told = {
        "format": FORMAT,
        "erasure": erasure.pk,
        "account_id": erasure.account_id,
        "person": erasure.person,
        "reason": erasure.reason,
        "requested_by": {"kind": erasure.actor_kind, "id": erasure.actor_id, "name": erasure.actor_name},
        "requested_at": moment(erasure.created_at),
        "started_at": moment(erasure.started_at) if erasure.started_at else None,
        "finished_at": moment(erasure.finished_at) if erasure.finished_at else None,
        "erased": dict(sorted(erasure.counts.items())),
        "kept": {
            "suppressions": _kept_suppressions(erasure),
            "list_entries": kept_rules,
            "tombstones": "Of each message that it was there, in which thread, when, and which way it went.",
        },
        "not_covered": list(NOT_COVERED),
        "head": head_as_json(head) if head else None,
    }
    return signed_certificate(told)


def head_sizes_of(account_id: str) -> list[int]:
    """Of the heads that certificates of the account show."""
    certificates = Erasure.objects.filter(account_id=account_id).exclude(certificate=None)
    sizes = certificates.values_list("certificate__head__size", flat=True)
    return [size for size in sizes if size is not None]


def read_certificate(erasure: Erasure) -> dict[str, Any] | None:
    """For whoever acts now, which the trail tells; None before there is one."""
    if erasure.certificate is None:
        return None
    with transaction.atomic():
        Erasure.objects.filter(pk=erasure.pk).update(downloads=F("downloads") + 1)
        record(Act.ERASURE_CERTIFICATE_READ, erasure, account_id=erasure.account_id)
    told: dict[str, Any] = erasure.certificate
    return told


def _kept_suppressions(erasure: Erasure) -> list[str]:
    """As a keyed hash: so that nothing is sent there."""
    theirs = Suppression.objects.filter(account_id=erasure.account_id, person=erasure.person)
    return list(theirs.order_by("pk").values_list("pk", flat=True))


def kept_rules_of(account_id: str, address: str) -> list[str]:
    """Entries of lists for the very address: they keep the person from being written to, or from being heard, and would do nothing without
    it."""
    rules = AddressRule.objects.filter(account_id=account_id, pattern=address)
    return list(rules.order_by("pk").values_list("pk", flat=True))
