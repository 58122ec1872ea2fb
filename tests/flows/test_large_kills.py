"""`kill -9` of smtp while it takes in a large mail: what it acknowledged is whole, and of what it did not nothing stays."""

import smtplib
import time
from pathlib import Path

import pytest

from tests.flows.conftest import Server, until
from tests.flows.load import messages, raw_of

pytestmark = [pytest.mark.flows, pytest.mark.timeout(180)]

ONE_OF_ITS_LINES = b"a line of a large mail, and of many others\r\n"
LARGE = b"Subject: large\r\n\r\n" + ONE_OF_ITS_LINES * (3 * 1024 * 1024 // len(ONE_OF_ITS_LINES))
SWEEP = """
from delivery.models import RawObject
from delivery.raw_erasure import remove_leaving
from django.utils.timezone import now
RawObject.objects.filter(state="moving").update(lease_until=now())
remove_leaving()
assert not RawObject.objects.filter(state="kept", account_id="").exists()
print(*RawObject.objects.values_list("state", flat=True))
"""


def objects(server: Server) -> list[bytes]:
    return [path.read_bytes() for path in (server.var / "storage" / "raw").rglob("*.eml") if path.stat().st_size > 1024]


def deliver(server: Server, address: str) -> None:
    host, port = server.smtp.split(":")
    with smtplib.SMTP(host, int(port), timeout=60) as smtp:
        smtp.sendmail("sender@large.example", [address], LARGE)


@pytest.mark.parametrize(
    ("point", "is_there"), [("intake.in-store", False), ("intake.before-commit", False), ("intake.committed", True)]
)
def test_it_keeps_what_it_has_a_row_of_and_nothing_else(
    fragile_server: Server, tmp_path: Path, point: str, is_there: bool
) -> None:
    server, before = fragile_server, objects(fragile_server)
    with server.http() as http:
        inbox = http.post("/inboxes", json={}).json()["data"]
        server.kill("smtp")
        mark = tmp_path / point
        server.spawn("smtp", MAILBOT_FAILPOINTS=f"{point}=kill-group,once={mark}")
        until(server.lets_in, "smtp lets in")
        with pytest.raises((smtplib.SMTPException, OSError)):
            deliver(server, inbox["address"])
        assert mark.exists()
        until(lambda: not server.is_running("smtp"), "smtp is dead")
        assert len(objects(server)) == len(before) + 1
        states = server.manage("shell", "--verbosity", "0", "-c", SWEEP).split()
        assert (len(objects(server)) - len(before), "moving" in states, "leaving" in states) == (is_there, False, False)
        server.start("smtp")
        deliver(server, inbox["address"])  # as a sender does that saw no 250
        until(lambda: bool(messages(http, inbox)), "it is visible")
        time.sleep(0.5)  # what came twice would be there by now
        assert [raw_of(http, inbox, message) for message in messages(http, inbox)] == [LARGE]
