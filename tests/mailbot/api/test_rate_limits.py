"""How often a key and an account may call, and what every answer says of it."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mailbot.api.bad_keys import KeyGuard, network_of
from mailbot.api.errors import ApiError
from mailbot.lib.rates import Rate
from tests.cast import Caller
from tests.web import Web, running_web

pytestmark = pytest.mark.usefixtures("exact_rates")
HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


@pytest.fixture
def limits(settings: Any) -> Any:
    settings.RATE_LIMIT_KEY, settings.RATE_LIMIT_ACCOUNT = Rate.of("10/hour"), Rate.of("15/hour")
    return settings


def shown(answer: Any) -> list[str]:
    return [answer.headers.get(name, "") for name in HEADERS]


class TestLimits:
    def test_each_answer_says_what_is_left(self, limits: Any, alice: Caller) -> None:
        assert shown(alice.get("/v1/inboxes")) == ["10", "9", "360"]
        assert shown(alice.get("/v1/inboxes/inbox_nope"))[:2] == ["10", "8"]  # 404
        assert shown(alice.get("/v1/inboxes", limitt=1))[:2] == ["10", "7"]  # 400
        assert shown(alice.put("/v1/inboxes", {}))[:2] == ["10", "6"]  # 405
        assert shown(alice.with_key(permissions=[]).get("/v1/inboxes"))[:2] == ["10", "9"]  # 403

    def test_a_call_too_many_is_told_when_to_come_again(self, limits: Any, alice: Caller) -> None:
        answers = [alice.get("/v1/inboxes") for _ in range(11)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429]
        error = answers[-1].json()["error"]
        assert (error["code"], error["limit"]) == ("rate_limited", "key")
        assert "10/hour" in error["message"]
        assert shown(answers[-1])[:2] == ["10", "0"]
        assert 350 <= int(answers[-1].headers["Retry-After"]) <= 360
        assert f"Wait {answers[-1].headers['Retry-After']} s" in error["fix"]

    def test_a_refused_call_does_nothing(self, limits: Any, alice: Caller) -> None:
        for _ in range(10):
            alice.get("/v1/inboxes")
        assert alice.post("/v1/inboxes", {"username": "late"}).status_code == 429
        limits.RATE_LIMIT_KEY = None
        assert alice.get("/v1/inboxes").json()["data"] == []

    def test_keys_of_an_account_share_what_it_has(
        self, limits: Any, alice: Caller, bob: Caller, charlie: Caller
    ) -> None:
        statuses = [caller.get("/v1/inboxes").status_code for caller in (alice, bob) for _ in range(8)]
        assert statuses == [200] * 15 + [429]
        refused = bob.get("/v1/inboxes")
        assert refused.json()["error"]["limit"] == "account"
        assert refused.headers["RateLimit-Limit"] == "15"
        assert charlie.get("/v1/inboxes").status_code == 200

    def test_they_can_be_turned_off(self, settings: Any, alice: Caller) -> None:
        settings.RATE_LIMIT_KEY = settings.RATE_LIMIT_ACCOUNT = None
        assert shown(alice.get("/v1/inboxes")) == ["", "", ""]

    def test_they_hold_for_parallel_calls(self, limits: Any, transactional_db: None, alice: Caller) -> None:
        with running_web() as web, web.client(alice) as client, ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: client.get("/v1/inboxes"), range(30)))
        assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 20


class TestWaits:
    @pytest.fixture
    def web(self, transactional_db: None) -> Iterator[Web]:
        with running_web() as web:
            yield web

    def test_a_wait_is_one_call_and_says_so(self, limits: Any, web: Web, alice: Caller) -> None:
        inbox = alice.create_inbox()
        with web.client(alice) as client:
            path = f"/v1/inboxes/{inbox.pk}/messages/wait"
            answers = [client.get(path, params={"timeout_ms": 1}) for _ in range(10)]
            other = client.get(f"/v1/inboxes/{inbox.pk}")
        assert [answer.status_code for answer in answers] == [408] * 9 + [429]
        assert shown(answers[0])[:2] == ["10", "8"]
        assert "Retry-After" in answers[-1].headers
        assert answers[-1].json()["error"]["limit"] == "key"
        assert other.status_code == 429


class TestBadKeys:
    @pytest.fixture(autouse=True)
    def few(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.RATE_LIMIT_BAD_KEYS = Rate.of("5/hour")
        settings.RATE_COUNTER = "mailbot.lib.rates.ProcessCounter"
        monkeypatch.setattr("inboxes.api.authentication.guard", KeyGuard())

    def guess(self, alice: Caller) -> Any:
        return alice.client.get("/v1/inboxes", headers={"Authorization": f"Bearer mb_test_{os.urandom(8).hex()}"})

    def test_who_tries_key_after_key_is_sent_away(self, alice: Caller, django_assert_num_queries: Any) -> None:
        assert [self.guess(alice).status_code for _ in range(5)] == [401] * 5
        with django_assert_num_queries(0):
            refused = self.guess(alice)
        assert refused.status_code == 429
        assert 700 <= int(refused.headers["Retry-After"]) <= 720

    def test_a_key_that_was_good_goes_on_working_from_there(self, alice: Caller) -> None:
        assert alice.get("/v1/inboxes").status_code == 200
        for _ in range(6):
            self.guess(alice)
        assert alice.get("/v1/inboxes").status_code == 200

    def test_other_addresses_are_not_shut_out(self, alice: Caller) -> None:
        for _ in range(6):
            self.guess(alice)
        answer = alice.client.get("/v1/inboxes", headers={"Authorization": "Bearer mb_test_x"}, REMOTE_ADDR="192.0.2.7")
        assert answer.status_code == 401

    def test_it_ends_by_itself(self, settings: Any) -> None:
        moment = [0.0]
        guard = KeyGuard(lambda: moment[0])
        for _ in range(5):
            guard.note_failure("192.0.2.1")
        with pytest.raises(ApiError):
            guard.check("192.0.2.1", "x")
        moment[0] = 721
        guard.check("192.0.2.1", "x")

    def test_it_remembers_only_so_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        guard = KeyGuard()
        monkeypatch.setattr(guard, "MOST", 3)
        for number in range(10):
            guard.note_success(str(number))
        assert list(guard._known) == ["7", "8", "9"]

    def test_a_network_of_ipv6_is_one_caller(self) -> None:
        assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::1") != network_of("2001:db8:1:3::")
        assert network_of(None) == ""

    def test_ipv4_is_no_network_of_ipv6_where_a_socket_takes_both(self) -> None:
        """Otherwise one who guesses keys would shut out everybody who comes by IPv4."""
        assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("::ffff:192.0.2.2")
