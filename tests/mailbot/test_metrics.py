"""GET /metrics: who may ask, and that it counts what all processes do."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as real_settings
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from delivery.models import Heartbeat, OutboundMail
from delivery.tasks import beat_heart
from inboxes.models import Inbox
from mailbot.lib.clock import database_now
from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail, store

TOKEN = "token-of-the-tests"


@pytest.fixture(autouse=True)
def each_asks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbot.lib.questions.GOOD_FOR", 0.0)


def scrape() -> str:
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return answer.content.decode()


def number(name: str, text: str | None = None, **labels: str) -> float:
    """What stands behind a name and its labels; 0 when there is no such line."""
    families = text_string_to_metric_families(text or scrape())
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


class TestAccess:
    def test_they_are_off_unless_there_is_a_token(self, settings: Any) -> None:
        settings.METRICS_TOKEN = ""
        answer = Client().get("/metrics", headers={"Authorization": "Bearer "})
        assert answer.status_code == 404
        assert b"MAILBOT_METRICS_TOKEN" in answer.content

    @pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"])
    def test_they_are_for_who_brings_it(self, header: str) -> None:
        answer = Client().get("/metrics", headers={"Authorization": header} if header else {})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert b"mailbot_" not in answer.content

    def test_a_key_of_the_api_is_no_such_token(self, alice: Caller) -> None:
        assert alice.client.get("/metrics").status_code == 401


class TestCounting:
    def test_it_times_requests_by_route_and_class(self, alice: Caller) -> None:
        name, labels = (
            "mailbot_http_request_duration_seconds_count",
            {"route": "/v1/inboxes/{inbox_id}", "method": "GET"},
        )
        before = scrape()
        inbox = alice.create_inbox()
        for inbox_id in (inbox.pk, inbox.pk, "inbox_of_nobody"):
            alice.get(f"/v1/inboxes/{inbox_id}")
        after = scrape()
        for status, asked in (("2xx", 2), ("4xx", 1)):
            assert number(name, after, status=status, **labels) - number(name, before, status=status, **labels) == asked

    def test_it_counts_mail_that_comes_and_goes(self, alice: Caller) -> None:
        before = scrape()
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        alice.send(inbox)
        run_workers()
        after = scrape()
        for name, labels in (
            ("mailbot_mails_received_total", {"source": "smtp"}),
            ("mailbot_mails_processed_total", {"outcome": "processed"}),
            ("mailbot_send_attempts_total", {"esp": "sandbox", "outcome": "sent"}),
            ("mailbot_mails_settled_total", {"esp": "sandbox", "state": "sent"}),
            ("mailbot_provider_duration_seconds_count", {"esp": "sandbox", "outcome": "sent"}),
        ):
            assert (name, number(name, after, **labels) - number(name, before, **labels)) == (name, 1)

    def test_no_label_names_a_tenant(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        alice.get(f"/v1/inboxes/{inbox.pk}/messages")
        alice.client.get("/v1/made-up")
        text = scrape()
        assert "mailbot_http_request_duration_seconds" in text
        for named in (inbox.pk, inbox.address, alice.account.pk, alice.key.pk, "made-up"):
            assert named not in text

    @pytest.mark.django_db(transaction=True)
    def test_it_counts_events_that_were_committed(self, alice: Caller) -> None:
        before = number("mailbot_events_total", type="inbox.created")
        alice.create_inbox()
        alice.create_inbox()
        assert number("mailbot_events_total", type="inbox.created") == before + 2


COUNTS = """
import os, sys, django
django.setup()
from mailbot.lib import metrics
for _ in range(int(sys.argv[1])):
    metrics.note_received("smtp", 1)
if os.fork() == 0:  # as Celery makes the processes of its pool
    for _ in range(int(sys.argv[1])):
        metrics.note_received("smtp", 1)
    os._exit(0)
