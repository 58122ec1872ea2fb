"""Whether each process does its work, asked from outside. Every question is answered within a second."""

import http.client
import socket
from typing import Any

from kombu import Connection

TIMEOUT = 1.0  # seconds


def web_answers(host: str, port: int) -> bool:
    """Whether GET /healthz is 200."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def smtp_greets(host: str, port: int) -> bool:
    """Whether the server says 220 (RFC 5321 3.1)."""
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT) as connection:
            greeting = connection.recv(4)
            connection.sendall(b"QUIT\r\n")
            return greeting == b"220 "
    except OSError:
        return False


def bell_was_answered(broker: Connection, queue: str) -> bool:
    """Whether no hint is left in `queue`: after one was sent, a worker that consumes has taken it."""
    channel: Any = broker.default_channel  # kombu-stubs know only a part of it
    return bool(channel.queue_declare(queue=queue, durable=True, auto_delete=False).message_count == 0)
