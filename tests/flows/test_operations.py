"""What an operator sees of running processes: readiness, figures that all of them counted, log lines that belong together."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.flows.conftest import Server, until

pytestmark = [pytest.mark.one_profile, pytest.mark.flows, pytest.mark.timeout(120)]

TOKEN = "token-of-the-flows"
BEATS_WITHIN = 30.0  # seconds from the start to the first heartbeat, every 15 s, on two busy cores
NAMES = ("web", "smtp", "worker")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, own_database: Any, own_redis: Any) -> Iterator[Server]:
    told = {"MAILBOT_METRICS_TOKEN": TOKEN, "MAILBOT_LOG_FORMAT": "json", "MAILBOT_LOG_LEVEL": "INFO"}
    server = Server(tmp_path_factory.mktemp("var"), {**own_database, **own_redis, **told})
    try:
        server.begin()
        yield server
    finally:
        server.end()


def figures(server: Server) -> dict[tuple[str, str], float]:
    """By name and the values of the labels."""
    answer = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, verify=False)
    assert answer.status_code == 200
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {(sample.name, ",".join(sample.labels.values())): sample.value for sample in samples}


def lines(server: Server, name: str) -> list[dict[str, Any]]:
    """What a process has logged: nothing else than JSON. SMTP also says on standard output where it listens."""
    return [json.loads(line) for line in server.log_of(name).splitlines() if not line.startswith("Receiving mail at")]


def test_it_is_ready_once_a_worker_has_shown_itself(server: Server) -> None:
    until(
        lambda: httpx.get(f"{server.url}/readyz", verify=False).status_code == 200, "all parts are there", BEATS_WITHIN
    )
    assert set(httpx.get(f"{server.url}/readyz", verify=False).json()["parts"]) >= {"database", "migrations", "workers"}


def test_it_adds_up_what_all_processes_count(server: Server) -> None:
    before = figures(server)
    with server.http() as http:
        inbox = http.post("/inboxes", json={}).json()["data"]
        server.deliver(inbox["address"], "Subject: one\r\n\r\none")
        http.post(f"/inboxes/{inbox['id']}/messages", json={"to": "someone@example.com"})
    counted = (
        ("mailbot_mails_received_total", "smtp"),  # by smtp
        ("mailbot_mails_processed_total", "processed"),  # by a child of the worker's pool
        ("mailbot_mails_settled_total", "sandbox,sent"),
    )
    expected = {name: before.get(name, 0) + 1 for name in counted}
    until(lambda: expected.items() <= figures(server).items(), "every process has counted")
    assert figures(server)["mailbot_http_request_duration_seconds_count", "POST,/v1/inboxes,2xx"] >= 1


def test_the_id_of_a_call_leads_to_what_the_worker_did(server: Server) -> None:
    with server.http() as http:
        inbox = http.post("/inboxes", json={}).json()["data"]
        answer = http.post(f"/inboxes/{inbox['id']}/messages", json={"to": "someone@example.com"})
    request_id = answer.headers["X-Request-Id"]

    def said(name: str) -> list[dict[str, Any]]:
        return [line for line in lines(server, name) if line.get("request_id") == request_id]

    until(lambda: bool(said("worker")), "the worker has logged the send")
    assert [(line["event"], line["status"], line["inbox_id"]) for line in said("web")] == [
        ("request", 202, inbox["id"])
    ]
    assert [(line["event"], line["outcome"], line["inbox_id"]) for line in said("worker")] == [
        ("send", "sent", inbox["id"])
    ]


@pytest.mark.parametrize("name", NAMES)
def test_all_log_is_json_and_no_mail_is_in_it(server: Server, name: str) -> None:
    with server.http() as http:
        inbox = http.post("/inboxes", json={}).json()["data"]
        server.deliver(inbox["address"], "Subject: hidden-word\r\n\r\nhidden-word")
        found = partial(http.get, f"/inboxes/{inbox['id']}/messages")
        until(lambda: bool(found().json()["data"]), "the mail is filed")
    assert all("event" in line and "level" in line for line in lines(server, name))
    assert "hidden-word" not in server.log_of(name)
