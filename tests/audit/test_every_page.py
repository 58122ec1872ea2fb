"""Every button, form and page of the console: what changes state or shows mail leaves an entry that names the person."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.acts import names_of_acts
from audit.models import AuditEntry
from inboxes.models import Account, ContentReview, Domain, Inbox, Membership, Provider, RetentionClass
from tests.audit.scenes import Idle, looked_at, not_idle
from tests.cast import Caller
from tests.console import PASSWORD, act, console, list_of, page_of, person
from tests.dns_zone import PublishedZone
from tests.inboxes.test_console_roles import MATRIX, PAGES, World, make_ready, named
from tests.mailing import deliver, mail
from threads.models import Attachment, Message

pytestmark = pytest.mark.one_profile
Prepare = Callable[[World, Client], dict[str, Any]]
BUTTONS = [(model, name) for model in PAGES for name in sorted(MATRIX[model].keys() - {"view", "add", "change"})]
ROOT, REVIEWER = ("user", "root"), ("user", "visitor")
STRANGER = ("anonymous", "")
NO_MEMBERS = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
OF_ACCOUNT = {"on_unknown": "at_most_once", "bounce_scope": "inbox", **NO_MEMBERS}
ANOTHER = "another correct horse"
TWICE = {"password1": ANOTHER, "password2": ANOTHER, "usable_password": "true"}


@dataclass(frozen=True)
class Visit:
    """A form that is sent, or without `body` a page that is opened. `args` of its address; without them it is the page of a row of `of`,
    if that is given. A `body` that is a function sets the scene first."""

    page: str
    acts: frozenset[str]
    body: dict[str, Any] | Prepare | None = None
    of: type[Model] | None = None
    args: Callable[[World], list[Any]] | None = None
    query: str = ""
    by: tuple[str, str] = ROOT

    def __str__(self) -> str:
        return f"{self.page}: {', '.join(sorted(self.acts))}"

    def url(self, world: World) -> str:
        own = [world.row(self.of, world.mine).pk] if self.of else []
        return reverse(f"admin:{self.page}", args=self.args(world) if self.args else own) + self.query


def visit(page: str, *acts: str, **options: Any) -> Visit:
    return Visit(page, frozenset(acts), **options)


def as_member(world: World, browser: Client) -> dict[str, Any]:
    """The form of a user who becomes an operator."""
    member = Membership.objects.get(account=world.mine, user__username="second-of-Acme")
    row = {"id": member.pk, "account": world.mine.pk, "user": member.user.pk, "role": "operator"}
    rows = {f"memberships-0-{name}": value for name, value in row.items()}
    counts = {"memberships-TOTAL_FORMS": "1", "memberships-INITIAL_FORMS": "1"}
    return {"username": "second-of-Acme", "email": "a@b.example", "is_active": "on", "is_staff": "on", **rows, **counts}


def paused(world: World, browser: Client) -> dict[str, Any]:
    browser.post(reverse("admin:delivery_sending"), {"act": "pause", "reason": "because"})
    return {"act": "resume", "reason": "because"}


def in_review(world: World, browser: Client) -> dict[str, Any]:
    page = reverse("admin:inboxes_compliance_review", args=inbox_of(world))
    assert browser.post(page, {"reason": "Complaint 2041"}).status_code == 302
    return {}


def with_mail_that_is_over(world: World, browser: Client) -> dict[str, Any]:
    mine = Inbox.objects.filter(pk__in=inbox_of(world))
    mine.update(retention_class=RetentionClass.objects.filter(account=world.mine).first())
    Message.objects.filter(inbox__in=mine).update(created_at=timezone.now() - timedelta(days=3660))
    return {}


def with_a_file(world: World) -> list[Any]:
    deliver(mail(attachments={"a.txt": b"the file"}), world.row(Inbox, world.mine))
    return [Attachment.objects.latest("pk").pk]


def inbox_of(world: World) -> list[Any]:
    return [world.row(Inbox, world.mine).pk]


def entry_of(world: World) -> list[Any]:
    """An inbox, and an entry of its trail."""
    (inbox_id,) = inbox_of(world)
    return [inbox_id, AuditEntry.objects.get(act="inbox.created", inbox_id=inbox_id).public_id]


def review_of(world: World) -> list[Any]:
    return [*inbox_of(world), ContentReview.objects.get().pk]


def received(world: World) -> list[Any]:
    return [Message.objects.filter(account_id=world.mine.pk, direction="inbound")[0].pk]


# Whatever is sent has the account, too.
VISITS = [
    # --- Forms that add ---
    visit("inboxes_account_add", "account.created", body={"name": "Third", **OF_ACCOUNT}),
    visit("auth_user_add", "user.created", body={"username": "newcomer", **TWICE}),
    visit("inboxes_inbox_add", "inbox.created", body={"mode": "live", "username": "support"}),
    visit("inboxes_apikey_add", "key.issued", body={"name": "Agent", "mode": "live", "preset": "agent"}),
    visit(
        "inboxes_membership_add", "user.created", "membership.created", body={"username": "newcomer", "role": "owner"}
    ),
    visit(
        "inboxes_addressrule_add",
        "list.entry_added",
        body={"mode": "test", "direction": "send", "effect": "block", "pattern": "evil.example"},
    ),
    visit(
        "delivery_suppression_add",
        "suppression.added",
        body={"mode": "test", "address": "ann@shop.example", "reason": "She called."},
    ),
    visit("inboxes_domain_add", "domain.created", "domain.key_made", body={"domain": "third.example"}),
    visit(
        "inboxes_provider_add",
        "provider.created",
        body={"name": "Mine", "credentials.server_token": "secret", "concurrency": 8},
        query="?esp=postmark&account=",
    ),
    visit("audit_export_add", "export.created", body={"reason": "The yearly review"}),
    visit("delivery_erasure_add", "erasure.previewed", body={"address": "eve@shop.example", "reason": "Request 2041"}),
    visit(
        "delivery_erasure_add",
        "erasure.requested",
        body={"address": "eve@shop.example", "reason": "Request 2041", "confirmed": "yes"},
    ),
    visit("inboxes_legalhold_add", "hold.placed", body={"matter": "Smith v. Shop", "reason": "A claim"}),
    visit("inboxes_retentionclass_add", "retention.class_created", body={"name": "Support", "content_days": "365"}),
    # --- Forms that change ---
    visit("inboxes_account_change", "account.updated", of=Account, body={"name": "Acme & Co.", **OF_ACCOUNT}),
    visit("auth_user_change", "user.updated", "membership.updated", of=get_user_model(), body=as_member),
    visit("auth_user_password_change", "user.updated", of=get_user_model(), body=TWICE),
    visit("inboxes_domain_edit", "domain.updated", of=Domain, body={"inbox_subdomains": "on"}),
    visit(
        "inboxes_inbox_provider",
        "inbox.updated",
        of=Inbox,
        body=lambda world, browser: {"provider": world.row(Provider, world.mine).pk},
    ),
    visit(
        "inboxes_inbox_retention",
        "inbox.updated",
        of=Inbox,
        body=lambda world, browser: {"retention_class": world.row(RetentionClass, world.mine).pk},
    ),
    visit("inboxes_retentionclass_edit", "retention.class_changed", of=RetentionClass, body={"name": "Longer"}),
    visit("inboxes_retentionclass_over", "content.removed", of=Inbox, body=with_mail_that_is_over),
    visit(
        "inboxes_provider_edit",
        *("provider.updated", "provider.credentials_changed"),
        of=Provider,
        body={"name": "Renamed", "credentials.server_token": "another", "concurrency": 8},
    ),
    visit(
        "inboxes_provider_test",
        *("provider.tested", "message.queued"),
        of=Provider,
        body=lambda world, browser: {"to": "me@example.com", "inbox": world.row(Inbox, world.mine).address},
    ),
    visit(
        "delivery_suppression_import",
        "suppression.imported",
        body=lambda world, browser: {"mode": "test", "file": SimpleUploadedFile("old.csv", b"ann@shop.example")},
    ),
    visit("delivery_sending", "outbox.paused", body={"act": "pause", "reason": "because"}),
    visit("delivery_sending", "outbox.resumed", body=paused),
    # --- Sessions ---
    visit("login", "console.signed_in", body=lambda world, browser: signing_in(browser, PASSWORD)),
    visit("login", "console.sign_in_failed", body=lambda world, browser: signing_in(browser, "wrong"), by=STRANGER),
    visit("logout", "review.ended", body=in_review, by=REVIEWER),
    visit(
        "password_change",
        "user.updated",
        body={"old_password": PASSWORD, "new_password1": ANOTHER, "new_password2": ANOTHER},
    ),
    # --- Compliance ---
    visit("inboxes_compliance_inbox", "audit.read", of=Inbox),
    visit("inboxes_compliance_entry", "audit.read", args=entry_of),
    visit("inboxes_compliance_proof", "audit.read", args=entry_of),
    visit("inboxes_compliance_verify", "trail.verified", of=Inbox, body={}),
    visit("inboxes_compliance_review", "review.started", of=Inbox, body={"reason": "Complaint 2041"}, by=REVIEWER),
    visit("inboxes_compliance_end", "review.ended", args=review_of, body=in_review, by=REVIEWER),
    # --- Mail ---
    visit("delivery_raw", "raw.read", args=received),
    visit("threads_attachment", "attachment.read", args=with_a_file),
]

IDLE = {
    "index": Idle("It shows figures."),
    "app_list": Idle("It lists pages.", words=("inboxes",)),
    "jsi18n": Idle("It shows words of the console."),
    "password_change_done": Idle("The form before it has changed something."),
    "inboxes_compliance": Idle("It lists inboxes."),
    "inboxes_domain_zone": Idle("It shows what is to be published.", words=("domain",)),
    "delivery_storagefigures_changelist": Idle(
        "Its button asks a worker to move raw mail now.", frozenset({"delivery_rawobject"})
    ),
    "autocomplete": Idle("It finds nothing: no form of ours uses it.", words=None),
    "view_on_site": Idle("It leads elsewhere: no row of ours is anywhere else.", words=None),
}


def signing_in(browser: Client, password: str) -> dict[str, Any]:
    browser.logout()
    return {"username": "root", "password": password}


def every_url(patterns: list[Any]) -> Iterator[Any]:
    for pattern in patterns:
        yield from every_url(pattern.url_patterns) if hasattr(pattern, "url_patterns") else [pattern]


def pages_that_only_show() -> set[str]:
    """Lists, rows and what was done to them, of each model that is registered; adding, changing and deleting where nobody may."""
    found = set()
    for model in admin.site._registry:
        kinds = [
            "changelist",
            "history",
            "delete",
            *(kind for kind in ("add", "change") if not MATRIX[model].get(kind)),
        ]
        found |= {f"{model._meta.app_label}_{model._meta.model_name}_{kind}" for kind in kinds}
    return found


@pytest.fixture(scope="module")
def rows(kept_rows: None) -> World:
    return World()


@pytest.fixture
def world(rows: World, db: None, dns: PublishedZone, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("mailbot.lib.hints.send", lambda task: None)
    return rows


class TestButtons:
    def test_each_leaves_an_entry_of_the_person(self, world: World, dns: PublishedZone) -> None:
        wrong = {}
        browser = console(person("root"))
        for model, action in BUTTONS:
            with transaction.atomic():
                row = world.row(model, world.mine)
                make_ready(action, row)
                if model is Domain:
                    shown = Caller(world.mine, "Dora", "live").get(f"/v1/domains/{row.pk}").json()["data"]
                    dns.publish(shown["dns_records"])  # so that a check finds something new
                with looked_at() as seen:
                    act(browser, action, row, reason="because")
                transaction.set_rollback(True)
            if not seen.changed or seen.actors != {ROOT}:
                wrong[f"{named(model)} {action}"] = (seen.changed, seen.acts, seen.actors)
        assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


class TestPages:
    def test_each_has_a_place_here(self) -> None:
        found = {str(url.name) for url in every_url(admin.site.get_urls()) if url.name}
        places = {each.page for each in VISITS} | IDLE.keys()
        assert found - pages_that_only_show() <= places <= found

    @pytest.mark.parametrize("visit", VISITS, ids=str)
    def test_it_leaves_an_entry_of_the_person(self, world: World, visit: Visit) -> None:
        assert visit.acts <= set(names_of_acts())
        root, reviewer = console(person("root")), console(person("visitor", world.mine, "reviewer"))
        browser = reviewer if visit.by == REVIEWER else root
        body = visit.body(world, browser) if callable(visit.body) else visit.body
        url = visit.url(world)
        with looked_at() as seen:
            answer = browser.get(url) if body is None else browser.post(url, {"account": world.mine.pk, **body})
            assert answer.status_code in (200, 302), answer.content
        assert seen.acts == visit.acts
        assert seen.actors == {visit.by}

    def test_what_is_nobodys_act_writes_to_no_other_table(self, world: World) -> None:
        browser = console(person("root"))
        ran = {}
        for page, idle in IDLE.items():
            if idle.words is not None:
                args = [world.row(Domain, world.mine).pk if word == "domain" else word for word in idle.words]
                url = reverse(f"admin:{page}", args=args)
                with looked_at() as ran[page]:
                    answer = browser.post(url) if idle.writes else browser.get(url)
                    assert answer.status_code in (200, 302), page
        assert not_idle(IDLE, ran) == {}

    def test_each_list_and_row_that_is_opened_changes_nothing(self, world: World) -> None:
        browser = console(person("root"))
        wrong = {}
        for row in (world.row(model, world.mine) for model in PAGES):
            for page in (list_of(row), page_of(row)):
                with looked_at() as seen:
                    assert browser.get(page).status_code == 200
                if seen.changed or seen.actors - {ROOT}:
                    wrong[page] = (seen.changed, seen.actors)
        assert not wrong

    def test_each_that_shows_mail_or_the_trail_leaves_an_entry_of_the_person(self, world: World) -> None:
        browser = console(person("rita", world.mine, "reviewer"))
        message = world.row(Message, world.mine)
        for row, listed, read in (
            (message, "message.listed", "message.read"),
            (message.thread, "thread.listed", "thread.read"),
            (AuditEntry.objects.filter(account_id=world.mine.pk)[0], "audit.read", "audit.read"),
        ):
            for page, act_name in ((list_of(row), listed), (page_of(row), read)):
                with looked_at() as seen:
                    assert browser.get(page).status_code == 200
                assert (seen.acts, seen.actors) == ({act_name}, {("user", "rita")})
                assert {entry.account_id for entry in seen.entries} == {world.mine.pk}
