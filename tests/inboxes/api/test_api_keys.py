"""POST|GET /v1/api-keys and GET|PATCH|DELETE /v1/api-keys/{id}"""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit.models import AuditEntry
from inboxes.models import ApiKey, Mode
from inboxes.permissions import AGENT, AUDITOR, FULL, KEYS_MANAGE, KEYS_READ, MESSAGES_READ, PRESETS, RIGHTS
from tests.cast import Caller

KEYS = "/v1/api-keys"


def make(caller: Caller, **body: Any) -> Any:
    """The answer to a POST; `permissions` unless something else is said."""
    given = {"name": "Agent", **({} if "preset" in body else {"permissions": [MESSAGES_READ]}), **body}
    return caller.post(KEYS, given)


def made(caller: Caller, **body: Any) -> dict[str, Any]:
    answer = make(caller, **body)
    assert answer.status_code == 201, answer.content
    return dict(answer.json()["data"])


def using(secret: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {secret}"})


def seen_by(caller: Caller, **query: Any) -> set[str]:
    return {key["id"] for key in caller.get(KEYS, **query).json()["data"]}


def wire(moment: Any) -> str:
    return str(moment.isoformat())


class TestMaking:
    def test_it_makes_a_key_that_works_and_shows_its_secret_once(self, alice: Caller) -> None:
        key = made(alice, name="Support agent", preset="agent")
        assert key["secret"].startswith("mb_test_")
        assert (key["name"], key["mode"], key["status"]) == ("Support agent", "test", "usable")
        assert key["permissions"] == list(AGENT)
        assert (key["inbox_id"], key["inbox_ids"], key["expires_at"]) == (None, None, None)
        assert using(key["secret"]).get("/v1/inboxes").status_code == 200
        for later in (
            alice.get(KEYS),
            alice.get(f"{KEYS}/{key['id']}"),
            alice.patch(f"{KEYS}/{key['id']}", {"name": "B"}),
        ):
            assert key["secret"] not in later.content.decode()
            assert "secret" not in later.json()["data"]

    def test_it_says_in_the_trail_who_made_what(self, alice: Caller) -> None:
        key = made(alice)
        entry = AuditEntry.objects.filter(act="key.issued").latest("pk")
        assert (entry.object_pk, entry.actor_id, entry.mode) == (key["id"], alice.key.pk, "test")
        assert entry.changes["permissions"][1] == [MESSAGES_READ]
        assert key["secret"] not in str(entry.changes)

    def test_it_limits_a_key_to_one_inbox_or_to_some(self, alice: Caller) -> None:
        one, two, three = (alice.create_inbox() for _ in range(3))
        single = made(alice, inbox_id=one.pk, preset="agent")
        assert (single["inbox_id"], single["inbox_ids"]) == (one.pk, [one.pk])
        pair = made(alice, inbox_ids=[one.pk, two.pk, one.pk], preset="agent")
        assert (pair["inbox_id"], pair["inbox_ids"]) == (None, [one.pk, two.pk])
        browser = using(pair["secret"])
        listed = {inbox["id"] for inbox in browser.get("/v1/inboxes").json()["data"]}
        assert listed == {one.pk, two.pk}
        assert browser.get(f"/v1/inboxes/{three.pk}").status_code == 404
        assert browser.get(f"/v1/inboxes/{three.pk}/messages").status_code == 404
        events = browser.get("/v1/events").json()["data"]
        assert {event["inbox_id"] for event in events} == {one.pk, two.pk}

    def test_an_empty_list_is_none_and_never_all(self, alice: Caller) -> None:
        alice.create_inbox()
        nothing = made(alice, inbox_ids=[], preset="full")
        assert nothing["inbox_ids"] == []
        browser = using(nothing["secret"])
        for path in ("/v1/inboxes", "/v1/events", "/v1/audit-log"):
            assert browser.get(path).json()["data"] == []
        assert browser.post("/v1/inboxes", {}, content_type="application/json").status_code == 403
        assert [key["id"] for key in browser.get(KEYS).json()["data"]] == [nothing["id"]]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "x" * 101}, "name"),
            ({"permissions": []}, "permissions"),
            ({"permissions": ["messages:raed"]}, "permissions"),
            ({"permissions": [MESSAGES_READ], "preset": "agent"}, "preset"),
            ({"preset": "god"}, "preset"),
            ({"mode": "prod"}, "mode"),
            ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
            ({"expires_at": "tomorrow"}, "expires_at"),
            ({"inbox_id": "inbox_1", "inbox_ids": ["inbox_2"]}, "inbox_id"),
            ({"inbox_ids": "inbox_1"}, "inbox_ids"),
            ({"permision": []}, "permision"),
        ],
    )
    def test_it_is_400_for_what_cannot_be_read(self, alice: Caller, body: dict[str, Any], field: str) -> None:
        answer = make(alice, **body)
        assert answer.status_code == 400
        assert field in answer.json()["error"]["fields"]
        assert ApiKey.objects.count() == 1

    def test_it_names_the_nearest_right(self, alice: Caller) -> None:
        assert "messages:read" in make(alice, permissions=["messages:raed"]).json()["error"]["message"]

    def test_it_wants_rights(self, alice: Caller) -> None:
        answer = alice.post(KEYS, {"name": "Agent"})
        assert answer.status_code == 400
        assert "preset" in answer.json()["error"]["message"]


