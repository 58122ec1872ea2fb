"""Keys in wrong places, and what the processes of a real server have written by then."""

import base64
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.flows, pytest.mark.timeout(180)]


def written(folder: Path) -> dict[str, bytes]:
    """Every file of the server: logs, the broker, the database with its WAL; but not what a person asked to be written."""
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_no_process_writes_a_key_down(server):
    secret = server.issue_key("Secrecy")
    basic = base64.b64encode(f"{secret}:".encode()).decode()
    with httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30, verify=False
    ) as http:
        inbox = http.post("/v1/inboxes", json={}).json()["data"]
        for path in (
            f"/v1/inboxes?api_key={secret}",
            f"/v1/inboxes/{secret}",
            f"/v1/inboxes/{inbox['id']}/messages/wait?token={secret}",
            f"/v1/inboxes/{secret}/messages/wait",
            f"/admin/?q={secret}",
            f"/{secret}",
            f"/static/{secret}",
        ):
            assert http.get(path).status_code in (400, 404), path
        for body in ({"display_name": secret}, {"client_id": secret}, {secret: 1}):
            assert http.post("/v1/inboxes", json=body).status_code == 400
        sent = http.post(f"/v1/inboxes/{inbox['id']}/messages", json={"to": inbox["address"], "subject": "Hello"})
        assert sent.status_code == 202
        assert http.get("/v1/inboxes", headers={"X-Request-Id": secret}).headers["x-request-id"] != secret
        made = http.post("/v1/api-keys", json={"name": "Agent", "preset": "agent"}).json()["data"]["secret"]
        for header in (f"Basic {basic}", secret, f"Token {secret}"):
            assert (
                httpx.get(f"{server.url}/v1/inboxes", headers={"Authorization": header}, verify=False).status_code
                == 401
            )
        answer = http.get(f"/v1/inboxes/{inbox['id']}/messages/wait", params={"after": "2000-01-01T00:00:00Z"})
        assert answer.status_code == 200  # the worker has been through it
    for place, content in written(server.var).items():
        for part in (
            secret.encode(),
            secret[14:].encode(),
            made.encode(),
            made[14:].encode(),
            basic.rstrip("=").encode(),
        ):
            assert part not in content, place