os.wait()
"""


class TestProcesses:
    def counts(self, times: int, folder: Path, **environment: str) -> subprocess.Popen[bytes]:
        place = {"MAILBOT_METRICS_TOKEN": TOKEN, "MAILBOT_METRICS_DIR": str(folder), "MAILBOT_VAR": str(folder / "var")}
        variables = {**os.environ, "DJANGO_SETTINGS_MODULE": "mailbot.settings", **place, **environment}
        program = [sys.executable, "-c", COUNTS, str(times)]
        return subprocess.Popen(program, cwd=real_settings.BASE_DIR, env=variables, stderr=subprocess.PIPE)

    def test_all_count_together_and_who_comes_later_goes_on(self, settings: Any, tmp_path: Path, db: None) -> None:
        settings.METRICS_DIR = tmp_path
        for total in (40, 80):
            processes = [self.counts(10, tmp_path) for _ in range(2)]
            assert [(process.wait(50), process.communicate()[1]) for process in processes] == [(0, b"")] * 2
            assert number("mailbot_mails_received_total", source="smtp") == total
            # No more files than processes there were at once.
            assert len(list(tmp_path.glob("counter_*.db"))) <= 4

    def test_who_cannot_count_does_his_work(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        process = self.counts(1, tmp_path, MAILBOT_METRICS_DIR=str(tmp_path / "file"))
        assert process.wait(50) == 0
        assert b"Nothing is counted" in process.communicate()[1]

    def test_nothing_is_written_where_nobody_can_ask(self, tmp_path: Path) -> None:
        process = self.counts(1, tmp_path / "metrics", MAILBOT_METRICS_TOKEN="", MAILBOT_VAR=str(tmp_path / "var"))
        assert (process.wait(50), process.communicate()[1]) == (0, b"")
        assert not (tmp_path / "metrics").exists()


@pytest.mark.django_db(transaction=True)
class TestQueues:
    def test_it_shows_what_waits_and_for_how_long(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(), inbox)
        alice.send(inbox)
        alice.send(inbox)
        OutboundMail.objects.update(next_attempt_at=database_now() - timedelta(seconds=90))
        later = database_now() + timedelta(hours=1)
        alice.send(inbox, send_at=later.isoformat())
        text = scrape()
        assert number("mailbot_database_up", text) == 1
        assert number("mailbot_inbound_mails", text, state="stored") == 1
        assert number("mailbot_inbound_mails", text, state="failed") == 0
        assert 0 < number("mailbot_inbound_oldest_seconds", text) < 60
        assert number("mailbot_outbound_mails", text, state="queued") == 3
        assert number("mailbot_outbound_due_mails", text) == 2
        assert 90 <= number("mailbot_outbound_oldest_due_seconds", text) < 150

    def test_it_shows_mail_that_is_being_prepared(self, alice: Caller) -> None:
        file = {"filename": "a.txt", "url": "https://files.example.com/a.txt"}
        alice.send(alice.create_inbox(), attachments=[file])
        text = scrape()
        assert number("mailbot_outbound_mails", text, state="preparing") == 1
        assert number("mailbot_preparing_oldest_seconds", text) > 0

    def test_it_shows_what_breakers_stopped(self, alice: Caller) -> None:
        test, live = alice.create_inbox(), alice.with_key(mode="live").create_inbox()
        Inbox.objects.filter(pk__in=[test.pk, live.pk]).update(status="tripped")
        text = scrape()
        assert [number("mailbot_tripped", text, what=what) for what in ("inbox", "domain", "provider")] == [1, 0, 0]

    def test_it_shows_zeros_when_nothing_waits(self) -> None:
        text = scrape()
        for state in ("preparing", "queued", "sending", "unknown", "failed"):
            assert f'mailbot_outbound_mails{{state="{state}"}} 0.0' in text
        assert number("mailbot_inbound_oldest_seconds", text) == 0
        assert "mailbot_heartbeat_age_seconds" not in text

    def test_it_shows_when_a_worker_was_last_seen(self) -> None:
        beat_heart()
        Heartbeat.objects.update(beaten_at=database_now() - timedelta(seconds=40))
        assert 40 <= number("mailbot_heartbeat_age_seconds") < 60

    def test_counters_are_there_without_the_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Client().get("/admin/login/")

        def refuse(self: Any) -> None:
            raise OSError("connection refused")

        monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection", refuse)
        text = scrape()
        assert number("mailbot_database_up", text) == 0
        assert number("mailbot_http_request_duration_seconds_count", text) > 0
