"""What the documentation shows of sending."""

FILE = {"filename": "receipt.txt", "content_type": "text/plain", "content": "VGhhbmsgeW91Lg=="}
SEND = {
    "to": ["Carol <carol@shop.example>"],
    "subject": "Invoice 2041",
    "body_text": "Invoice 2041 is due on Friday.",
    "attachments": [FILE],
    "labels": ["invoice"],
}
REPLY = {"body_text": "Of course: half now, half in May.", "reply_all": False}
CANCEL = {"reason": "The customer has answered."}
FORWARD = {"to": "bookkeeping@shop.example", "body_text": "Please note the two parts."}
PROVIDER_ID = "provider_01m86p3x5tf0vb8fyaw6t5m1cd"
_HOOK = f"https://mail.example.com/hooks/{PROVIDER_ID}/Jq5…"
PROVIDER = {
    "id": PROVIDER_ID,
    "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
    "name": "Postmark, transactional",
    "esp": "postmark",
    "credentials": {
        "server_token": {"is_set": True},
        "message_stream": {"is_set": False},
        "api_url": {"is_set": False},
    },
    "is_default": True,
    "fallback_id": None,
    "concurrency": 8,
    "is_paused": False,
    "paused_reason": "",
    "webhooks": {"inbound": f"{_HOOK}/inbound", "tracking": f"{_HOOK}/tracking"},
    "created_at": "2026-11-24T10:15:00.123Z",
}
PROVIDER_BODY = {
    "name": "Postmark, transactional",
    "esp": "postmark",
    "credentials": {"server_token": "5b2c2f5e-…"},
    "is_default": True,
}
PROVIDER_PATCH = {"credentials": {"server_token": "0f7f2c1d-…"}, "concurrency": 4}
PROVIDER_TEST = {"to": "you@example.com"}
_OPENED = {
    "id": "evt_01m86n1c40e7gbr3m5wq0p7s8h",
    "type": "message.opened",
    "event": "opened",
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "thread_id": "thread_01m86mzz3reg2a0y1ee0xqk2qf",
    "message_id": "msg_01m86mzz3xeg3s5qpn0yjgh6ce",
    "recipient": "carol@shop.example",
    "occurred_at": "2026-11-24T10:15:00.123Z",
    "recorded_at": "2026-11-24T10:15:00.123Z",
    "data": {
        "source": "mailbot",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Thunderbird/140.0",
        "probably_machine": False,
        "machine_signs": [],
    },
}
ENGAGEMENT_EVENT = _OPENED
_COUNTS = {
    "sent": 120,
    "delivered": 118,
    "deferred": 3,
    "bounced": 2,
    "complained": 0,
    "unsubscribed": 1,
    "failed": 0,
    "opened": 71,
    "opened_by_machine": 40,
    "messages_opened": 52,
    "clicked": 14,
    "clicked_by_machine": 6,
    "messages_clicked": 11,
}
ENGAGEMENT_STATS = {
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "period": "7d",
    "from": "2026-11-18",
    "to": "2026-11-24",
    "counts": _COUNTS,
    "rates": {
        "delivery_rate": 0.9833,
        "bounce_rate": 0.0167,
        "complaint_rate": 0.0,
        "unsubscribe_rate": 0.0085,
        "open_rate": 0.4407,
        "click_rate": 0.0932,
    },
    "days": [{"day": "2026-11-24", **_COUNTS}],
}
ENGAGEMENT_TIMELINE = {
    "message_id": _OPENED["message_id"],
    "inbox_id": _OPENED["inbox_id"],
    "thread_id": _OPENED["thread_id"],
    "subject": "Invoice 2041",
    "status": "delivered",
    "recipients": [{"address": "carol@shop.example", "status": "delivered", "reason": ""}],
    "opens": 1,
    "first_opened_at": "2026-11-24T10:15:00.123Z",
    "clicks": 0,
    "first_clicked_at": None,
    "events": [_OPENED],
}
