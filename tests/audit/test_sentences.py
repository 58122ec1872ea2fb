"""Each act of the trail as a sentence. Pure: entries that are never stored."""

from typing import Any

import pytest

from audit.acts import names_of_acts
from audit.models import AuditEntry
from audit.sentences import GROUP_NAMES, SENTENCES, Group, acts_of, as_text, changes_of, groups, sentence, templates

pytestmark = pytest.mark.one_profile
KEY = {"actor_kind": "api_key", "actor_id": "key_01m86mj0fve4c9m2d8v5g7a1a1", "actor_name": "Billing agent"}
SAVED = {"created": AuditEntry.Action.CREATE, "updated": AuditEntry.Action.UPDATE, "deleted": AuditEntry.Action.DELETE}


def entry(act: str, changes: Any = None, *, saved: str = "", **columns: Any) -> AuditEntry:
    told = {} if changes is None else changes
    return AuditEntry(act=act, action=SAVED.get(saved, AuditEntry.Action.ACCESS), changes=told, **{**KEY, **columns})


def told(act: str, changes: Any = None, names: dict[str, str] | None = None, **columns: Any) -> str:
    return as_text(sentence(entry(act, changes, **columns), names or {}))


class TestVocabulary:
    def test_there_is_a_sentence_for_every_act(self) -> None:
        assert set(names_of_acts()) <= templates().keys()

    def test_there_is_none_for_what_is_no_act(self) -> None:
        assert templates().keys() <= set(names_of_acts())

    def test_each_act_is_of_one_group_and_each_group_has_a_name(self) -> None:
        of_groups = [act for acts in SENTENCES.values() for act in acts]
        assert len(of_groups) == len(set(of_groups)) == len(groups())
        assert GROUP_NAMES.keys() == SENTENCES.keys() == set(Group)
        assert "message.queued" in acts_of(["mail"])
        assert acts_of(["nonsense"]) == []

    @pytest.mark.parametrize("act", sorted(templates()))
    def test_each_sentence_can_be_said_of_an_entry_that_holds_nothing(self, act: str) -> None:
        said = told(act, object_repr="", object_pk="")
        assert said.endswith(".")
        assert not set("{}[]") & set(said)

    @pytest.mark.parametrize("act", sorted(templates()))
    @pytest.mark.parametrize("saved", ["", "updated"])
    def test_each_sentence_can_be_said_of_an_entry_that_holds_anything(self, act: str, saved: str) -> None:
        names = "subject to from recipients role labels status state key selector permissions inbox_ids removed count"
        for value in (["a", "b"], [1, None], [], {"a": 1}, "text", 7, None, True, [[1, 2], [3, 4]]):
            said = told(act, dict.fromkeys(names.split(), value), saved=saved, object_repr="X", object_pk="msg_1")
            assert said.endswith(".")

    def test_what_was_tampered_with_says_something_all_the_same(self) -> None:
        for changes in ("text", [1], 7):
            assert told("message.queued", changes).startswith("Billing agent")
        assert told("no.act") == "Billing agent (key key_…a1a1) did “no.act”."