class TestGranting:
    """A key cannot give what it lacks."""

    def test_it_gives_no_right_that_it_lacks(self, alice: Caller) -> None:
        narrow = alice.with_key(permissions=[KEYS_MANAGE, MESSAGES_READ])
        assert make(narrow, permissions=[MESSAGES_READ]).status_code == 201
        refused = make(narrow, permissions=[MESSAGES_READ, KEYS_READ])
        assert refused.status_code == 403
        assert KEYS_READ in refused.json()["error"]["message"]
        assert make(narrow, preset="full").status_code == 403

    @pytest.mark.parametrize("preset", sorted(PRESETS))
    def test_a_full_key_gives_every_preset(self, alice: Caller, preset: str) -> None:
        assert set(made(alice, preset=preset)["permissions"]) == set(PRESETS[preset])

    def test_it_gives_no_inbox_outside_its_own(self, alice: Caller, charlie: Caller) -> None:
        mine, other, his = alice.create_inbox(), alice.create_inbox(), charlie.create_inbox()
        live = alice.with_key(mode="live").create_inbox()
        limited = alice.with_key(inbox=mine)
        assert make(limited, inbox_id=mine.pk).status_code == 201
        unknown = make(limited, inbox_id="inbox_01m86mjjvsewt8t640x9zpmss7")
        assert unknown.status_code == 404
        for caller, inbox in ((limited, other), (limited, his), (alice, his), (alice, live)):
            answer = make(caller, inbox_ids=[mine.pk, inbox.pk])
            assert answer.status_code == 404
            assert _without_id(answer) == _without_id(unknown)
        assert made(limited)["inbox_ids"] == [mine.pk]  # nothing said: what it has itself
        assert made(limited, inbox_ids=None)["inbox_ids"] == [mine.pk]

    def test_it_gives_no_more_time_than_it_has(self, alice: Caller) -> None:
        end = timezone.now().replace(microsecond=0) + timedelta(days=1)
        brief = alice.with_key(expires_at=end)
        assert make(brief, expires_at=wire(end + timedelta(seconds=1))).status_code == 403
        assert made(brief, expires_at=wire(end - timedelta(hours=1)))["status"] == "usable"
        made(brief)
        newest = ApiKey.objects.first()
        assert newest is not None
        assert newest.expires_at == end

    @pytest.mark.parametrize(("mode", "other"), [("test", "live"), ("live", "test")])
    def test_it_makes_and_sees_its_own_mode_only(self, alice: Caller, mode: str, other: str) -> None:
        caller, stranger = alice.with_key(mode=mode), alice.with_key(mode=other)
        assert make(caller, mode=other).status_code == 403
        assert made(caller, mode=mode)["mode"] == made(caller)["mode"] == mode
        assert stranger.key.pk not in seen_by(caller)
        for answer in (
            caller.get(f"{KEYS}/{stranger.key.pk}"),
            caller.patch(f"{KEYS}/{stranger.key.pk}", {"name": "Mine"}),
            caller.delete(f"{KEYS}/{stranger.key.pk}"),
        ):
            assert answer.status_code == 404
        assert ApiKey.objects.get(pk=stranger.key.pk).revoked_at is None


