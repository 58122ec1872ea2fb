"""Every page of the console × every role × everything that can be done there, taken from what the admin site has registered."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from audit.models import AuditEntry, Export
from delivery.models import Erasure, InboundMail, OutboundMail, OutboxState, ProviderEvent, StorageFigures, Suppression
from delivery.storage_figures import count_storage
from inboxes.holds import place
from inboxes.models import (
    Account,
    AddressRule,
    ApiKey,
    Domain,
    DomainKey,
    Inbox,
    LegalHold,
    Membership,
    Provider,
    RetentionClass,
    SendingDomain,
    SendingRecord,
)
from inboxes.retention_classes import make_class
from tests.audit.bundles import ask, make
from tests.cast import Caller, run_workers
from tests.console import act, console, failed_event, failed_inbound, page_of, person, unknown_mail
from tests.delivery.erasing.traces import erase
from tests.dns_zone import PublishedZone, add_domain
from tests.mailing import deliver, mail
from threads.models import Event, Message, Thread

pytestmark = pytest.mark.one_profile

ROLES = ["owner", "operator", "reviewer", "nobody", "superuser"]
NOBODY: frozenset[str] = frozenset()
SUPERUSER = frozenset({"superuser"})
OWNERS = SUPERUSER | {"owner"}
OPERATORS = OWNERS | {"operator"}
MEMBERS = OPERATORS | {"reviewer"}

# Who may see the list and the pages of a model, add one, change one by a form, and press each of its buttons. A model that is
# registered and not named here fails the tests.
MATRIX: dict[type[Model], dict[str, frozenset[str]]] = {
    Account: {"view": MEMBERS, "add": SUPERUSER, "change": SUPERUSER},
    Inbox: {
        "view": MEMBERS,
        "add": OPERATORS,
        "change": NOBODY,
        "pause_inboxes": OPERATORS,
        "resume_inboxes": OPERATORS,
        "delete_inboxes": OPERATORS,
    },
    ApiKey: {"view": OPERATORS, "add": OWNERS, "change": NOBODY, "revoke": OWNERS},
    Membership: {
        "view": OWNERS,
        "add": OWNERS,
        "change": NOBODY,
        "make_owner": OWNERS,
        "make_operator": OWNERS,
        "make_reviewer": OWNERS,
        "remove": OWNERS,
    },
    get_user_model(): {"view": SUPERUSER, "add": SUPERUSER, "change": SUPERUSER},
    AddressRule: {"view": MEMBERS, "add": OPERATORS, "change": NOBODY, "remove_entries": OPERATORS},
    Suppression: {"view": MEMBERS, "add": OPERATORS, "change": NOBODY, "remove_suppressions": OPERATORS},
    AuditEntry: {"view": MEMBERS, "add": NOBODY, "change": NOBODY},
    Export: {"view": MEMBERS, "add": MEMBERS, "change": NOBODY, "download": MEMBERS},
    Erasure: {"view": OWNERS, "add": OWNERS, "change": NOBODY, "certificate": OWNERS},
    LegalHold: {"view": MEMBERS, "add": OWNERS, "change": NOBODY, "release_holds": OWNERS},
    RetentionClass: {"view": MEMBERS, "add": OWNERS, "change": NOBODY, "delete_classes": OWNERS},
    Thread: {"view": MEMBERS, "add": NOBODY, "change": NOBODY, "release": OPERATORS},
    Message: {"view": MEMBERS, "add": NOBODY, "change": NOBODY, "accept": OPERATORS},
    Event: {"view": MEMBERS, "add": NOBODY, "change": NOBODY},
    OutboundMail: {
        "view": MEMBERS,
        "add": NOBODY,
        "change": NOBODY,
        "it_arrived": OPERATORS,
        "it_did_not": OPERATORS,
        "send_again": OPERATORS,
    },
    Domain: {
        "view": MEMBERS,
        "add": OWNERS,
        "change": NOBODY,
        "verify_domains": OPERATORS,
        "rotate_keys": OWNERS,
        "delete_domains": OWNERS,
    },
    Provider: {
        "view": OPERATORS,
        "add": OWNERS,
        "change": NOBODY,
        "pause_providers": OPERATORS,
        "resume_providers": OPERATORS,
        "rotate_tokens": OWNERS,
        "delete_providers": OWNERS,
    },
    InboundMail: {"view": SUPERUSER, "add": NOBODY, "change": NOBODY, "try_again": SUPERUSER},
    ProviderEvent: {"view": SUPERUSER, "add": NOBODY, "change": NOBODY, "try_again": SUPERUSER},
    SendingDomain: {
        "view": MEMBERS,
        "add": NOBODY,
        "change": NOBODY,
        "resume_domains": OPERATORS,
        "end_warm_ups": OPERATORS,
        "begin_warm_ups": OPERATORS,
    },
    SendingRecord: {"view": MEMBERS},
    StorageFigures: {"view": MEMBERS},
}
OF_FIGURES = {SendingRecord, StorageFigures}  # a page without rows
PAGES = [model for model in MATRIX if model not in OF_FIGURES]
# Those whose rows belong to no account, so that no member sees any.
OF_THE_SERVER = {InboundMail, ProviderEvent, get_user_model()}


def named(value: Any) -> str:
    return str(value._meta.model_name if isinstance(value, type(Model)) else value)


class World:
    """An account with rows of every kind, another one with the same, and somebody who signs in."""

    def __init__(self) -> None:
        self.mine, self.theirs = self._account("Acme"), self._account("Elsewhere")
        count_storage()

    def _account(self, name: str) -> Account:
        account = Account.objects.create(name=name)
        person(f"first-of-{name}", account, "owner")
        person(f"second-of-{name}", account, "reviewer")
        caller = Caller(account, name, "live")
        inbox = caller.create_inbox()
        deliver(mail(Subject=f"To {name}"), inbox)
        for thread in Thread.objects.filter(inbox=inbox):
            assert caller.post(f"/v1/inboxes/{inbox.pk}/threads/{thread.pk}/claim").status_code == 200
        unknown_mail(caller, inbox)
        failed_inbound(inbox)
        assert caller.post("/v1/lists/receive/block", {"pattern": "blocked.example"}).status_code == 201
        add_domain(caller, f"{name}.example")
        assert caller.post("/v1/suppressions", {"address": f"{name}@shop.example"}).status_code == 201
        provider = {"name": name, "esp": "postmark", "credentials": {"server_token": "secret"}}
        assert caller.post("/v1/providers", provider).status_code == 201
        failed_event(Provider.objects.get(account=account))
        SendingDomain.objects.create(account=account, domain="example.com", warms_up_from="2026-01-01")
        deliver(mail(From="spammer@blocked.example"), inbox)
        place(account, inbox=caller.create_inbox(), matter=f"{name} v. Shop", reason="A claim")
        make_class(account, {"name": name, "content_days": 3650})
        ask(caller)
        make()
        erase(caller, f"{name}.person@shop.example")
        return account

    def row(self, model: type[Model], account: Account) -> Any:
        """One of the account; of what is the server's, any."""
        rows = model._default_manager.order_by("pk")
        if model is Account:
            return account
        if model is get_user_model():
            return rows.get(username=f"second-of-{account.name}")
        if model is Membership:
            return rows.get(account=account, role="reviewer", user__username__startswith="second")
        if model is Message:
            return rows.get(account_id=account.pk, status="rejected")
        if model is ProviderEvent:
            return rows.get(provider__account=account)
        if model is InboundMail:
            return rows.filter(state="failed").first()
        return rows.filter(account_id=account.pk).first()

    def browser(self, role: str) -> Client:
        if role == "superuser":
            return console(person("root"))
        if role == "nobody":
            return console(get_user_model().objects.create_user("nobody", is_staff=True))
        return console(person("visitor", self.mine, role))


