"""Three agents, one customer, one mail that only the right agent may see; then an address that lives for a minute.

Each step asserts what it shows. The first thing that is not so ends the story with one line and exit code 1.
"""

import logging
import secrets
import smtplib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar

import httpx

from mailbot.demo.clients import Agent, Correspondent, Inbox, OpenWait, Refused, Server, body, read
from mailbot.demo.page import Page
from mailbot.demo.server import NoServer, server_to_use
from mailbot.demo.trail import act_of, acts_in, sentence, subjects_in

CUSTOMER = ("Carol Customer", "carol@shop.example")
SERVICE = ("Some Service", "no-reply@service.example")
QUESTION = "Thank you. Can I pay in two parts?"
AGENTS = ("support", "onboarding", "billing")
PATIENCE = 15.0  # seconds for what the server does in the background
Found = TypeVar("Found")

# The thread as billing's events tell it: our mail, the customer's answer, our reply.
EVENTS = (
    "thread.created message.queued message.sent message.delivered message.received"
    " message.queued message.sent message.delivered"
).split()
SENDS, TAKES_IN = ("outbound worker", "message.sent"), ("inbound worker", "message.received")
KEYS_LAST = timedelta(hours=1)


class Mismatch(Exception):
    """Something is not as the story says. The message says what, and what was there instead."""