class TestReading:
    def test_it_lists_by_status_and_by_cursor(self, alice: Caller) -> None:
        revoked, expired = made(alice), made(alice)
        alice.delete(f"{KEYS}/{revoked['id']}")
        ApiKey.objects.filter(pk=expired["id"]).update(expires_at=timezone.now())
        assert seen_by(alice, status="revoked") == {revoked["id"]}
        assert seen_by(alice, status="expired") == {expired["id"]}
        assert seen_by(alice, status="usable") == {alice.key.pk}
        first = alice.get(KEYS, limit=2).json()
        assert [key["id"] for key in first["data"]] == [expired["id"], revoked["id"]]
        rest = alice.get(KEYS, limit=2, cursor=first["meta"]["next_cursor"]).json()
        assert [key["id"] for key in rest["data"]] == [alice.key.pk]
        assert alice.get(KEYS, status="gone").status_code == 400

    def test_it_never_tells_the_digest(self, alice: Caller) -> None:
        told = alice.get(KEYS).content.decode()
        assert alice.key.prefix in told
        assert alice.key.digest not in told

    def test_a_stranger_finds_nothing(self, alice: Caller, charlie: Caller) -> None:
        unknown = charlie.get(f"{KEYS}/key_01m86mjjvsewt8t640x9zpmss7")
        answer = charlie.get(f"{KEYS}/{alice.key.pk}")
        assert answer.status_code == unknown.status_code == 404
        assert _without_id(answer) == _without_id(unknown)
        assert seen_by(charlie) == {charlie.key.pk}
        assert charlie.delete(f"{KEYS}/{alice.key.pk}").status_code == 404
        assert alice.get(KEYS).status_code == 200

    def test_a_limited_key_sees_those_that_see_no_more_than_it(self, alice: Caller) -> None:
        one, two, three = (alice.create_inbox() for _ in range(3))
        pair = alice.with_key(inbox_ids=[one.pk, two.pk])
        inside = [alice.with_key(inbox=one), alice.with_key(inbox_ids=[two.pk, one.pk]), alice.with_key(inbox_ids=[])]
        outside = [alice.with_key(inbox=three), alice.with_key(inbox_ids=[one.pk, three.pk]), alice]
        assert seen_by(pair) == {pair.key.pk, *(each.key.pk for each in inside)}
        for each in outside:
            assert pair.delete(f"{KEYS}/{each.key.pk}").status_code == 404
        assert seen_by(alice) >= {each.key.pk for each in [*inside, *outside, pair]}

    def test_it_takes_one_query_to_know_a_key(self, alice: Caller, django_assert_num_queries: Any) -> None:
        limited = alice.with_key(inbox_ids=[alice.create_inbox().pk for _ in range(3)])
        limited.get("/v1/inboxes")  # notes the use
        with django_assert_num_queries(3):  # the key; the page, which holds all there are; what they sent
            limited.get("/v1/inboxes")


