"""The parts of the OpenAPI document that are the same everywhere: errors, headers, the envelope of lists, what the whole is about."""

from typing import Any

from django.conf import settings

from mailbot.api.errors import FIX_NOT_FOUND, FIX_UNAUTHENTICATED, FIX_UNAVAILABLE, STATUS, Code

Part = dict[str, Any]

REQUEST_ID = "req_01m86mjjvsewt8t640x9zpmss7"
CURSOR = "WyJpbmJveF8wMW04Nm1qanZzZXd0OHQ2NDB4OXpwbXNzNyJd"
TEXT: Part = {"type": "string"}
# What any operation may answer; with an id in its path; with a body.
ALWAYS = (Code.INVALID_REQUEST, Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.RATE_LIMITED, Code.UNAVAILABLE)
WITH_ID = (Code.NOT_FOUND,)
WITH_BODY = (Code.PAYLOAD_TOO_LARGE,)
WITH_IDEMPOTENCY_KEY = (Code.CONFLICT,)

# code: (when, message, fix, what is beside them in the error)
ERRORS: dict[Code, tuple[str, str, str, Part]] = {
    Code.INVALID_REQUEST: (
        "Something in the request is wrong; `fields` says what.",
        "usernam: Unknown field. Did you mean “username”?",
        "Correct the fields that are named and send it again.",
        {"fields": {"usernam": ["Unknown field. Did you mean “username”?"]}},
    ),
    Code.UNAUTHENTICATED: (
        "There is no key, or it is unknown, revoked or expired.",
        "This API key is unknown, revoked or expired.",
        FIX_UNAUTHENTICATED,
        {},
    ),
    Code.FORBIDDEN: (
        "The key may see it but lacks the right.",
        "This key lacks the right “inboxes:create”.",
        "Use a key with that right.",
        {},
    ),
    Code.NOT_FOUND: (
        "There is no such thing, or it is another account's, mode's or inbox's: always the same answer.",
        "There is nothing here by that id.",
        FIX_NOT_FOUND,
        {},
    ),
    Code.WAIT_TIMEOUT: (
        "No such message came in time. Call again with `after` set to `meta.after`: nothing in between is missed.",
        "No such message arrived in time.",
        "Call again with after set to meta.after: nothing in between is missed.",
        {},
    ),
    Code.CONFLICT: (
        "What is there already stands in the way, or the `Idempotency-Key` came with another body or is still at work.",
        "“billing” is taken.",
        "Take one of the suggestions, or leave out username to get a random one.",
        {"suggestions": ["billing-2", "billing-3", "billing-4"]},
    ),
    Code.GONE: (
        "It was here, and is no longer kept or can no longer be changed.",
        "This inbox is deleted.",
        "Make a new one.",
        {},
    ),
    Code.PAYLOAD_TOO_LARGE: (
        "The body is larger than may be: 1 MiB, or 40 MiB where a mail is sent.",
        "The body is too large.",
        "Send less, or smaller attachments.",
        {},
    ),
    Code.BLOCKED: (
        "The send is refused by a rule; `reason` names it.",
        "This inbox is paused.",
        "Resume the inbox, or send from another one.",
        {"reason": "inbox_paused"},
    ),
    Code.RATE_LIMITED: (
        "Too many requests; `Retry-After` says in how many seconds to go on.",
        "This key has made too many requests.",
        "Wait as many seconds as Retry-After says.",
        {},
    ),
    Code.UNAVAILABLE: (
        "The database or the object store cannot be reached. Try again.",
        "The database cannot be reached.",
        FIX_UNAVAILABLE,
        {},
    ),
}

HEADERS: dict[str, Part] = {
    "X-Request-Id": {
        "description": "The id of this request; the audit log shows it. Your own is kept if it is 8–100 letters, digits, `_ . : -`.",
        "required": True,
        "schema": {**TEXT, "pattern": "^[A-Za-z0-9_.:-]{8,100}$"},
        "example": REQUEST_ID,
    },
    "RateLimit-Limit": {
        "description": "How many requests the key may make in a window.",
        "schema": {"type": "integer"},
        "example": 600,
    },
    "RateLimit-Remaining": {
        "description": "How many of them are left in this window.",
        "schema": {"type": "integer"},
        "example": 599,
    },
    "RateLimit-Reset": {
        "description": "In how many seconds all of them are there again.",
        "schema": {"type": "integer"},
        "example": 60,
    },
    "Retry-After": {
        "description": "In how many seconds to try again.",
        "schema": {"type": "integer"},
        "example": 2,
    },
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "required": True,
        "schema": TEXT,
        "example": 'Bearer realm="mailbot"',
    },
    "Idempotent-Replayed": {
        "description": "`true` when this is the answer of an earlier request with the same `Idempotency-Key`.",
        "schema": {**TEXT, "const": "true"},
        "example": "true",
    },
}
ON_EVERY_ANSWER = ("X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
ALSO_ON: dict[Code, tuple[str, ...]] = {
    Code.UNAUTHENTICATED: ("WWW-Authenticate",),
    Code.RATE_LIMITED: ("Retry-After",),
    Code.UNAVAILABLE: ("Retry-After",),
}

IDEMPOTENCY_KEY: Part = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": (
        "A name of your own for this request, kept for 24 hours. The same key with the same body answers what the first request"
        " was answered, with `Idempotent-Replayed: true`; with another body, or while that one is still at work, it is a 409."
    ),
    "schema": {**TEXT, "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "example": "5b2c2f5e-6c0a-4c4e-9d0a-0f7f2c1d9c11",
}

