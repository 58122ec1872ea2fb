"""The bounces of Sisimai's suite, as far as they are in the corpus: how many are read as it reads them, and why others are not."""

import json
from typing import Any

import pytest

from delivery.inbound.reports import Kind, Recipient, read_report
from tests.delivery.inbound.reports.summary import TOLD
from tests.threads.corpus import CORPUS

BOUNCES = CORPUS / "bounces"
# What we read in another way, and why. docs/bounces.md has the same table.
MISSES: dict[str, str] = {}

pytestmark = [
    pytest.mark.one_profile,
    pytest.mark.skipif(not BOUNCES.is_dir(), reason=f"there is no corpus at {BOUNCES} (MAILBOT_CORPUS)"),
]


def told(recipient: Recipient) -> dict[str, Any]:
    return {
        "status": recipient.status,
        "smtp_code": recipient.smtp_code,
        "reason": recipient.reason,
        "hard_bounce": recipient.hard_bounce,
    }


def test_each_is_read_as_the_suite_says(record_property: Any) -> None:
    expected = json.loads((BOUNCES / "expected.json").read_text())
    agreed = {"status": 0, "smtp_code": 0, "reason": 0, "hard_bounce": 0}
    missed, recipients = set(), 0
    for name, answers in expected.items():
        report = read_report((BOUNCES / name).read_bytes())
        ours = [told(recipient) for recipient in (report.recipients if report else ())]
        if ours != answers:
            missed.add(name)
        recipients += len(answers)
        for own, answer in zip(ours, answers, strict=False):
            for field in agreed:
                agreed[field] += own[field] == answer[field]
    record_property(
        TOLD, {"files": len(expected), "missed": sorted(missed), "recipients": recipients, "agreed": agreed}
    )
    assert missed == set(MISSES)


def test_a_complaint_is_one() -> None:
    report = read_report((BOUNCES / "arf-01.eml").read_bytes())
    assert report is not None
    assert (report.kind, report.feedback_type, report.recipients) == (Kind.COMPLAINT, "abuse", ())


def test_all_of_them_are_recognised_but_one() -> None:
    """Mimecast's is a notice to whom it was sent, about mail that is held."""
    unread = {path.name for path in BOUNCES.glob("*.eml") if read_report(path.read_bytes()) is None}
    assert unread == {"lhost-mimecast-01.eml"}
