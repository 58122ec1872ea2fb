"""The fixture itself: what the other tests of this folder build on."""

import httpx
import pytest

pytestmark = [pytest.mark.flows, pytest.mark.timeout(180)]


def test_it_answers(server):
    assert httpx.get(f"{server.url}/healthz", verify=False).status_code == 200


def test_it_knows_the_key(server):
    answer = httpx.post(
        f"{server.url}/v1/inboxes", headers={"Authorization": f"Bearer {server.api_key}"}, json={}, verify=False
    )
    assert answer.status_code == 201


def test_it_brings_back_what_was_killed(server):
    server.kill("worker")
    server.start("worker")
