"""What the documentation shows of inboxes."""

INBOX_ID = "inbox_01m86mjjvsewt8t640x9zpmss7"
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
    "reputation": None,
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
