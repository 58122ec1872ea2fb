"""The tasks of the worker and the schedule: what finds the work when no hint arrived."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from celery import current_app
from django.utils import timezone

from delivery import tasks
from mailbot.lib.scope import NOBODY, acting_within
from tests.cast import Caller
from tests.file_server import file_server
from tests.mailing import mail, store


@pytest.fixture(autouse=True)
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbot.lib.hints.send", lambda task: None)


class TestSweeps:
    def test_they_are_scheduled(self, settings: Any) -> None:
        current_app.loader.import_default_modules()
        scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
        sweeps = {tasks.process_inbound, tasks.sweep_outbound, tasks.move_raw, tasks.sweep_storage}
        ours = sweeps | {tasks.index_messages, tasks.forget_sends}
        ours |= {tasks.wait_for_others, tasks.process_provider_events, tasks.sweep_retention}
        ours |= {tasks.beat_heart, tasks.look_after_breakers, tasks.sweep_suppressions, tasks.run_erasures}
        theirs = {"inboxes.tasks.expire_inboxes", "inboxes.tasks.sweep_quotas", "inboxes.tasks.forget_answers"}
        theirs |= {"inboxes.tasks.sweep_sending_record"}
        theirs |= {"inboxes.tasks.check_domains"}
        theirs |= {"audit.tasks.seal_trail", "audit.tasks.post_heads"}
        theirs |= {"audit.tasks.make_exports", "audit.tasks.expire_exports", "audit.tasks.verify_trails"}
        theirs |= {"audit.tasks.make_months"}
        assert scheduled == {task.name for task in ours} | theirs
        assert scheduled <= set(current_app.tasks)

    @pytest.mark.django_db
    def test_each_says_for_whom_it_acts(self, settings: Any) -> None:
        """A worker acts for nobody, unlike these tests."""
        current_app.loader.import_default_modules()
        with acting_within(NOBODY):
            for task in {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}:
                current_app.tasks[task].run()

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_they_come_again_in_time_when_a_clock_was_set(self, settings: Any, hours: int) -> None:
        for entry in settings.CELERY_BEAT_SCHEDULE.values():
            last_run_at = entry["schedule"].now()
            with time_machine.travel(timezone.now() + timedelta(hours=hours)):
                is_due, seconds = entry["schedule"].is_due(last_run_at)
            assert not is_due
            assert 0 < seconds <= entry["schedule"].run_every.total_seconds()

    def test_they_find_mail_that_came_in(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(Subject="nobody rang"), inbox)
        tasks.process_inbound()
        assert [message["subject"] for message in alice.messages(inbox)] == ["nobody rang"]

    def test_they_find_mail_that_has_to_leave(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        message = alice.send(inbox)
        tasks.sweep_outbound()
        assert alice.events(message_id=message["id"])[-1] == "message.delivered"

    def test_they_find_attachments_that_are_to_be_fetched(self, alice: Caller, settings: Any) -> None:
        settings.FETCH_ALLOW = ["127.0.0.1"]
        inbox = alice.create_inbox()
        with file_server() as server:
            file = {"filename": "a.txt", "url": server.gives("/a", b"a")}
            message = alice.send(inbox, attachments=[file])
            tasks.wait_for_others()
            tasks.sweep_outbound()
        assert alice.events(message_id=message["id"])[-1] == "message.delivered"

    def test_they_name_who_acts(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(), inbox)
        tasks.process_inbound()
        entry = alice.get("/v1/audit-log", inbox_id=inbox.pk, action="message.received").json()["data"][0]
        assert entry["actor"] == {"kind": "system", "id": "inbound worker", "name": "inbound worker"}
