"""What the documentation shows of /v1/domains."""

OWNERSHIP = {
    "type": "TXT",
    "name": "_mailbot.shop.example",
    "value": "mailbot-verification=dJ3mQ0yq2m8mV1nS6pXwB9tKc4hLr7aZ5eFgUoIiYxE",
    "purpose": "ownership",
    "status": "verified",
    "required": True,
    "found": ["mailbot-verification=dJ3mQ0yq2m8mV1nS6pXwB9tKc4hLr7aZ5eFgUoIiYxE"],
    "note": "",
}
SPF = {
    "type": "TXT",
    "name": "shop.example",
    "value": "v=spf1 a:mail.example.net ~all",
    "purpose": "spf",
    "status": "mismatch",
    "required": True,
    "found": ["v=spf1 include:_spf.other.example ~all"],
    "note": (
        "It does not name a:mail.example.net. Change it to: v=spf1 a:mail.example.net include:_spf.other.example ~all"
    ),
}
DOMAIN = {
    "id": "dom_01m86mj1qte3fvhk1a1nxv8b7z",
    "account_id": "account_01m86mj0e8fpws6xzr3qxhn5qk",
    "domain": "shop.example",
    "status": "verified",
    "dns_records": [OWNERSHIP, SPF],
    "provider_id": None,
    "inbox_subdomains": False,
    "created_at": "2026-11-24T10:15:00.123Z",
    "verified_at": "2026-11-24T10:25:00.123Z",
    "checked_at": "2026-11-25T10:15:00.123Z",
    "proof_lost_at": None,
}
DOMAIN_BODY = {"domain": "shop.example"}
DOMAIN_PATCH = {"inbox_subdomains": True}