class TestChanging:
    def test_it_renames_and_narrows_from_the_next_request_on(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        key = made(alice, preset="full")
        browser = using(key["secret"])
        assert browser.get("/v1/audit-log").status_code == 200
        answer = alice.patch(f"{KEYS}/{key['id']}", {"name": "Smaller", "preset": "agent", "inbox_id": inbox.pk})
        assert answer.status_code == 200
        told = answer.json()["data"]
        assert (told["name"], told["inbox_ids"]) == ("Smaller", [inbox.pk])
        assert told["permissions"] == list(AGENT)
        assert browser.get("/v1/audit-log").status_code == 403
        assert browser.get("/v1/inboxes").json()["meta"]["total"] == 1
        entry = AuditEntry.objects.filter(act="key.updated").latest("pk")
        assert entry.changes["name"] == ["Agent", "Smaller"]
        assert (entry.object_pk, entry.actor_id) == (key["id"], alice.key.pk)

    def test_it_changes_nothing_when_nothing_is_said(self, alice: Caller) -> None:
        assert alice.patch(f"{KEYS}/{alice.key.pk}", {}).status_code == 200
        assert not AuditEntry.objects.filter(act="key.updated").exists()

    def test_it_cannot_widen_itself_nor_another(self, alice: Caller) -> None:
        inbox, end = alice.create_inbox(), timezone.now() + timedelta(days=1)
        narrow = alice.with_key(permissions=[KEYS_MANAGE, KEYS_READ], inbox=inbox, expires_at=end)
        twin = alice.with_key(permissions=[KEYS_MANAGE], inbox=inbox, expires_at=end)
        for key in (narrow.key, twin.key):
            for change in (
                {"preset": "full"},
                {"permissions": [MESSAGES_READ]},
                {"expires_at": "2100-01-01T00:00:00Z"},
            ):
                assert narrow.patch(f"{KEYS}/{key.pk}", change).status_code == 403
            assert narrow.patch(f"{KEYS}/{key.pk}", {"inbox_id": alice.create_inbox().pk}).status_code == 404
            assert narrow.patch(f"{KEYS}/{key.pk}", {"inbox_ids": None, "expires_at": None}).status_code == 200
            after = ApiKey.objects.get(pk=key.pk)
            assert (after.inbox_ids, after.expires_at, after.permissions) == ([inbox.pk], end, key.permissions)

    def test_it_does_not_take_hold_of_a_key_that_may_more(self, alice: Caller) -> None:
        narrow = alice.with_key(permissions=[KEYS_MANAGE, MESSAGES_READ])
        key = made(alice, preset="full")
        assert narrow.patch(f"{KEYS}/{key['id']}", {"name": "Mine"}).status_code == 403
        assert ApiKey.objects.get(pk=key["id"]).name == "Agent"
        assert narrow.patch(f"{KEYS}/{key['id']}", {"permissions": [MESSAGES_READ]}).status_code == 200

    def test_its_mode_stays(self, alice: Caller) -> None:
        answer = alice.patch(f"{KEYS}/{alice.key.pk}", {"mode": "live"})
        assert answer.status_code == 400
        assert "mode" in answer.json()["error"]["fields"]

    def test_a_revoked_key_stays_as_it_is(self, alice: Caller) -> None:
        key = made(alice)
        alice.delete(f"{KEYS}/{key['id']}")
        assert alice.patch(f"{KEYS}/{key['id']}", {"name": "Back"}).status_code == 410


class TestRevoking:
    def test_it_ends_the_key_on_its_next_request(self, alice: Caller) -> None:
        key = made(alice, preset="full")
        browser = using(key["secret"])
        assert browser.get("/v1/inboxes").status_code == 200
        answer = alice.delete(f"{KEYS}/{key['id']}")
        assert answer.status_code == 200
        told = answer.json()["data"]
        assert told["status"] == "revoked"
        assert told["revoked_at"] is not None
        for path in ("/v1/inboxes", KEYS, "/v1/events"):
            assert browser.get(path).status_code == 401
        entry = AuditEntry.objects.get(act="key.revoked")
        assert (entry.object_pk, entry.actor_id) == (key["id"], alice.key.pk)

    def test_it_is_safe_to_repeat(self, alice: Caller) -> None:
        key = made(alice)
        first, second = (alice.delete(f"{KEYS}/{key['id']}").json()["data"]["revoked_at"] for _ in range(2))
        assert first == second
        assert AuditEntry.objects.filter(act="key.revoked").count() == 1

    def test_a_key_may_end_itself(self, alice: Caller, bob: Caller) -> None:
        assert alice.delete(f"{KEYS}/{alice.key.pk}").status_code == 200
        assert alice.get(KEYS).status_code == 401
        assert bob.get(KEYS).status_code == 200

    def test_it_ends_a_key_that_may_more(self, alice: Caller) -> None:
        """A leaked key must be ended by whoever notices first; to end it gives nobody anything."""
        narrow, key = alice.with_key(permissions=[KEYS_MANAGE]), made(alice, preset="full")
        assert narrow.delete(f"{KEYS}/{key['id']}").status_code == 200


class TestWhoMay:
    def test_it_takes_the_rights(self, alice: Caller) -> None:
        reader, nobody = alice.with_key(permissions=AUDITOR), alice.with_key(permissions=AGENT)
        assert reader.get(KEYS).status_code == 200
        assert make(reader).status_code == 403
        assert reader.delete(f"{KEYS}/{alice.key.pk}").status_code == 403
        assert reader.patch(f"{KEYS}/{alice.key.pk}", {}).status_code == 403
        assert nobody.get(KEYS).status_code == 403

    def test_a_new_account_key_has_every_right(self, alice: Caller) -> None:
        assert alice.key.permissions == list(FULL) == list(RIGHTS)
        assert alice.key.mode in Mode.values


def _without_id(answer: Any) -> dict[str, Any]:
    return {name: value for name, value in answer.json()["error"].items() if name != "request_id"}
