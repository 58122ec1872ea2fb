"""The trail as the demo tells it: sentences, and what calls must have left in it."""

from typing import Any

import pytest

from mailbot.demo.trail import Act, Did, act_of, acts_in, sentence, subjects_in

INBOX = "inbox_1"
AT = f"/v1/inboxes/{INBOX}"


@pytest.mark.parametrize(
    ("call", "act"),
    [
        (Did("POST", "/v1/inboxes", INBOX, ""), Act("inbox.created", INBOX)),
        (Did("POST", "/v1/api-keys", "key_1", INBOX), Act("key.issued", "key_1")),
        (Did("POST", f"{AT}/messages", "msg_1", INBOX), Act("message.queued", "msg_1")),
        (Did("POST", f"{AT}/messages/msg_1/reply", "msg_2", INBOX), Act("message.queued", "msg_2")),
        (Did("GET", f"{AT}/messages", "", ""), Act("message.listed", "")),
        (Did("GET", f"{AT}/messages/wait", "msg_3", INBOX), Act("wait.answered", "msg_3")),
        (Did("GET", f"{AT}/messages/msg_1", "msg_1", INBOX), Act("message.read", "msg_1")),
        (Did("GET", f"{AT}/messages/msg_1/raw", "", ""), Act("raw.read", "msg_1")),
        (Did("DELETE", AT, INBOX, ""), Act("inbox.deleted", INBOX)),
        (Did("GET", f"{AT}/threads/thread_1/events", "", ""), None),
        (Did("GET", "/v1/inboxes/inbox_2/messages", "", ""), None),
        (Did("POST", "/v1/inboxes", "inbox_2", ""), None),
        (Did("GET", "/v1/audit-log", "", ""), None),
    ],
)
def test_each_call_is_one_act_of_its_inbox(call: Did, act: Act | None) -> None:
    assert acts_in([call], INBOX) == ([act] if act else [])


def entry(action: str, object_id: str | None = None, **changes: Any) -> dict[str, Any]:
    return {"action": action, "object": {"type": "message", "id": object_id}, "changes": changes}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            entry("message.queued", "msg_1", to=["a@x.example", "b@x.example"], subject="Hi"),
            "wrote “Hi” to a@x.example, b@x.example",
        ),
        (entry("message.read", "msg_1"), "read “Hi”"),
        (entry("message.read", "msg_9"), "read a message"),
        (entry("message.listed", None, messages=["msg_1"], count=1), "listed 1 of the messages: “Hi”"),
        (entry("message.listed", None, messages=[], count=0), "listed 0 of the messages"),
        (entry("key.issued", "key_1", name=[None, "Billing agent"]), "issued a key for it, to “Billing agent”"),
        (entry("inbox.made_up"), "inbox.made_up"),
    ],
)
def test_each_entry_is_a_sentence(told: dict[str, Any], said: str) -> None:
    assert sentence(told, "x@y.example", {"msg_1": "Hi"}) == said


def test_subjects_are_known_from_the_trail_itself() -> None:
    trail = [entry("message.queued", "msg_1", subject="Hi"), entry("message.read", "msg_1")]
    assert subjects_in(trail) == {"msg_1": "Hi"}
    assert act_of(trail[1]) == ("message.read", "msg_1")
