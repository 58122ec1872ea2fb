"""The rights that an API key can carry: a closed list of verbs per resource, and the usual bundles of them."""

INBOXES_CREATE = "inboxes:create"
INBOXES_READ = "inboxes:read"
INBOXES_WRITE = "inboxes:write"
INBOXES_DELETE = "inboxes:delete"
MESSAGES_READ = "messages:read"
MESSAGES_SEND = "messages:send"
MESSAGES_WRITE = "messages:write"
THREADS_READ = "threads:read"
THREADS_WRITE = "threads:write"
EVENTS_READ = "events:read"
AUDIT_READ = "audit:read"

FULL = (
    INBOXES_CREATE,
    INBOXES_READ,
    INBOXES_WRITE,
    INBOXES_DELETE,
    MESSAGES_READ,
    MESSAGES_SEND,
    MESSAGES_WRITE,
    THREADS_READ,
    THREADS_WRITE,
    EVENTS_READ,
    AUDIT_READ,
)
READ_ONLY = (INBOXES_READ, MESSAGES_READ, THREADS_READ, EVENTS_READ)
AGENT = (*READ_ONLY, MESSAGES_SEND, MESSAGES_WRITE, THREADS_WRITE)
AUDITOR = (INBOXES_READ, AUDIT_READ)
PRESETS = {"full": FULL, "agent": AGENT, "read-only": READ_ONLY, "auditor": AUDITOR}
