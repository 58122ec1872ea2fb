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
DRAFTS_READ = "drafts:read"
DRAFTS_WRITE = "drafts:write"
DRAFTS_APPROVE = "drafts:approve"
LISTS_READ = "lists:read"
LISTS_WRITE = "lists:write"
SUPPRESSIONS_READ = "suppressions:read"
SUPPRESSIONS_WRITE = "suppressions:write"
DOMAINS_READ = "domains:read"
DOMAINS_MANAGE = "domains:manage"
PROVIDERS_READ = "providers:read"
PROVIDERS_MANAGE = "providers:manage"
COMPLIANCE_READ = "compliance:read"
ENGAGEMENT_READ = "engagement:read"
WEBHOOKS_MANAGE = "webhooks:manage"
USAGE_READ = "usage:read"
KEYS_READ = "keys:read"
KEYS_MANAGE = "keys:manage"
SANDBOX_SIMULATE = "sandbox:simulate"
HOLDS_READ = "holds:read"
HOLDS_WRITE = "holds:write"
RETENTION_READ = "retention:read"
RETENTION_MANAGE = "retention:manage"
ERASURES_READ = "erasures:read"
ERASURES_WRITE = "erasures:write"

# Each right and what it lets a key do, in the words of the documentation and of the console. Nothing else is a right.
RIGHTS: dict[str, str] = {
    INBOXES_CREATE: "Make inboxes. A key that is limited to some inboxes cannot, whatever it carries.",
    INBOXES_READ: "See inboxes: addresses, states, counters.",
    INBOXES_WRITE: "Change, pause and resume inboxes.",
    INBOXES_DELETE: "Delete inboxes, and erase what they hold.",
    MESSAGES_READ: "Read, search and wait for messages; raw mail and attachments.",
    MESSAGES_SEND: "Send, reply and forward.",
    MESSAGES_WRITE: "Label messages.",
    THREADS_READ: "Read threads.",
    THREADS_WRITE: "Label, close, claim and hand on threads.",
    EVENTS_READ: "Read events, and follow them as a stream.",
    DRAFTS_READ: "Read drafts.",
    DRAFTS_WRITE: "Write, change and send drafts.",
    DRAFTS_APPROVE: "Approve or reject mail that waits for it.",
    LISTS_READ: "Read the lists of who may write and be written to.",
    LISTS_WRITE: "Change these lists.",
    SUPPRESSIONS_READ: "Read which addresses get no more mail, and why.",
    SUPPRESSIONS_WRITE: "Add and remove such addresses.",
    DOMAINS_READ: "See own domains and their DNS records.",
    DOMAINS_MANAGE: "Add, verify and remove domains.",
    PROVIDERS_READ: "See providers: names, ESPs, whether they are paused. Never their credentials.",
    PROVIDERS_MANAGE: "Make, change, try and delete providers. Of use in live keys only.",
    COMPLIANCE_READ: "Ask whether a domain or an inbox is fit to send.",
    ENGAGEMENT_READ: "Read opens, clicks, bounces and their rates.",
    WEBHOOKS_MANAGE: "Make, see, change and replay webhooks; whoever sees one sees its secret.",
    USAGE_READ: "Read counts, storage and limits.",
    AUDIT_READ: "Read the audit log.",
    KEYS_READ: "See API keys: names, rights, last use. Never their secrets.",
    KEYS_MANAGE: "Make, change and revoke API keys, within what this key may do itself.",
    HOLDS_READ: "See legal holds: of which case, and since when.",
    HOLDS_WRITE: "Place and release legal holds.",
    RETENTION_READ: "See retention classes: how long what is kept, and what of an inbox is over.",
    RETENTION_MANAGE: "Make, change and delete retention classes, and choose those of inboxes: what is over is erased.",
    ERASURES_READ: "See which persons were erased, by pseudonym, and the certificates. Of use in keys of a whole account.",
    ERASURES_WRITE: "Erase a person: try it dry, and do it for good. Of use in live keys of a whole account.",
    SANDBOX_SIMULATE: "Simulate mail, bounces, complaints, opens. Of use in test keys only.",
}

FULL = tuple(RIGHTS)
READ_ONLY = (
    *(INBOXES_READ, MESSAGES_READ, THREADS_READ, EVENTS_READ, DRAFTS_READ, LISTS_READ, SUPPRESSIONS_READ),
    *(DOMAINS_READ, PROVIDERS_READ, COMPLIANCE_READ, ENGAGEMENT_READ, USAGE_READ),
)
AGENT = (
    *(INBOXES_READ, MESSAGES_READ, MESSAGES_SEND, MESSAGES_WRITE, THREADS_READ, THREADS_WRITE, EVENTS_READ),
    *(DRAFTS_READ, DRAFTS_WRITE, COMPLIANCE_READ, ENGAGEMENT_READ, SANDBOX_SIMULATE),
)
# What was done and by whom, not what was written: no right to read mail.
AUDITOR = (
    *(INBOXES_READ, LISTS_READ, SUPPRESSIONS_READ, DOMAINS_READ, PROVIDERS_READ, USAGE_READ, AUDIT_READ, KEYS_READ),
    *(HOLDS_READ, RETENTION_READ, ERASURES_READ),
)
PRESETS: dict[str, tuple[str, ...]] = {"full": FULL, "agent": AGENT, "read-only": READ_ONLY, "auditor": AUDITOR}
