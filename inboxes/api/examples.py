"""What the documentation shows of inboxes, lists, keys and usage."""

INBOX_ID = "inbox_01m86mjjvsewt8t640x9zpmss7"
SENT_IN_AN_HOUR = {
    "sent": 3,
    "delivered": 3,
    "deferred": 0,
    "bounced": 0,
    "complained": 0,
    "bounce_rate": 0.0,
    "complaint_rate": 0.0,
}
SENT_IN_A_DAY = SENT_IN_AN_HOUR | {"sent": 120, "delivered": 117, "bounced": 3, "bounce_rate": 0.025}
INBOX = {
    "id": INBOX_ID,
    "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
    "address": "billing@mailbot.localhost",
    "username": "billing",
    "display_name": "Billing",
    "domain": "mailbot.localhost",
    "status": "active",
    "status_reason": "",
    "permissions": ["inboxes:read", "messages:read", "messages:send"],
    "daily_send_limit": 200,
    "sends_today": 3,
    "created_at": "2026-11-24T10:15:00.123Z",
    "metadata": {"team": "finance"},
    "client_id": "billing-agent-1",
    "expires_at": None,
    "deleted_at": None,
    "mode": "test",
    "message_count": 12,
    "thread_count": 5,
    "oversight": False,
    "reputation": {
        "state": "ok",
        "score": 50,
        "trials_at": None,
        "trial_sends_left": None,
        "counted_from": None,
        "windows": {"1h": SENT_IN_AN_HOUR, "24h": SENT_IN_A_DAY, "7d": SENT_IN_A_DAY},
    },
    "purge_on_expiry": False,
    "list_unsubscribe": False,
    "provider_id": None,
    "track_opens": False,
    "track_clicks": False,
    "retention_class_id": None,
    "on_hold": False,
}
INBOX_BODY = {
    "username": "billing",
    "display_name": "Billing",
    "metadata": {"team": "finance"},
    "client_id": "billing-agent-1",
    "daily_send_limit": 200,
}
INBOX_PATCH = {"display_name": "Billing and refunds", "daily_send_limit": None}
REASON = {"reason": "The agent is being retrained."}

RULE = {
    "id": "rule_01m86n7k3cfq8bq4rnv5hh2zpe",
    "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
    "inbox_id": None,
    "level": "account",
    "mode": "test",
    "direction": "receive",
    "effect": "block",
    "pattern": "spam.example",
    "note": "Nothing but advertisements.",
    "created_by": {"kind": "api_key", "id": "key_01m86mj1qte3fvhk1a1nxv8b7z", "name": "Operations"},
    "created_at": "2026-11-24T10:15:00.123Z",
}
RULE_BODY = {"domain": "spam.example", "note": "Nothing but advertisements."}
REPLACE_BODY = {"entries": ["spam.example", {"address": "ann@example.com", "note": "She asked for it."}]}
REPLACED = {"direction": "receive", "effect": "block", "inbox_id": None, "entries": 2, "added": 1, "removed": 3}
VERDICT = {
    "direction": "receive",
    "list": "receive",
    "inbox_id": INBOX_ID,
    "blocked": True,
    "reason": "block_rule",
    "address": "offers@spam.example",
    "level": "account",
    "rule": {"id": RULE["id"], "effect": "block", "pattern": "spam.example"},
    "explanation": "The account's lists block spam.example.",
}
API_KEY = {
    "id": "key_01m86mj1qte3fvhk1a1nxv8b7z",
    "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
    "name": "Billing agent",
    "mode": "test",
    "prefix": "mb_test_a5q2",
    "permissions": ["inboxes:read", "messages:read", "messages:send"],
    "inbox_id": INBOX_ID,
    "inbox_ids": [INBOX_ID],
    "status": "usable",
    "created_at": "2026-11-24T10:15:00.123Z",
    "last_used_at": None,
    "expires_at": None,
    "revoked_at": None,
}
API_KEY_BODY = {"name": "Billing agent", "inbox_id": INBOX_ID, "permissions": API_KEY["permissions"]}
API_KEY_PATCH = {"name": "Billing and refunds", "expires_at": "2027-12-01T00:00:00Z"}
NEW_API_KEY = {**API_KEY, "secret": "mb_test_… (shown once)"}
_COUNTED = {"received": 12, "sent": 4, "recipients": 5, "octets": 88_213}
USAGE = {
    "mode": "test",
    "from": "2026-10-26",
    "to": "2026-11-24",
    "inboxes": {"active": 3, "paused": 1, "tripped": 0, "deleted": 2, "total": 6},
    "messages": _COUNTED,
    "days": [{"day": "2026-11-24", **_COUNTED}],
    "storage": {"messages": 16, "messages_octets": 88_213, "attachments_octets": 48_213, "octets": 136_426},
    "limits": {
        "calls": {"key": {"limit": "12000/minute", "remaining": 11_999}, "account": None},
        "recipients_a_day": {"limit": 1000, "used": 5, "resets_at": "2026-11-25T00:00:00.000Z"},
        "storage_octets": {"limit": None, "is_full": False},
    },
}
