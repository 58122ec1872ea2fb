"""Rate limits over several web processes: one sum where there is Redis, each for itself where there is none."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.flows.conftest import HOST, Server, free_ports, new_database, new_redis, until
from tests.flows.private_servers import is_production

pytestmark = [pytest.mark.flows, pytest.mark.timeout(180)]
LIMIT = 40
EXACT = {"DJANGO_SETTINGS_MODULE": "tests.flows.exact_counting"}


@pytest.fixture
def webs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, list[str]]]:
    """A server with two web processes, and where they are."""
    with new_database() as database, new_redis() as redis_number:
        limits = {"MAILBOT_RATE_LIMIT_KEY": f"{LIMIT}/hour", "MAILBOT_RATE_LIMIT_ACCOUNT": "off"}
        server = Server(tmp_path_factory.mktemp("limits"), {**database, **redis_number, **limits})
        (port,) = free_ports(1)
        second = f"http://{HOST}:{port}"
        try:
            server.prepare()
            server.spawn("web:2", MAILBOT_PORT=str(port), **EXACT)
            server.start("web", **EXACT)
            until(lambda: _is_up(second), "the second web process serves")
            yield server, [server.url, second]
        finally:
            server.end()


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", verify=False).status_code == 200
    except httpx.TransportError:
        return False


def test_they_hold_for_all_processes_together(webs: tuple[Server, list[str]]) -> None:
    server, urls = webs
    headers = {"Authorization": f"Bearer {server.api_key}"}
    with httpx.Client(headers=headers, timeout=30, verify=False) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.get(f"{urls[n % 2]}/v1/inboxes"), range(4 * LIMIT)))
    through = LIMIT if is_production else 2 * LIMIT
    assert Counter(answer.status_code for answer in answers) == {200: through, 429: 4 * LIMIT - through}
    remaining = Counter(answer.headers["RateLimit-Remaining"] for answer in answers if answer.status_code == 200)
    assert set(remaining.values()) == {through // LIMIT}  # nobody was told the same twice