class TestSentences:
    @pytest.mark.parametrize(
        ("said", "act", "changes", "columns"),
        [
            (
                "Billing agent (key key_…a1a1) sent “Invoice 42” to ada@example.com; it waits in the queue.",
                "message.queued",
                {"to": ["ada@example.com"], "subject": "Invoice 42"},
                {},
            ),
            (
                "Billing agent (key key_…a1a1) sent “(no subject)” to a@x.example, b@x.example, c@x.example and 2 more;"
                " it waits in the queue.",
                "message.queued",
                {"to": [f"{c}@x.example" for c in "abcde"], "subject": ""},
                {},
            ),
            (
                "“Hello” came in from ada@example.com, filed by the inbound worker (system).",
                "message.received",
                {"from": "ada@example.com", "subject": "Hello"},
                {"actor_kind": "system", "actor_id": "inbound worker", "actor_name": "inbound worker"},
            ),
            (
                "rita (console) read “Hello”, in a review, because “Complaint 7”.",
                "message.read",
                {"review": "audit_1", "reason": "Complaint 7"},
                {
                    "actor_kind": "user",
                    "actor_id": "3",
                    "actor_name": "rita",
                    "object_type": "message",
                    "object_pk": "msg_1",
                },
            ),
            (
                "Billing agent (key key_…a1a1) read “Hello”, without what it says.",
                "message.read",
                {"without": "words"},
                {"object_type": "message", "object_pk": "msg_1"},
            ),
            (
                "Billing agent (key key_…a1a1) looked at a list of 1 message.",
                "message.listed",
                {"messages": ["msg_1"], "count": 1},
                {},
            ),
            (
                "Billing agent (key key_…a1a1) read the thread “Hello” with 2 messages.",
                "thread.read",
                {"messages": ["msg_1", "msg_2"], "count": 2},
                {"object_type": "thread", "object_pk": "thread_1"},
            ),
            (
                "Billing agent (key key_…a1a1) issued the key “Agent” (key_…3wa7), for billing@acme.example only, with 2 rights.",
                "key.issued",
                {"permissions": [None, ["a", "b"]], "inbox_ids": [None, ["inbox_1"]], "name": [None, "Agent"]},
                {
                    "saved": "created",
                    "object_repr": "Agent (mb_live_abcd…)",
                    "object_pk": "key_01m86mj0fve4c9m2d8v5g73wa7",
                },
            ),
            (
                "Billing agent (key key_…a1a1) made rita owner, who was reviewer, because “she leads”.",
                "member.role_changed",
                {"username": "rita", "role": ["reviewer", "owner"], "reason": "she leads"},
                {},
            ),
            (
                "Billing agent (key key_…a1a1) removed rita, who was owner.",
                "member.removed",
                {"username": "rita", "role": ["owner", None], "reason": ""},
                {},
            ),
            (
                "Billing agent (key key_…a1a1) changed the inbox billing@acme.example: display name.",
                "inbox.updated",
                {"display_name": ["", "Billing"]},
                {"saved": "updated", "object_repr": "billing@acme.example"},
            ),
            (
                "Billing agent (key key_…a1a1) removed 12 entries from the trail, because “retention”.",
                "trail.removed",
                {"reason": "retention", "removed": [[0, 9], [20, 21]]},
                {},
            ),
            (
                "Billing agent (key key_…a1a1) replaced the list receive block; 1 note changed.",
                "list.replaced",
                {
                    "direction": "receive",
                    "effect": "block",
                    "added": [],
                    "removed": [],
                    "notes": [{"pattern": "a.com"}],
                },
                {},
            ),
            (
                "Somebody tried to sign in to the console as olga and could not.",
                "console.sign_in_failed",
                {"username": "olga"},
                {"actor_kind": "anonymous"},
            ),
        ],
    )
    def test_they_say_who_did_what(self, said: str, act: str, changes: Any, columns: dict[str, Any]) -> None:
        names = {"msg_1": "Hello", "inbox_1": "billing@acme.example"}
        assert told(act, changes, names, **columns) == said

    def test_what_others_wrote_is_marked_as_theirs(self) -> None:
        pieces = sentence(entry("message.queued", {"to": ["<b>@x"], "subject": "<i>"}), {})
        assert {piece.text for piece in pieces if piece.kind == "foreign"} == {"<b>@x", "<i>"}
        assert [piece.text for piece in pieces if piece.kind == "who"] == ["Billing agent"]

    def test_long_words_are_cut(self) -> None:
        assert len(told("message.queued", {"to": ["a" * 10_000], "subject": "b" * 10_000})) < 400

    def test_the_prefix_of_a_secret_is_left_out(self) -> None:
        said = told("key.revoked", {}, object_repr="Agent (mb_live_abcd…)", object_pk="key_01m86mj0fve4c9m2d8v5g73wa7")
        assert "mb_live" not in said


class TestChanges:
    def test_of_saved_rows_they_are_old_and_new(self) -> None:
        changes = changes_of(
            entry("inbox.updated", {"display_name": ["A", "B"], "metadata": [{}, None]}, saved="updated")
        )
        assert [tuple(change) for change in changes] == [("display_name", "A", "B", True)]

    def test_of_acts_two_recipients_are_no_old_and_new(self) -> None:
        (change,) = changes_of(entry("message.sent", {"recipients": ["a@x.example", "b@x.example"]}))
        assert tuple(change) == ("recipients", None, ["a@x.example", "b@x.example"], False)

    def test_of_acts_that_change_something_they_are(self) -> None:
        (change,) = changes_of(entry("message.labelled", {"labels": [["new"], ["new", "urgent"]]}))
        assert tuple(change) == ("labels", ["new"], ["new", "urgent"], True)
