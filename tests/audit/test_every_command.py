"""Every command of manage.py, run as a shell runs it: what it changes leaves an entry that names it, or is nobody's act."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command, get_commands

from audit.acts import names_of_acts
from audit.sealing import seal_all
from inboxes.holds import place
from inboxes.models import Inbox
from inboxes.retention_classes import make_class
from mailbot.quickstart.credentials import prepare_credentials
from tests.audit.scenes import OURS, Idle, Scene, Scenes, Stage, later, looked_at, not_idle, play
from tests.mailing import deliver, mail

SCENES = Scenes()
CAROL = "carol@shop.example"

IDLE = {
    "demo": Idle("A client of the API: its acts are those of its key.", words=None),
    "quickstart": Idle(
        "It starts the processes, and makes credentials before, which a test below looks at.", words=None
    ),
    "smtp": Idle("It stores what comes; the worker files it, and that has its entry.", words=None),
    "migrate": Idle("It is of the operator of the database: tables, not rows of tenants.", words=None),
    "flush": Idle("It empties the database, the trail with it.", words=None),
    "index_messages": Idle(
        "It writes the search index.", frozenset({"threads_searchdocument", "threads_searchprogress"})
    ),
    "move_raw": Idle(
        "As the task.",
        frozenset({"delivery_rawobject", "delivery_inboundmail", "delivery_outboundmail", "delivery_storagefigures"}),
        ("--all",),
    ),
    "orphaned_objects": Idle(
        "It lists files that belong to no row, and removes them when told; no row changes.",
        words=("--delete",),
    ),
    "verify_audit": Idle(
        "It reads the trail on the server itself, where whoever has a shell could read the tables; told so it seals, as the task.",
        frozenset({"audit_auditunsealed", "audit_auditleaf", "audit_audittree", "audit_audithead"}),
        ("--seal",),
    ),
    "rotate_credentials": Idle(
        "It encrypts with another key what stays the same.", frozenset({"inboxes_provider", "inboxes_domainkey"})
    ),
    "check_isolation": Idle("It reads policies of the database."),
}


@SCENES.leaves("issue_key", "key.issued", by="issue_key")
def a_key_of_an_account(stage: Stage) -> tuple[str, ...]:
    return ("--account", stage.account.pk)


@SCENES.leaves("issue_key", "account.created", "key.issued", by="issue_key")
def a_key_and_its_account(stage: Stage) -> tuple[str, ...]:
    return ("--account", "Another", "--create")


@SCENES.leaves("hold", "hold.placed", by="manage.py hold")
def a_claim(stage: Stage) -> tuple[str, ...]:
    return ("place", "--inbox", stage.inbox.pk, "--matter", "Smith v. Shop", "--reason", "A claim")


@SCENES.leaves("hold", "hold.released", by="manage.py hold")
def a_claim_that_is_settled(stage: Stage) -> tuple[str, ...]:
    hold = place(stage.account, inbox=stage.inbox, matter="Smith v. Shop", reason="A claim")
    return ("release", hold.pk, "--reason", "Settled")


@SCENES.leaves("outbox", "outbox.paused", by="manage.py outbox")
def an_outbox(stage: Stage) -> tuple[str, ...]:
    return ("pause", "--reason", "The provider moves")


@SCENES.leaves("outbox", "outbox.resumed", by="manage.py outbox")
def an_outbox_that_is_paused(stage: Stage) -> tuple[str, ...]:
    call_command("outbox", *an_outbox(stage), stdout=StringIO())
    return ("resume", "--reason", "It has moved")


@SCENES.leaves("erase_person", "erasure.requested", by="manage.py erase_person")
def a_person(stage: Stage) -> tuple[str, ...]:
    deliver(mail(From=CAROL), stage.inbox)
    return (CAROL, "--account", stage.account.pk, "--reason", "Request 2041")


@SCENES.leaves("erase_person", "erasure.previewed", by="manage.py erase_person")
def a_person_who_is_looked_at_first(stage: Stage) -> tuple[str, ...]:
    return (*a_person(stage), "--dry-run")


@SCENES.leaves("retention", "content.removed", by="manage.py retention", days=31)
def mail_whose_time_is_over(stage: Stage) -> tuple[str, ...]:
    deliver(mail(), stage.inbox)
    retention = make_class(stage.account, {"name": "Short", "content_days": 30})
    Inbox.objects.filter(pk=stage.inbox.pk).update(retention_class=retention)
    return ()


@SCENES.leaves("retention", "content.removed", by="manage.py retention", days=31)
def mail_of_one_inbox_whose_time_is_over(stage: Stage) -> tuple[str, ...]:
    return (*mail_whose_time_is_over(stage), "--inbox", stage.inbox.pk)


@SCENES.leaves("rotate_audit_key", "trail.key_rotated", by="rotate_audit_key")
def another_signing_key(stage: Stage) -> tuple[str, ...]:
    seal_all()
    stage.settings.AUDIT_KEYS = ["another", *stage.settings.AUDIT_KEYS]
    return ()


def something_for_each_that_is_idle(stage: Stage) -> None:
    seal_all()
    deliver(mail(attachments={"a.txt": b"12"}), stage.inbox)
    provider = {"name": "Postmark", "esp": "postmark", "credentials": {"server_token": "secret"}}
    assert stage.live.post("/v1/providers", provider).status_code == 201
    assert stage.alice.post("/v1/domains", {"domain": "shop.example"}).status_code == 201
    stage.settings.ENCRYPTION_KEYS = ["another", *stage.settings.ENCRYPTION_KEYS]


def called(name: str, *words: str) -> None:
    call_command(name, *words, stdout=StringIO(), stderr=StringIO())


class TestCommands:
    def test_each_has_a_place_here(self) -> None:
        ours = {name for name, app in get_commands().items() if app in OURS}
        assert ours == SCENES.names() | IDLE.keys()

    @pytest.mark.parametrize("scene", SCENES, ids=str)
    def test_it_leaves_an_entry_that_names_it(self, stage: Stage, scene: Scene) -> None:
        assert scene.acts <= set(names_of_acts())
        seen = play(scene, stage, lambda words: called(scene.of, *words))
        assert seen.acts == scene.acts
        assert seen.actors == {scene.by}

    def test_what_quickstart_makes_names_it(self, stage: Stage, tmp_path: Path) -> None:
        stage.settings.VAR = tmp_path
        with looked_at() as seen:
            prepare_credentials()
        assert seen.acts == {"account.created", "key.issued", "user.created", "membership.created"}
        assert seen.actors == {("system", "quickstart")}

    def test_what_is_nobodys_act_writes_to_no_other_table(self, stage: Stage) -> None:
        something_for_each_that_is_idle(stage)
        ran = {}
        for name, idle in IDLE.items():
            if idle.words is not None:
                with later(2), looked_at() as ran[name]:
                    called(name, *idle.words)
        assert not_idle(IDLE, ran) == {}
