"""What the documentation shows of what is over of an inbox."""

RETENTION = {
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "retention_class_id": "retention_01m86n7k3cfq8bq4rnv5hh2zpe",
    "source": "account",
    "content_days": 365,
    "raw_days": 90,
    "events_days": 365,
    "audit_days": None,
    "over": {
        "content": {"count": 12, "is_more": False},
        "raw": {"count": 10_000, "is_more": True},
        "events": {"count": 48, "is_more": False},
        "audit": {"count": 0, "is_more": False},
    },
    "next_sweep_at": "2026-11-24T16:15:00.123Z",
    "holds": [],
}