ERROR: Part = {
    "type": "object",
    "required": ["code", "message", "fix", "fields", "request_id"],
    "properties": {
        "code": {**TEXT, "enum": [code.value for code in Code], "description": "What went wrong: a closed list."},
        "message": {**TEXT, "description": "The same in words, for people."},
        "fix": {**TEXT, "description": "What you can do about it, in one line."},
        "fields": {
            "type": "object",
            "description": "For each field or parameter that is wrong: why. Nested ones as `attachments.0.filename`.",
            "additionalProperties": {"type": "array", "items": TEXT},
        },
        "reason": {**TEXT, "description": "The rule by which a send was refused."},
        "suggestions": {"type": "array", "items": TEXT, "description": "What would be free instead."},
        "holds": {
            "type": "array",
            "description": "The legal holds that stand against it: id, inbox_id, matter, placed_at.",
        },
        "recipients": {"type": "array", "description": "Who may not be written to, and by which entry of a list."},
        "thread_id": {**TEXT, "description": "In which thread there were too many mails within an hour."},
        "signs": {
            "type": "array",
            "description": "By what the mail to be answered is known as a machine's or a loop's.",
        },
        "retry_at": {**TEXT, "format": "date-time", "description": "When the rule lets it pass."},
        "limit": {**TEXT, "enum": ["key", "account"], "description": "Which rate is used up."},
        "position": {"type": "integer", "minimum": 0, "description": "Of a search: the character that cannot be read."},
        "excerpt": {**TEXT, "description": "Of a search: what stands around it."},
        "request_id": {**TEXT, "description": "The same as in `X-Request-Id`."},
    },
}
LIST_META: Part = {
    "type": "object",
    "required": ["page", "limit", "total", "next_cursor"],
    "properties": {
        "page": {"type": "integer", "minimum": 1},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "total": {"type": "integer", "minimum": 0, "maximum": 10_000, "description": "Exact up to 10,000."},
        "total_is_exact": {"type": "boolean", "const": False, "description": "There when there are more than 10,000."},
        "next_cursor": {"type": ["string", "null"], "description": "For `?cursor`; null at the end."},
        "not_yet_indexed": {
            "type": "integer",
            "minimum": 0,
            "description": "Of a search: messages it cannot find yet.",
        },
    },
}
LIST_META_EXAMPLE = {"page": 1, "limit": 50, "total": 123, "next_cursor": CURSOR}

