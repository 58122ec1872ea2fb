"""The story of the demo on real processes: three agents, a customer's answer, and an address that lives for a moment."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailbot.demo import story
from mailbot.demo.clients import Agent, Correspondent, Inbox, OpenWait, Refused, Server, read
from mailbot.demo.story import eventually

pytestmark = [pytest.mark.flows, pytest.mark.one_profile, pytest.mark.timeout(180)]
ROOT = Path(__file__).resolve().parents[2]
NO_MAILBOX = "550 5.1.1 No such mailbox here"


@pytest.fixture
def there(server):
    """The running server as the demo's clients know it."""
    host, _, port = server.smtp.partition(":")
    return Server(server.url, server.api_key, host, int(port))


@pytest.fixture
def agent(there):
    agent = Agent(there)
    yield agent
    agent.close()


@pytest.fixture
def carol(there):
    return Correspondent(there, "Carol Customer", "carol@shop.example")


@dataclass(frozen=True)
class Conversation:
    """An invoice, the customer's answer to it, and the inboxes of three agents."""

    inboxes: dict[str, Inbox]
    invoice: dict[str, Any]
    answer: dict[str, Any]

    @property
    def billing(self) -> Inbox:
        return self.inboxes["billing"]


@pytest.fixture
def conversation(agent, carol):
    inboxes = {
        name: agent.create_inbox(display_name=name.capitalize()) for name in ("support", "onboarding", "billing")
    }
    billing = inboxes["billing"]
    invoice = agent.post(f"{billing.path}/messages", to=carol.address, subject="Invoice", body_text="120 EUR, please.")
    answer, _ = answered(agent, carol, billing, invoice, "In two parts?")
    return Conversation(inboxes, invoice, answer)


def answered(agent, carol, inbox, message, text, **query):
    """Carol's answer to it, as an open wait is told of it, and the seconds from the sending to that."""
    mail = carol.answer(agent.raw(inbox, message["id"]), text)
    wait = OpenWait(agent, inbox, **query)
    carol.send(mail, inbox.address)
    sent_at = time.monotonic()
    return wait.result(), wait.answered_at - sent_at


class TestAnswer:
    def test_it_lands_in_one_inbox_and_in_the_thread_it_answers(self, agent, conversation):
        received = {
            name: [message["id"] for message in agent.get(f"{inbox.path}/messages", direction="inbound")]
            for name, inbox in conversation.inboxes.items()
        }
        assert received == {"support": [], "onboarding": [], "billing": [conversation.answer["id"]]}
        assert conversation.answer["thread_id"] == conversation.invoice["thread_id"]

    def test_it_is_told_to_a_wait_at_once(self, agent, carol, conversation):
        """At once: on its arrival, and not at the next turn of some poll or sweep (5 s). The quickest of three, because others may have
        the cores; each follows on one, so that no sweep is just due."""
        last, took = conversation.answer, []
        assert last["extracted_text"] == "In two parts?"
        for text in ("Or in three?", "Or in four?", "Or in five?"):
            last, seconds = answered(agent, carol, conversation.billing, conversation.invoice, text, after=last["id"])
            assert last["extracted_text"] == text
            took.append(seconds)
        assert min(took) < 3

    def test_it_is_told_to_no_wait_of_another_inbox(self, agent, conversation):
        with pytest.raises(Refused, match="408"):
            agent.wait_for_message(conversation.inboxes["support"], timeout_ms=50)


class TestReply:
    def test_it_carries_the_whole_chain(self, agent, carol, conversation):
        path = f"{conversation.billing.path}/messages/{conversation.answer['id']}/reply"
        copy = read(agent.raw(conversation.billing, agent.post(path, body_text="Of course.")["id"]))
        assert copy["In-Reply-To"] == conversation.answer["message_id_header"]
        chain = [conversation.invoice["message_id_header"], conversation.answer["message_id_header"]]
        assert str(copy["References"]).split() == chain
        assert copy["To"].addresses[0].addr_spec == carol.address
        assert copy["From"].addresses[0].addr_spec == conversation.billing.address

    def test_it_is_sent_and_told_as_events(self, agent, conversation):
        path = f"{conversation.billing.path}/messages/{conversation.answer['id']}/reply"
        reply = agent.post(path, body_text="Of course.")

        def types() -> list[str]:
            return [event["type"] for event in agent.get("/v1/events", message_id=reply["id"])[::-1]]

        done = ["message.queued", "message.sent", "message.delivered"]
        assert eventually(types, lambda seen: len(seen) >= len(done)) == done


class TestEphemeralInbox:
    def test_it_reads_a_code_and_is_gone(self, agent, carol):
        inbox = agent.create_inbox(expires_in=300)
        wait = OpenWait(agent, inbox, has_code=True)
        carol.send(carol.write(inbox.address, "Confirm", "Your verification code is 482913.\n"), inbox.address)
        assert wait.result()["codes"] == ["482913"]
        assert agent.delete(inbox.path)["status"] == "deleted"
        assert carol.try_recipient(inbox.address) == NO_MAILBOX


class TestRecipients:
    def test_it_refuses_all_that_lead_nowhere_alike(self, agent, carol):
        deleted = agent.create_inbox()
        domain = deleted.address.partition("@")[2]
        assert carol.try_recipient(deleted.address).startswith("250 ")
        agent.delete(deleted.path)
        nowhere = [deleted.address, f"nobody-has-this-name@{domain}", "somebody@elsewhere.example"]
        assert [carol.try_recipient(address) for address in nowhere] == [NO_MAILBOX] * 3


class TestCommand:
    def run(self, there: Server, **environment: str) -> subprocess.CompletedProcess[str]:
        told = {
            "MAILBOT_URL": there.url,
            "MAILBOT_API_KEY": there.api_key,
            "MAILBOT_SMTP": f"{there.smtp_host}:{there.smtp_port}",
        }
        return subprocess.run(
            [sys.executable, "manage.py", "demo"],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "mailbot.settings", **told, **environment},
            capture_output=True,
            text=True,
            timeout=150,
        )

    def test_it_tells_the_story_to_its_end(self, there):
        told = self.run(there)
        assert told.returncode == 0, told.stdout + told.stderr
        assert "550 5.1.1" in told.stdout
        assert "✗" not in told.stdout
        assert max(map(len, told.stdout.splitlines())) <= 100

    def test_it_ends_with_one_line_when_something_is_not_as_told(self, there, tmp_path, monkeypatch, capsys):
        told = {
            "MAILBOT_URL": there.url,
            "MAILBOT_API_KEY": there.api_key,
            "MAILBOT_SMTP": f"127.0.0.1:{there.smtp_port}",
        }
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(story, "EVENTS", ["thread.created"])
        assert story.tell(manage=ROOT / "manage.py", kept=tmp_path / "quickstart.env") == 1
        complaint = capsys.readouterr().out.splitlines()[-1]
        assert complaint.startswith(
            "   ✗ This should be so: each step is there, once and in order. But there was: ['thread.created'"
        )

    def test_it_ends_with_one_line_when_something_is_refused(self, there):
        told = self.run(there, MAILBOT_API_KEY="mb_test_unknown")
        assert told.returncode == 1
        complaint = told.stdout.splitlines()[-1]
        assert "✗ POST /v1/inboxes answered 401: This API key is unknown" in complaint
        assert "Traceback" not in told.stdout + told.stderr