def tell(manage: Path, kept: Path) -> int:
    """Tell it on the server that runs, or on one of our own. The exit code."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would tell of each request between our lines
    page = Page()
    page.title("mailbot: e-mail inboxes for agents", "Everything below happens now, over HTTP and SMTP.")
    try:
        with server_to_use(manage, kept) as (server, is_ours):
            started = "a server started for this demo" if is_ours else "the server that runs"
            page.say(f"API {server.url} · SMTP {server.smtp_host}:{server.smtp_port} ({started})")
            Story(server, page).tell()
            if not is_ours:
                page.say(
                    f"The three inboxes are still there: look at them at {server.url}/admin/. The keys end in an hour."
                )
    except (Mismatch, Refused, NoServer) as error:
        page.failed(str(error))
        return 1
    except (httpx.HTTPError, smtplib.SMTPException, OSError) as error:
        page.failed(f"The server could not be spoken to: {type(error).__name__}: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


class Story:
    def __init__(self, server: Server, page: Page) -> None:
        self.owner = Agent(server, "the owner")
        self.agents: dict[str, Agent] = {}
        self.customer = Correspondent(server, *CUSTOMER)
        self.service = Correspondent(server, *SERVICE)
        self.page = page
        self.inboxes: dict[str, Inbox] = {}

    @property
    def billing(self) -> Inbox:
        return self.inboxes["billing"]

    @property
    def biller(self) -> Agent:
        return self.agents["billing"]

    def tell(self) -> None:
        try:
            self.make_inboxes()
            invoice = self.send_invoice()
            answer = self.customer_answers(invoice)
            self.only_billing_sees_it(invoice, answer)
            self.billing_replies(answer)
            self.show_events(answer)
            self.show_trail()
            self.show_its_trail(self.use_an_ephemeral_inbox())
        finally:
            for agent in (self.owner, *self.agents.values()):
                agent.close()

    # --- The steps ---------------------------------------------------------------------------------------------------

    def make_inboxes(self) -> None:
        self.page.chapter(1, "Three agents: an inbox each, and a key that opens it and no other")
        until = datetime.now(UTC) + KEYS_LAST
        run = secrets.token_hex(2)  # so that the story can be told again on the same server
        for name in AGENTS:
            inbox = self.owner.create_inbox(username=f"{name}-{run}", display_name=name.capitalize())
            self.inboxes[name], self.agents[name] = inbox, self.owner.hire(f"{name.capitalize()} agent", inbox, until)
        self.page.table(
            ["agent", "address"], [(self.agents[n].name, inbox.address) for n, inbox in self.inboxes.items()]
        )
        self.check(len({inbox.address for inbox in self.inboxes.values()}) == 3, "three inboxes", self.inboxes)

    def send_invoice(self) -> dict[str, Any]:
        self.page.chapter(2, "Billing writes to a customer")
        invoice: dict[str, Any] = self.biller.post(
            f"{self.billing.path}/messages",
            to=f"{CUSTOMER[0]} <{CUSTOMER[1]}>",
            subject="Invoice 2041",
            body_text="Hello Carol,\n\nplease find invoice 2041 over 120.00 EUR below.\n\n-- \nBilling\n",
        )
        self.check(invoice["status"] == "queued", "202: queued, with its Message-ID fixed", invoice["status"])
        self.delivered(invoice, "delivered (a test key reaches nobody: the sandbox captures it and says so)")
        return invoice

    def customer_answers(self, invoice: dict[str, Any]) -> dict[str, Any]:
        self.page.chapter(3, "Carol answers, while billing waits")
        mail = self.customer.answer(self.biller.raw(self.billing, invoice["id"]), QUESTION)
        self.show_mail("Carol sends, by SMTP", mail, "From", "To", "Subject", "In-Reply-To", "References")
        message, after = self.arrival(self.biller, self.billing, lambda: self.customer.send(mail, self.billing.address))
        self.page.seen(f"the open wait of billing was answered {after * 1000:.0f} ms after the server said 250")
        text = message["extracted_text"]
        self.check(text == QUESTION, f"extracted_text has the new words only: “{QUESTION}”", text)
        return message

    def only_billing_sees_it(self, invoice: dict[str, Any], answer: dict[str, Any]) -> None:
        self.page.chapter(4, "Only billing sees it, in its thread")
        for name in AGENTS:
            received = self.agents[name].get(f"{self.inboxes[name].path}/messages", direction="inbound")
            expected = [answer["id"]] if name == "billing" else []
            ids = [message["id"] for message in received]
            self.check(ids == expected, f"{name} has {len(expected) or 'no'} message{'' if expected else 's'}", ids)
        self.check(
            self.is_hidden_from("support", answer),
            "asked for it with support's key: 404, as if it were not there",
            answer,
        )
        thread_id = answer["thread_id"]
        self.check(thread_id == invoice["thread_id"], "it is in the thread of the invoice", thread_id)
        told = self.biller.get(f"{self.billing.path}/messages/{answer['id']}/explain")["thread"]
        self.check(told["matched_message"] == invoice["id"], f"why: {told['reason']}", told)

    def billing_replies(self, answer: dict[str, Any]) -> None:
        self.page.chapter(5, "Billing replies; the customer's copy")
        path = f"{self.billing.path}/messages/{answer['id']}/reply"
        reply = self.biller.post(path, body_text="Of course: 60.00 EUR now, 60.00 EUR in May.\n")
        self.delivered(reply, "delivered")
        copy = read(self.biller.raw(self.billing, reply["id"]))
        self.show_mail("Carol reads", copy, "From", "To", "Subject", "Message-ID", "In-Reply-To", "References")
        parent, chain = str(copy["In-Reply-To"]), str(copy["References"]).split()
        self.check(parent == answer["message_id_header"], "In-Reply-To names her mail", parent)
        whole = [*answer["references"], answer["message_id_header"]]
        self.check(chain == whole, "References names the whole chain: the invoice, then her answer", chain)
        self.check(self.billing.address in str(copy["From"]), "it comes from billing's own address", copy["From"])

    def show_events(self, answer: dict[str, Any]) -> None:
        self.page.chapter(6, "What happened, as events of the thread")
        events = self.biller.get(f"{self.billing.path}/threads/{answer['thread_id']}/events")[::-1]
        self.page.table(["time", "event", "about"], [(clock(e["occurred_at"]), e["type"], about(e)) for e in events])
        types = [event["type"] for event in events]
        self.check(types == EVENTS, "each step is there, once and in order", types)

    def show_trail(self) -> None:
        self.page.chapter(7, "Who did what, as the audit trail of billing's inbox tells it")
        self.tell_trail(self.billing, workers=[SENDS, TAKES_IN, SENDS])
        verified = eventually(lambda: self.owner.get("/v1/audit-log/verify"), lambda told: bool(told["size"]))
        sealed = verified["holds"] and verified["size"]
        self.check(sealed, f"sealed and unchanged: the first {verified['size']} entries of the account", verified)

    def use_an_ephemeral_inbox(self) -> Inbox:
        self.page.chapter(8, "An inbox for one verification mail")
        inbox = self.owner.create_inbox(expires_in=300)
        self.page.say(f"{inbox.address}: random, gone in five minutes at the latest")
        code = str(100_000 + secrets.randbelow(900_000))
        mail = self.service.write(inbox.address, "Confirm your address", f"Your verification code is {code}.\n")
        message, after = self.arrival(self.owner, inbox, lambda: self.service.send(mail, inbox.address), has_code=True)
        codes = message["codes"]
        self.check(codes == [code], f"the wait was answered after {after * 1000:.0f} ms, with codes = {codes}", codes)
        deleted = self.owner.delete(inbox.path)
        self.check(deleted["status"] == "deleted", "deleted", deleted["status"])
        said = self.service.try_recipient(inbox.address)
        self.check(said.startswith("550 5.1.1 "), f"RCPT TO:<{inbox.address}> → {said}", said)
        return inbox

    def show_its_trail(self, inbox: Inbox) -> None:
        self.page.chapter(9, "And its trail, which outlives it")
        self.tell_trail(inbox, workers=[TAKES_IN])

    # --- What the steps are made of ----------------------------------------------------------------------------------

    def check(self, is_so: bool, claim: str, seen: object) -> None:
        if not is_so:
            raise Mismatch(f"This should be so: {claim}. But there was: {seen}")
        self.page.seen(claim)

    def tell_trail(self, inbox: Inbox, workers: list[tuple[str, str]]) -> None:
        """All of it, oldest first; and it is what happened. `workers`: what they had to do, whom nobody called."""
        entries = self.owner.get("/v1/audit-log", inbox_id=inbox.id, limit=100)[::-1]
        subjects = subjects_in(entries)
        told = [(clock(e["occurred_at"]), e["actor"]["name"], sentence(e, inbox.address, subjects)) for e in entries]
        self.page.table(["time", "who", "what"], told)
        hired = {agent.key_id: agent for agent in self.agents.values()}
        for agent in (self.owner, *hired.values()):
            by_key = [entry for entry in entries if entry["actor"]["kind"] == "api_key"]
            acts = [act_of(e) for e in by_key if hired.get(e["actor"]["id"], self.owner) is agent]
            did = acts_in(agent.did, inbox.id)
            number = {0: "it did nothing here, and no entry says so", 1: "its one act"}.get(
                len(did), f"its {len(did)} acts, in order"
            )
            self.check(acts == did, f"{agent.name}: {number}", acts)
        others = [(e["actor"]["name"], e["action"]) for e in entries if e["actor"]["kind"] != "api_key"]
        self.check(others == workers, "and the server: sent and received", others)

    def arrival(
        self, agent: Agent, inbox: Inbox, send: Callable[[], None], **query: Any
    ) -> tuple[dict[str, Any], float]:
        """Open a wait on `inbox`, then `send`; the message, and how many seconds it came after the server's 250."""
        wait = OpenWait(agent, inbox, **query)
        time.sleep(0.3)  # it is open by now; if not, it looks back a minute and answers all the same
        send()
        accepted_at = time.monotonic()
        message = wait.result()
        return message, max(0.0, wait.answered_at - accepted_at)

    def is_hidden_from(self, name: str, message: dict[str, Any]) -> bool:
        try:
            self.agents[name].get(f"{self.billing.path}/messages/{message['id']}")
        except Refused as refused:
            return " answered 404: " in str(refused)
        return False

    def delivered(self, message: dict[str, Any], claim: str) -> None:
        path = f"{self.billing.path}/messages/{message['id']}"
        status = eventually(lambda: self.biller.get(path)["status"], lambda status: status == "delivered")
        self.check(status == "delivered", claim, status)

    def show_mail(self, title: str, mail: EmailMessage, *names: str) -> None:
        """With these headers. A chain of ids has a line for each, as it has in the mail."""
        headers = [(name, str(mail[name])) for name in names]
        self.page.mail(title, [(name, value.replace("> <", ">\n  <")) for name, value in headers], body(mail))


def eventually(look: Callable[[], Found], is_good: Callable[[Found], bool]) -> Found:
    """Look until it is good or PATIENCE is over; the last thing seen."""
    deadline = time.monotonic() + PATIENCE
    while not is_good(found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def clock(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%H:%M:%S.%f}"[:-3]


def about(event: dict[str, Any]) -> str:
    data = event["data"]
    parts = [data["reason"]] if data.get("reason") else [event["recipient"], data.get("from"), data.get("subject")]
    return " · ".join(str(part) for part in parts if part)
