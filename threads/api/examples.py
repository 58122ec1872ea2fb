"""What the documentation shows of messages, threads and events."""

from inboxes.api.examples import INBOX_ID

THREAD_ID = "thread_01m86n1c3vf1bvfkq0zdzgr2m4"
MESSAGE_ID = "msg_01m86n1c3xeg3s5qpn0yjgh6ce"
ATTACHMENT = {
    "id": "att_01m86n1c3yfntbk0e0e1qzkq7r",
    "filename": "invoice-2041.pdf",
    "content_type": "application/pdf",
    "size": 48213,
    "content_id": "",
    "disposition": "attachment",
    "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
}
MESSAGE = {
    "id": MESSAGE_ID,
    "inbox_id": INBOX_ID,
    "thread_id": THREAD_ID,
    "message_id_header": "<20261124.8812@shop.example>",
    "from_address": "carol@shop.example",
    "from_name": "Carol",
    "to_addresses": ["billing@mailbot.localhost"],
    "cc": [],
    "bcc": [],
    "reply_to": [],
    "subject": "Re: Invoice 2041",
    "body_text": "Can I pay in two parts? My verification code is 482913.\n\nOn Tuesday, Billing wrote:\n> Invoice 2041 is due.",
    "body_html": "",
    "extracted_text": "Can I pay in two parts? My verification code is 482913.",
    "extracted_html": "",
    "preview": "Can I pay in two parts? My verification code is 482913.",
    "direction": "inbound",
    "status": "received",
    "created_at": "2026-11-24T10:15:00.123Z",
    "sent_at": "2026-11-24T10:14:58.000Z",
    "headers": [{"name": "From", "value": "Carol <carol@shop.example>"}],
    "in_reply_to": "<m_01m86mzz@mailbot.localhost>",
    "references": ["<m_01m86mzz@mailbot.localhost>"],
    "attachments": [ATTACHMENT],
    "labels": ["urgent"],
    "codes": ["482913"],
    "links": ["https://shop.example/invoices/2041"],
    "size": 50831,
    "auth": {"spf": "pass", "dkim": "pass", "dmarc": "pass"},
    "trust": {"score": 1.0, "flags": []},
    "metadata": {},
    "recipients": [],
    "recipient_tag": "",
    "repeat_count": 0,
    "degraded_reason": "",
}
LABELS_BODY = {"labels": ["urgent", "invoice"]}
EXPLANATION = {
    "list": None,
    "report": None,
    "message_id": MESSAGE_ID,
    "thread_id": THREAD_ID,
    "flags": [],
    "labels": ["urgent"],
    "repeat_count": 0,
    "thread": {
        "rule": "reply",
        "reason": "Its In-Reply-To or References name a message of this inbox, and the sender takes part in that thread.",
        "matched_header": "In-Reply-To",
        "matched_message_id_header": "<m_01m86mzz@mailbot.localhost>",
        "matched_message": "msg_01m86mzz3xeg3s5qpn0yjgh6ce",
        "suspect_thread": "",
    },
    "checks": {
        "envelope_sender": "carol@shop.example",
        "degraded": "",
        "authentication": {
            "spf": "pass",
            "dkim": "pass",
            "dmarc": "pass",
            "arc": "none",
            "standing": "verified",
            "method": "checked",
            "details": {
                "spf": {"result": "pass", "domain": "shop.example", "identity": "mailfrom"},
                "dkim": [{"domain": "shop.example", "selector": "s1", "result": "pass", "aligned": True}],
                "dmarc": {
                    "result": "pass",
                    "domain": "shop.example",
                    "policy": "reject",
                    "policy_of": "shop.example",
                    "aligned": ["spf", "dkim"],
                },
                "arc": {"result": "none"},
            },
        },
        "trust": {"score": 1.0},
    },
    "intake": {"source": "smtp", "raw": "exact"},
    "automatic": [],
}
THREAD = {
    "id": THREAD_ID,
    "inbox_id": INBOX_ID,
    "subject": "Invoice 2041",
    "last_message_at": "2026-11-24T10:15:00.123Z",
    "message_count": 2,
    "labels": ["urgent"],
    "created_at": "2026-11-24T10:10:00.000Z",
    "participants": ["billing@mailbot.localhost", "carol@shop.example"],
    "preview": "Can I pay in two parts? My verification code is 482913.",
    "status": "open",
    "owner": None,
}
OWNER = {
    "kind": "api_key",
    "id": "key_01m86n1c3hf1bvfkq0zdzgr2m4",
    "name": "Billing agents",
    "agent": "billing-2",
    "claimed_at": "2026-11-24T10:15:02.000Z",
    "lease_until": "2026-11-24T10:20:02.000Z",
}
CLAIM = {"agent": "billing-2", "seconds": 300}
CLAIMED_THREAD = {**THREAD, "owner": OWNER, "token": 7}
RELEASE = {"token": 7}
HAND_OFF = {"to_agent": "billing-lead", "token": 7, "note": "Wants a discount."}
THREAD_WITH_MESSAGES = {**THREAD, "messages": [MESSAGE], "messages_cursor": None}
THREAD_PATCH = {"labels": ["urgent"], "status": "closed"}
EVENT = {
    "id": "evt_01m86n1c40e7gbr3m5wq0p7s8h",
    "type": "message.received",
    "inbox_id": INBOX_ID,
    "thread_id": THREAD_ID,
    "message_id": MESSAGE_ID,
    "recipient": "",
    "occurred_at": "2026-11-24T10:15:00.123Z",
    "recorded_at": "2026-11-24T10:15:00.123Z",
    "data": {"from": "carol@shop.example", "subject": "Re: Invoice 2041"},
}
SEARCH_BODY = {"query": 'from:carol@shop.example "two parts" -refund'}
SEARCH_RESULT = {
    **MESSAGE,
    "score": 3,
    "highlights": [{"field": "body", "text": "Can I pay in <mark>two parts</mark>?"}],
}