ABOUT = """\
E-mail inboxes for agents: make one with a call, read what arrives as JSON, wait for a mail with one request, reply in the thread.

**Authentication.** `Authorization: Bearer mb_test_…` or `mb_live_…`. A test key sees and touches the sandbox only: nothing that it
sends leaves this server. Each operation names the right that its key needs.

**Envelope.** One object is `{"data": {…}}`; a list is `{"data": […], "meta": {"page", "limit", "total", "next_cursor"}}`. `page` and
`limit` work on every list; `cursor` goes on where a page ended, at a cost that does not grow with depth.

**Errors** have one shape, a closed list of `code`s, and say in `fix` what to do. An unknown field or parameter is an error that names the
nearest known one; an empty parameter counts as absent. What belongs to somebody else is a 404, as if it were not there.

**Times** are RFC 3339 in UTC with milliseconds. **Ids** are TypeIDs: a prefix that says what it is, and 26 characters.
"""
# In this order, and with these names; a path belongs to the last of them that it names.
TAGS: dict[str, tuple[str, str]] = {
    "inboxes": ("Inboxes", "Addresses of their own, with their own messages, threads, events and trail."),
    "messages": ("Messages", "Reading, waiting, labelling, sending, replying, forwarding."),
    "threads": ("Threads", "Conversations, inside one inbox."),
    "events": ("Events", "What happened to messages, threads and inboxes."),
    "engagement": ("Engagement", "What became of mail that was sent: delivered, bounced, opened, clicked."),
    "search": ("Search", "Words, phrases and fields, in one inbox or in all that the key may see."),
    "lists": ("Lists", "Which addresses and domains may send to an inbox, and which it may send to."),
    "domains": ("Domains", "Domains of your own, and what they publish in DNS."),
    "holds": ("Legal holds", "What must not be removed, on one inbox or on all of the account."),
    "retention-classes": ("Retention classes", "How long inboxes keep content, raw mail, events and trail."),
    "erasures": ("Erasures", "The erasure of a person on request."),
    "suppressions": ("Suppressions", "Addresses that get no more mail, and why."),
    "providers": ("Providers", "Who carries mail on: ESPs and smart hosts, with credentials of your own."),
    "compliance": ("Compliance", "Whether a domain or an inbox is fit to send, and what is to be mended."),
    "simulate": ("Simulate", "With test keys: what others would cause, when you want it."),
    "api-keys": ("API keys", "Keys, their rights, and the inboxes that they are limited to."),
    "usage": ("Usage", "What an account uses, and its limits."),
    "audit-log": ("Audit log", "Who did what, when, under which request."),
    "openapi.json": ("This document", "The API, in a form that programs read."),
}


def name_of(code: Code) -> str:
    """`not_found` → `NotFound`: the error's name among the components."""
    return code.value.title().replace("_", "")


def headers(names: tuple[str, ...]) -> Part:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _response(code: Code) -> Part:
    when, message, fix, beside = ERRORS[code]
    error = {"code": code.value, "message": message, "fix": fix, "fields": {}, **beside, "request_id": REQUEST_ID}
    properties: Part = {
        "error": {
            "allOf": [{"$ref": "#/components/schemas/Error"}, {"properties": {"code": {"const": code.value}}}],
        }
    }
    schema: Part = {"type": "object", "required": ["error"], "properties": properties}
    example: Part = {"error": error}
    if code is Code.WAIT_TIMEOUT:
        properties["meta"] = {"type": "object", "required": ["after"], "properties": {"after": TEXT}}
        schema["required"] = ["error", "meta"]
        example["meta"] = {"after": "2026-11-24T10:15:00.123Z"}
    return {
        "description": when,
        "headers": headers((*ON_EVERY_ANSWER, *ALSO_ON.get(code, ()))),
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def components() -> Part:
    return {
        "schemas": {"Error": ERROR, "ListMeta": LIST_META},
        "headers": HEADERS,
        "parameters": {"IdempotencyKey": IDEMPOTENCY_KEY},
        "responses": {name_of(code): _response(code) for code in Code} | {"UnsupportedMediaType": _unsupported()},
        "securitySchemes": {
            "ApiKey": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "mb_test_… or mb_live_…",
                "description": "A key of your account: from the console, or by `manage.py issue_key`.",
            }
        },
    }


def _unsupported() -> Part:
    message = "Unsupported media type “text/plain” in request."
    unlike: Part = {
        "description": "The body is no `application/json`.",
        **{part: value for part, value in _response(Code.INVALID_REQUEST).items() if part != "description"},
    }
    error = unlike["content"]["application/json"]["example"]["error"]
    fix = "See the API's documentation for the methods and media types of this path."
    error.update(message=message, fix=fix, fields={})
    return unlike


def error_responses(codes: tuple[Code, ...], has_body: bool) -> Part:
    """By status, in order; codes that are given twice count once."""
    found = {str(STATUS[code]): {"$ref": f"#/components/responses/{name_of(code)}"} for code in codes}
    if has_body:
        found["415"] = {"$ref": "#/components/responses/UnsupportedMediaType"}
    return dict(sorted(found.items()))


def document(paths: Part, found: Part) -> Part:
    """The whole, of its paths and the components that were found on the way."""
    tags = [{"name": name, "description": about} for name, about in TAGS.values()]
    used = {tag for operations in paths.values() for operation in operations.values() for tag in operation["tags"]}
    parts = components()
    return {
        "openapi": "3.1.0",
        "info": {"title": "mailbot", "version": settings.VERSION, "description": ABOUT},
        "servers": [{"url": "/", "description": "This server"}],
        "tags": [tag for tag in tags if tag["name"] in used],
        "paths": paths,
        "components": {**found, **parts, "schemas": {**found.get("schemas", {}), **parts["schemas"]}},
    }
