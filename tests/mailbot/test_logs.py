"""What the log says of requests and of mail that is sent, and what it never says."""

import io
import json
import logging
import smtplib
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from mailbot.lib.logs import CONSOLE, JSON, KeylessFormatter, default_format
from tests.cast import Caller, run_workers
from tests.web import running_web


class Log:
    def __init__(self, text: io.StringIO) -> None:
        self._text = text

    @property
    def text(self) -> str:
        return self._text.getvalue()

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.text.splitlines()) if line["event"] == event]


@pytest.fixture
def log() -> Iterator[Log]:
    """What this process logs meanwhile, as production writes it."""
    import mailbot.asgi  # noqa: F401  (sets up Django, and with it logging, once more)

    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(KeylessFormatter(JSON))
    logging.getLogger().addHandler(handler)
    yield Log(text)
    logging.getLogger().removeHandler(handler)


class TestRequests:
    def test_each_is_one_line_that_says_who_asked_for_what(self, alice: Caller, log: Log) -> None:
        inbox = alice.create_inbox()
        answer = alice.get(f"/v1/inboxes/{inbox.pk}/messages", limit=1, subject="hidden-word")
        (line,) = [line for line in log.lines("request") if line["route"].endswith("/messages")]
        assert line.pop("duration_ms") >= 0
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "event": "request",
            "level": "info",
            "logger": "mailbot.api.request_log",
            "method": "GET",
            "route": "/v1/inboxes/{inbox_id}/messages",
            "status": 200,
            "request_id": answer.headers["X-Request-Id"],
            "key_id": alice.key.pk,
            "account_id": alice.account.pk,
            "inbox_id": inbox.pk,
        }
        assert "hidden-word" not in log.text

    def test_it_says_what_is_known_of_one_that_is_refused(self, db: None, log: Log) -> None:
        answer = Client().get("/v1/inboxes", headers={"Authorization": "Bearer nonsense-secret"})
        (line,) = log.lines("request")
        assert (line["status"], line["request_id"]) == (401, answer.headers["X-Request-Id"])
        assert not line.keys() & {"key_id", "account_id", "inbox_id"}
        assert "nonsense-secret" not in log.text

    def test_a_path_that_does_not_exist_has_no_route(self, alice: Caller, log: Log) -> None:
        alice.get("/v1/made-up-by-a-stranger")
        assert [line["route"] for line in log.lines("request")] == ["(none)"]
        assert "made-up" not in log.text

    def test_it_names_the_user_of_the_console(self, admin_client: Client, admin_user: Any, log: Log) -> None:
        admin_client.get("/admin/")
        (line,) = log.lines("request")
        assert (line["route"], line["user_id"]) == ("/admin/", str(admin_user.pk))

    def test_it_is_silent_about_probes(self, log: Log) -> None:
        assert Client().get("/healthz").status_code == 200
        assert log.lines("request") == []

    @pytest.mark.django_db(transaction=True)
    def test_waits_and_bodies_that_are_too_large_are_requests_too(self, alice: Caller, log: Log) -> None:
        inbox = alice.create_inbox()
        with running_web() as web, web.client(alice) as client:
            waited = client.get(f"/v1/inboxes/{inbox.pk}/messages/wait", params={"timeout_ms": 0})
            refused = client.post("/v1/inboxes", content=b" " * 2_000_000)
        by_id = {line["request_id"]: line for line in log.lines("request")}
        wait = by_id[waited.headers["X-Request-Id"]]
        assert (wait["route"], wait["status"]) == ("/v1/inboxes/{inbox_id}/messages/wait", 408)
        assert (wait["key_id"], wait["account_id"], wait["inbox_id"]) == (alice.key.pk, alice.account.pk, inbox.pk)
        assert by_id[refused.headers["X-Request-Id"]]["status"] == 413


class TestSending:
    def test_the_worker_names_the_request_that_the_mail_came_by(self, alice: Caller, log: Log) -> None:
        inbox = alice.create_inbox()
        body = {"to": "someone@example.com", "subject": "hidden-word", "body_text": "hidden-word"}
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", body)
        run_workers()
        (line,) = log.lines("send")
        assert line.pop("duration_ms") >= 0
        assert line["mail_id"].startswith("outmail_")
        assert line["request_id"] == answer.headers["X-Request-Id"]
        assert (line["account_id"], line["inbox_id"]) == (alice.account.pk, inbox.pk)
        assert (line["esp"], line["outcome"], line["state"], line["attempt"]) == ("sandbox", "sent", "sent", 1)
        assert "hidden-word" not in log.text
        assert "someone@example.com" not in log.text

    def test_what_is_logged_while_a_provider_is_spoken_to_names_it_too(
        self, alice: Caller, log: Log, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def send_messages(self: Any, messages: Any) -> int:
            logging.getLogger("requests").warning("The provider is slow")
            raise smtplib.SMTPDataError(554, b"no: hidden-word")

        monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", send_messages)
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        live = alice.with_key(mode="live")
        inbox = live.create_inbox()
        answer = live.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "someone@example.com"})
        run_workers()
        (said,), (line,) = log.lines("The provider is slow"), log.lines("send")
        assert {said["request_id"], line["request_id"]} == {answer.headers["X-Request-Id"]}
        assert said["mail_id"] == line["mail_id"]
        assert (line["esp"], line["outcome"], line["state"]) == ("default", "permanent", "failed")
        assert "hidden-word" not in log.text

    def test_the_trail_of_it_names_the_request_too(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "someone@example.com"})
        run_workers()
        sent = AuditEntry.objects.get(act="message.sent")
        assert (sent.cid, sent.actor_kind) == (answer.headers["X-Request-Id"], "system")


class TestForms:
    def record(self) -> logging.LogRecord:
        mail = "the text of a mail"
        try:
            raise ValueError("broken", len(mail))
        except ValueError as error:
            information = (type(error), error, error.__traceback__)
            return logging.LogRecord("x", logging.ERROR, __file__, 1, "In %s", ("there",), information)

    def test_a_traceback_stays_on_its_line(self) -> None:
        (line,) = KeylessFormatter(JSON).format(self.record()).splitlines()
        told = json.loads(line)
        assert (told["event"], told["level"]) == ("In there", "error")
        assert "ValueError: ('broken', 18)" in told["exception"]

    @pytest.mark.parametrize("form", [JSON, CONSOLE])
    def test_no_traceback_has_the_values_of_variables(self, form: str) -> None:
        written = KeylessFormatter(form).format(self.record())
        assert "ValueError: ('broken', 18)" in written
        assert 'mail = "the text' not in written
        assert written.count("the text of a mail") == 0

    def test_production_writes_for_programs(self) -> None:
        assert default_format(is_production=True) == JSON
        assert default_format(is_production=False) == CONSOLE
