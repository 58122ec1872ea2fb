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
SUPPRESSION = {
    "id": "supp_01m86qa7n5e8ct9zq4h0w3k2rd",
    "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "domain": "",
    "scope": "inbox",
    "mode": "live",
    "address": "carol@shop.example",
    "person": "",
    "cause": "hard_bounce",
    "reason": "550 5.1.1 no such user",
    "status_code": "5.1.1",
    "message_id": "msg_01m86p3x5tf0vb8fyaw6t5m1cd",
    "created_by": {"kind": "provider", "id": PROVIDER_ID, "name": "Postmark"},
    "created_at": "2026-11-24T10:15:00.123Z",
    "updated_at": "2026-11-24T10:15:00.123Z",
    "expires_at": "2027-02-22T10:15:00.123Z",
}
SUPPRESSION_BODY = {"address": "carol@shop.example", "reason": "She asked us by phone.", "expires_at": None}
SUPPRESSION_CHECK = {
    "address": "carol@shop.example",
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "suppressed": True,
    "suppression": SUPPRESSION,
}
SUPPRESSION_IMPORT = {"content": "address,cause\ncarol@shop.example,complaint\nben@shop.example,\n", "format": "csv"}
SUPPRESSION_IMPORTED = {
    "total": 3,
    "added": 1,
    "known": 1,
    "invalid": 1,
    "refused": [
        {"line": 4, "value": "ben", "error": "“ben” is not an address: it needs a local part, an @ and a domain."}
    ],
}

RECEIVED = {
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "from": "Carol <carol@shop.example>",
    "subject": "Your code",
    "body_text": "Your code is 482913.",
}
NEWS = {"message_id": "msg_01m86p3x5tf0vb8fyaw6t5m1cd", "reason": "550 5.1.1 no such user"}
LATE = {"message_id": "msg_01m86p3x5tf0vb8fyaw6t5m1cd", "event": "delivered"}
SIMULATED_MAIL = {
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "message_id_header": "<176425410012.1.4711@shop.example>",
    "from_address": "carol@shop.example",
    "subject": "Your code",
    "in_reply_to": "",
    "size": 412,
}
SIMULATED_NEWS = {
    "id": "msg_01m86p3x5tf0vb8fyaw6t5m1cd",
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "thread_id": "thread_01m86mzz3reg2a0y1ee0xqk2qf",
    "status": "bounced",
    "recipients": [{"address": "carol@shop.example", "status": "bounced", "reason": "550 5.1.1 no such user"}],
    "repeat_count": 0,
}
READINESS = {
    "domain": "mail.shop.example",
    "spf": "pass",
    "dkim": "pass",
    "dmarc": "fail",
    "content_class": "transactional",
    "readiness_score": 78,
    "blocked_reasons": [],
    "checks": [
        {
            "name": "dmarc",
            "status": "fail",
            "reason": "There is no DMARC record at _dmarc.mail.shop.example.",
            "fix": "Publish a TXT record at _dmarc.mail.shop.example: v=DMARC1; p=none to begin with.",
        }
    ],
}
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

_PERSON = "person_k4m2x7q5r3w6t9y8u1p0zabcde"
_ASKED_BY = {"kind": "api_key", "id": "key_01m86mj0fve4c9m2d8v5g7t3wa", "name": "Privacy desk"}
ERASURE_BODY = {"address": "carol@shop.example", "reason": "Request 2041 of 24 November", "dry_run": True}
ERASURE_PLAN = {
    "person": _PERSON,
    "messages": {
        "count": 2,
        "by_inbox": [
            {"inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7", "address": "support@mail.example.com", "count": 2}
        ],
        "ids": ["msg_01m86p3x5tf0vb8fyaw6t5m1cd", "msg_01m86p4c2nf1vb8fyaw6t5m1ce"],
    },
    "raw_mails": 2,
    "attachments": 1,
    "threads": 1,
    "events": 6,
    "recipients": 1,
    "audit_entries": 9,
    "provider_events": 1,
    "kept_answers": 0,
    "other_rows": {"exports": 1},
    "suppressions": ["supp_01m86qa7n5e8ct9zq4h0w3k2rd"],
    "list_entries": [],
    "exports": ["export_01m86n4x6pfk2r9d5v1s8c3twz"],
    "mentioned_in": 0,
    "holds": [],
}
ERASURE = {
    "id": "erasure_01m86qf3v5e8ct9zq4h0w3k2rd",
    "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
    "person": _PERSON,
    "state": "done",
    "progress": 100,
    "done": 11,
    "total": 11,
    "counts": {"messages": 2, "attachments": 1, "audit_entries": 9},
    "reason": "Request 2041 of 24 November",
    "error": None,
    "requested_by": _ASKED_BY,
    "created_at": "2026-11-24T10:15:00.123Z",
    "started_at": "2026-11-24T10:15:00.456Z",
    "finished_at": "2026-11-24T10:15:02.789Z",
}
ERASURE_CERTIFICATE = {
    "format": "mailbot.erasure/1",
    "erasure": "erasure_01m86qf3v5e8ct9zq4h0w3k2rd",
    "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
    "person": _PERSON,
    "reason": "Request 2041 of 24 November",
    "requested_by": _ASKED_BY,
    "requested_at": "2026-11-24T10:15:00.123456Z",
    "started_at": "2026-11-24T10:15:00.456789Z",
    "finished_at": "2026-11-24T10:15:02.789012Z",
    "erased": {"messages": 2, "attachments": 1, "audit_entries": 9},
    "kept": {"suppressions": ["supp_01m86qa7n5e8ct9zq4h0w3k2rd"], "list_entries": []},
    "not_covered": ["Back-ups of the database and of the object store, until they are overwritten."],
    "head": {
        "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
        "size": 2041,
        "root": "5a0c6a3f0d0f3c3f7b8e1c9a6d5b4e3f2a1908f7e6d5c4b3a2918f7e6d5c4b3a",
        "time": "2026-11-24T10:15:02.800000Z",
        "key": "0f7f2c1d5b2c2f5e",
        "signature": "9c1d…",
    },
    "key": "0f7f2c1d5b2c2f5e",
    "signature": "77ab…",
}
