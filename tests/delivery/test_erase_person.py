"""manage.py erase_person"""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEntry
from delivery.models import Erasure
from inboxes.holds import place
from inboxes.models import Inbox
from tests.cast import Caller
from tests.delivery.erasing.traces import work
from tests.mailing import deliver, mail
from tests.stores import Store
from threads.models import Message

CAROL = "carol@shop.example"


@pytest.fixture
def inbox(alice: Caller, store: Store) -> Inbox:
    inbox = alice.create_inbox()
    deliver(mail(From=CAROL), inbox)
    return inbox


def run(caller: Caller, *arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command("erase_person", *arguments, account=caller.account.name, reason="Request 2041", stdout=out, **options)
    return out.getvalue()


def test_a_dry_run_lists_what_would_go(alice: Caller, inbox: Inbox) -> None:
    assert json.loads(run(alice, CAROL, dry_run=True))["messages"]["count"] == 1
    assert (Message.objects.get().from_address, Erasure.objects.count()) == (CAROL, 0)


def test_it_has_the_person_erased(alice: Caller, inbox: Inbox) -> None:
    assert "erasure_" in run(alice, CAROL)
    work()
    assert (Message.objects.get().from_address, Erasure.objects.get().state) == ("", "done")
    entry = AuditEntry.objects.get(act="erasure.requested")
    assert (entry.actor_kind, entry.actor_name) == ("system", "manage.py erase_person")


def test_a_hold_refuses_it(alice: Caller, inbox: Inbox) -> None:
    place(alice.account, inbox=inbox, matter="Smith v. Acme", reason="court")
    with pytest.raises(CommandError, match=r"Smith v\. Acme"):
        run(alice, CAROL)
    assert AuditEntry.objects.filter(act="hold.enforced").exists()


def test_who_is_no_person_is_refused(alice: Caller, inbox: Inbox) -> None:
    for address in ("nobody", inbox.address):
        with pytest.raises(CommandError):
            run(alice, address)
