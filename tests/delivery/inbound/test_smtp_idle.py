"""Clients that say nothing keep out nobody."""

from typing import Any

from tests.delivery.inbound.conftest import Client

CONNECTIONS = 5


def is_let_in(server: Any) -> bool:
    client: Client = server.client(greet=False)
    if client.greeting.startswith("220"):
        return True
    assert client.greeting.startswith("421")
    return False


def test_it_sends_the_longest_silent_away_when_there_is_no_room(start_smtp: Any) -> None:
    server = start_smtp(max_connections=CONNECTIONS, spared_silence=0.1)
    idle, *others = [server.client() for _ in range(CONNECTIONS)]
    while not is_let_in(server):
        for client in others:
            assert client.command("NOOP").startswith("250")
    assert idle.reply().startswith("421 4.3.2")
    assert idle.is_closed()
    for client in others:
        assert client.command("NOOP").startswith("250")


def test_it_spares_who_was_heard_just_now(start_smtp: Any) -> None:
    server = start_smtp(max_connections=CONNECTIONS, spared_silence=60)
    clients = [server.client() for _ in range(CONNECTIONS)]
    assert not is_let_in(server)
    assert all(client.command("NOOP").startswith("250") for client in clients)