@pytest.fixture(scope="module")
def rows(kept_rows: None) -> World:
    return World()


@pytest.fixture
def world(rows: World, db: None, dns: PublishedZone) -> World:
    return rows


def add_page(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def everything(row: Any) -> dict[str, Any]:
    """The row as it is stored now; empty when it is gone."""
    found = type(row)._default_manager.filter(pk=row.pk).values().first() or {}
    if isinstance(row, Domain):
        found["keys"] = list(DomainKey.objects.filter(domain=row).values_list("pk", flat=True))
    return found


def make_ready(action: str, row: Any) -> None:
    """So that the button does something to it."""
    if action == "resume_inboxes":
        Inbox.objects.filter(pk=row.pk).update(status="paused")
    if action == "resume_providers":
        Provider.objects.filter(pk=row.pk).update(is_paused=True)
    if action == "resume_domains":
        SendingDomain.objects.filter(pk=row.pk).update(status="tripped")
    if action == "make_reviewer":
        Membership.objects.filter(pk=row.pk).update(role="operator")


class TestMatrix:
    def test_it_has_every_page_that_is_registered(self) -> None:
        assert set(admin.site._registry) == set(MATRIX)

    @pytest.mark.parametrize("model", PAGES, ids=named)
    def test_it_has_every_button(self, model: type[Model]) -> None:
        registered = admin.site._registry[model]
        assert set(registered.actions or []) == set(MATRIX[model]) - {"view", "add", "change"}

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("model", MATRIX, ids=named)
    def test_who_sees_a_list_and_whose_rows(self, world: World, model: type[Model], role: str) -> None:
        answer = world.browser(role).get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
        assert answer.status_code == (200 if role in MATRIX[model]["view"] else 403)
        if answer.status_code == 403 or model in OF_FIGURES or role == "superuser":
            return
        rows = list(answer.context["cl"].queryset)
        assert rows
        assert {row.pk if model is Account else row.account_id for row in rows} == {world.mine.pk}

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("model", PAGES, ids=named)
    def test_who_sees_a_page(self, world: World, model: type[Model], role: str) -> None:
        browser, sees = world.browser(role), role in MATRIX[model]["view"]
        assert browser.get(page_of(world.row(model, world.mine))).status_code in ((200,) if sees else (403, 404))
        elsewhere = browser.get(page_of(world.row(model, world.theirs))).status_code
        assert elsewhere in ((200,) if role == "superuser" else (403, 404))
        if sees and role != "superuser":
            assert elsewhere == 404

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("model", PAGES, ids=named)
    def test_who_adds(self, world: World, model: type[Model], role: str) -> None:
        browser = world.browser(role)
        number = model._default_manager.count()
        answers = [browser.get(add_page(model)), browser.post(add_page(model), {"account": world.theirs.pk})]
        assert answers[0].status_code in ((200,) if role in MATRIX[model]["add"] else (403, 404))
        assert model._default_manager.count() == number
        if role in MATRIX[model]["add"] and role != "superuser":
            accounts = answers[0].context["form"].fields["account"].queryset
            assert set(accounts) == {world.mine}

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("model", PAGES, ids=named)
    def test_who_changes_and_that_nobody_deletes(self, world: World, model: type[Model], role: str) -> None:
        browser = world.browser(role)
        for row in (world.row(model, world.mine), world.row(model, world.theirs)):
            before = everything(row)
            changes = browser.post(page_of(row), {"name": "Changed", "username": "changed", "role": "owner"})
            if role not in MATRIX[model]["change"]:
                assert changes.status_code in (403, 404)
                assert everything(row) == before
            deletes = browser.post(page_of(row).replace("/change/", "/delete/"), {"post": "yes"})
            assert deletes.status_code in (403, 404)
            act(browser, "delete_selected", row, post="yes")
            assert everything(row)

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize(
        ("model", "action"),
        [(model, action) for model in PAGES for action in MATRIX[model] if action not in ("view", "add", "change")],
        ids=named,
    )
    def test_who_presses_a_button(self, world: World, model: type[Model], action: str, role: str) -> None:
        browser, row = world.browser(role), world.row(model, world.mine)
        make_ready(action, row)
        theirs, before = world.row(model, world.theirs), everything(row)
        before_theirs = everything(theirs)
        act(browser, action, row, reason="because")
        assert (everything(row) != before) is (role in MATRIX[model][action])
        if role != "superuser":
            act(browser, action, theirs, reason="because")
            assert model in OF_THE_SERVER or everything(theirs) == before_theirs

    @pytest.mark.parametrize("role", ROLES)
    def test_who_pauses_and_resumes_sending(self, world: World, role: str) -> None:
        browser, page = world.browser(role), reverse("admin:delivery_sending")
        run_workers()  # which make the row
        assert browser.get(page).status_code == (200 if role == "superuser" else 403)
        for act_name, is_paused in (("pause", True), ("resume", False)):
            OutboxState.objects.update(is_paused=not is_paused)
            browser.post(page, {"act": act_name, "reason": "because"})
            changed = OutboxState.objects.get().is_paused is is_paused
            assert changed is (role == "superuser")

    @pytest.mark.parametrize("role", ROLES)
    def test_who_reads_what_mail_says(self, world: World, role: str) -> None:
        browser = world.browser(role)
        for account in (world.mine, world.theirs):
            message = Message.objects.filter(account_id=account.pk, direction="inbound").earliest("pk")
            Message.objects.filter(pk=message.pk).update(body_text="the words of it", extracted_text="the words of it")
            reads = role == "superuser" or (account == world.mine and role in OPERATORS)
            for page in (page_of(message), page_of(message.thread)):
                assert ("the words of it" in browser.get(page).content.decode()) is reads
            raw = browser.get(reverse("admin:delivery_raw", args=[message.pk]))
            assert raw.status_code == (200 if reads else 404)
