"""What the documentation shows of holds and retention classes."""

from inboxes.api.examples import INBOX_ID

HOLD = {
    "id": "hold_01m86n7k3cfq8bq4rnv5hh2zpe",
    "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
    "inbox_id": INBOX_ID,
    "matter": "Smith v. Shop",
    "reason": "Counsel's letter of 24 November: keep all mail with this customer.",
    "active": True,
    "placed_at": "2026-11-24T10:15:00.123Z",
    "placed_by": "Legal workflow",
    "released_at": None,
    "released_by": "",
    "release_reason": "",
}
HOLD_BODY = {"inbox_id": INBOX_ID, "matter": HOLD["matter"], "reason": HOLD["reason"]}
RELEASE_BODY = {"reason": "The case is settled."}

RETENTION_CLASS = {
    "id": "retention_01m86n7k3cfq8bq4rnv5hh2zpe",
    "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
    "name": "Support",
    "content_days": 365,
    "raw_days": 90,
    "events_days": 365,
    "audit_days": None,
    "is_default": True,
    "created_at": "2026-11-24T10:15:00.123Z",
}
CLASS_BODY = {"name": "Support", "content_days": 365, "raw_days": 90, "events_days": 365, "is_default": True}
CLASS_PATCH = {"content_days": 730}
