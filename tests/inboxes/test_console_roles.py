"""Every page of the console × every role × everything that can be done there, taken from what the admin site has registered."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEntry, Export, Verification
from audit.sealing import seal_all
from delivery.models import Erasure, InboundMail, OutboundMail, OutboxState, ProviderEvent, StorageFigures, Suppression
from delivery.storage_figures import count_storage
from inboxes.holds import place
from inboxes.members import change_role, remove_member
from inboxes.models import (
    Account,
    AddressRule,
    ApiKey,
    ContentReview,
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
from threads.models import Attachment, Event, Message, Thread

pytestmark = [pytest.mark.one_profile, pytest.mark.timeout(180)]  # the first test makes everything that there can be

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
        seal_all()
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

    @pytest.mark.parametrize("role", ROLES)
    def test_who_sees_compliance_and_verifies(self, world: World, role: str) -> None:
        browser = world.browser(role)
        mine, theirs = (world.row(Inbox, account) for account in (world.mine, world.theirs))
        assert browser.get(reverse("admin:inboxes_compliance")).status_code == (200 if role in MEMBERS else 404)
        for inbox, sees in ((mine, role in MEMBERS), (theirs, role == "superuser")):
            entry = AuditEntry.objects.get(act="inbox.created", inbox_id=inbox.pk).public_id
            pages = [("inbox", []), ("entry", [entry]), ("proof", [entry])]
            answers = [
                browser.get(reverse(f"admin:inboxes_compliance_{name}", args=[inbox.pk, *more])).status_code
                for name, more in pages
            ]
            verifies = browser.post(reverse("admin:inboxes_compliance_verify", args=[inbox.pk])).status_code
            assert [*answers, verifies] == ([200, 200, 200, 302] if sees else [404] * 4)
            assert Verification.objects.filter(pk=inbox.account_id).exists() is sees

    @pytest.mark.parametrize("role", ROLES)
    def test_who_sees_what_is_over_and_removes_it(self, world: World, role: str) -> None:
        browser = world.browser(role)
        for account in (world.mine, world.theirs):
            inbox = world.row(Inbox, account)
            url = reverse("admin:inboxes_retentionclass_over", args=[inbox.pk])
            sees = role == "superuser" or (account == world.mine and role in MEMBERS)
            removes = role == "superuser" or (account == world.mine and role in OPERATORS)
            retention = RetentionClass.objects.filter(account=account).first()
            Inbox.objects.filter(pk=inbox.pk).update(retention_class=retention)
            Message.objects.filter(inbox=inbox).update(created_at=timezone.now() - timedelta(days=3660))
            first = Message.objects.filter(inbox=inbox).earliest("sequence")
            answer = browser.get(url)
            assert answer.status_code == (200 if sees else 404)
            assert not sees or ("Remove now" in answer.content.decode()) is removes
            assert browser.post(url).status_code == (302 if removes else 404)
            assert everything(first) == {} if removes else everything(first)

    @pytest.mark.parametrize("role", ROLES)
    def test_who_begins_a_review(self, world: World, role: str) -> None:
        """Those who read anyway have no use for one."""
        browser = world.browser(role)
        for account in (world.mine, world.theirs):
            inbox, may = world.row(Inbox, account), role == "reviewer" and account == world.mine
            url = reverse("admin:inboxes_compliance_review", args=[inbox.pk])
            assert browser.get(url).status_code == (200 if may else 404)
            assert browser.post(url, {"reason": "Complaint 2041"}).status_code == (302 if may else 404)
            assert ContentReview.objects.filter(inbox_id=inbox.pk).exists() is may
            page = browser.get(page_of(inbox))
            assert (f'href="{url}"' in page.content.decode()) is may


class TestReview:
    """A reviewer reads the mail of one inbox, for a reason that is recorded with each read, for a while."""

    REASON = "Complaint 2041 of a customer"
    WORDS = "the words of it"

    @pytest.fixture
    def inbox(self, world: World) -> Inbox:
        found = world.row(Inbox, world.mine)
        assert isinstance(found, Inbox)
        Message.objects.filter(account_id=world.mine.pk).update(body_text=self.WORDS, extracted_text=self.WORDS)
        return found

    @pytest.fixture
    def message(self, inbox: Inbox) -> Message:
        return Message.objects.filter(inbox=inbox, direction="inbound", status="received").earliest("pk")

    @pytest.fixture
    def browser(self, world: World) -> Client:
        return world.browser("reviewer")

    def begin(self, browser: Client, inbox: Inbox, reason: str = REASON) -> Any:
        return browser.post(reverse("admin:inboxes_compliance_review", args=[inbox.pk]), {"reason": reason})

    def pages(self, message: Message) -> list[str]:
        return [page_of(message), page_of(message.thread)]

    def reads(self, browser: Client, message: Message) -> bool:
        """All of it, or nothing of it."""
        seen = {self.WORDS in browser.get(page).content.decode() for page in self.pages(message)}
        seen.add(browser.get(reverse("admin:delivery_raw", args=[message.pk])).status_code == 200)
        (answer,) = seen
        return answer

    def test_it_begins_with_a_reason_only(self, browser: Client, inbox: Inbox, message: Message) -> None:
        for reason in ("", "   ", "why", "x" * 501):
            assert self.begin(browser, inbox, reason).status_code == 400
        assert not ContentReview.objects.exists()
        assert not self.reads(browser, message)

    def test_its_whole_walk(self, world: World, browser: Client, inbox: Inbox, message: Message) -> None:
        assert (
            "Read its mail…" in browser.get(reverse("admin:inboxes_compliance_inbox", args=[inbox.pk])).content.decode()
        )
        assert not self.reads(browser, message)
        answer = self.begin(browser, inbox)
        assert answer.url.endswith(f"?inbox={inbox.pk}")
        started = AuditEntry.objects.get(act="review.started")
        review = ContentReview.objects.get()
        assert (started.inbox_id, started.actor_name) == (inbox.pk, "visitor")
        assert (started.changes["reason"], started.changes["until"]) == (self.REASON, review.until.isoformat())
        assert review.until - review.started_at <= timedelta(hours=1)

        before = AuditEntry.objects.latest("pk").pk
        assert self.reads(browser, message)
        told = AuditEntry.objects.filter(pk__gt=before, act__in=["message.read", "thread.read", "raw.read"])
        assert {entry.act for entry in told} == {"message.read", "thread.read", "raw.read"}
        for entry in told:
            assert (entry.changes["review"], entry.changes["reason"]) == (started.public_id, self.REASON)
            assert "without" not in entry.changes

        page = browser.get("/admin/").content.decode()
        assert "You are reading the mail of" in page
        assert "End now" in page
        assert self.REASON in page

        url = reverse("admin:inboxes_compliance_end", args=[inbox.pk, review.pk])
        assert browser.get(url).status_code == 404
        assert browser.post(url).status_code == 302
        ended = AuditEntry.objects.get(act="review.ended")
        assert (ended.actor_name, ended.changes["review"]) == ("visitor", started.public_id)
        assert not self.reads(browser, message)
        assert "You are reading" not in browser.get("/admin/").content.decode()

    def test_an_attachment_is_read_with_its_reason(self, world: World, browser: Client, inbox: Inbox) -> None:
        deliver(mail(Subject="With a file", attachments={"a.txt": b"the file"}), inbox)
        attachment = Attachment.objects.get(message__subject="With a file")
        url = reverse("admin:threads_attachment", args=[attachment.pk])
        assert browser.get(url).status_code == 404
        self.begin(browser, inbox)
        answer = browser.get(url)
        assert (answer.status_code, answer.content) == (200, b"the file")
        assert answer["Content-Type"] == "application/octet-stream"
        entry = AuditEntry.objects.get(act="attachment.read")
        assert (entry.changes["reason"], entry.changes["message"]) == (self.REASON, attachment.message_id)
        assert browser.get(reverse("admin:threads_attachment", args=["att_nonsense"])).status_code == 404

    def test_no_other_inbox_opens(self, world: World, browser: Client, inbox: Inbox) -> None:
        other = Caller(world.mine, "Other", "live").create_inbox()
        deliver(mail(Subject="Elsewhere", attachments={"a.txt": b"x"}), other)
        there = Message.objects.get(inbox=other)
        Message.objects.filter(pk=there.pk).update(body_text=self.WORDS, extracted_text=self.WORDS)
        theirs = Message.objects.filter(account_id=world.theirs.pk, direction="inbound").earliest("pk")
        self.begin(browser, inbox)
        assert not self.reads(browser, there)
        file = Attachment.objects.get(message=there)
        assert browser.get(reverse("admin:threads_attachment", args=[file.pk])).status_code == 404
        assert browser.get(page_of(theirs)).status_code == 404

    def test_a_second_one_ends_the_first(self, world: World, browser: Client, inbox: Inbox, message: Message) -> None:
        other = Caller(world.mine, "Other", "live").create_inbox()
        self.begin(browser, inbox)
        self.begin(browser, other)
        assert not self.reads(browser, message)
        assert AuditEntry.objects.get(act="review.ended").changes["reason"] == "another began"

    def test_it_is_of_the_person_and_of_nobody_else(
        self, world: World, browser: Client, inbox: Inbox, message: Message
    ) -> None:
        self.begin(browser, inbox)
        assert not self.reads(console(person("colleague", world.mine, "reviewer")), message)

    def test_it_ends_with_its_time(self, browser: Client, inbox: Inbox, message: Message) -> None:
        self.begin(browser, inbox)
        ContentReview.objects.update(until=timezone.now() - timedelta(seconds=1))
        assert not self.reads(browser, message)
        assert "You are reading" not in browser.get("/admin/").content.decode()

    def test_it_ends_with_the_sign_out(self, world: World, browser: Client, inbox: Inbox, message: Message) -> None:
        self.begin(browser, inbox)
        browser.post(reverse("admin:logout"))
        assert AuditEntry.objects.get(act="review.ended").changes["reason"] == "signed out"
        assert not self.reads(console(get_user_model().objects.get(username="visitor")), message)

    @pytest.mark.parametrize("role", ["owner", "operator"])
    def test_it_ends_with_the_role_and_does_not_come_back(
        self, browser: Client, inbox: Inbox, message: Message, role: str
    ) -> None:
        self.begin(browser, inbox)
        mine = Membership.objects.get(user__username="visitor")
        change_role(mine, role)
        assert AuditEntry.objects.get(act="review.ended").changes["reason"] == "no reviewer any more"
        mine.refresh_from_db()
        change_role(mine, "reviewer")
        assert not self.reads(browser, message)

    def test_it_ends_with_the_membership_and_does_not_come_back(
        self, world: World, browser: Client, inbox: Inbox, message: Message
    ) -> None:
        self.begin(browser, inbox)
        mine = Membership.objects.select_related("user").get(user__username="visitor")
        remove_member(mine)
        assert browser.get(page_of(message)).status_code in (403, 404)
        Membership.objects.create(account=world.mine, user=mine.user, role="reviewer")
        assert not self.reads(browser, message)
        assert AuditEntry.objects.filter(act="review.ended").count() == 1

    def test_an_owner_sees_it_and_ends_it(self, world: World, browser: Client, inbox: Inbox, message: Message) -> None:
        self.begin(browser, inbox)
        url = reverse("admin:inboxes_compliance_end", args=[inbox.pk, ContentReview.objects.get().pk])
        for role in ("operator", "reviewer"):
            other = console(person(f"other-{role}", world.mine, role))
            assert other.post(url).status_code == 404
        owner = console(person("the-owner", world.mine, "owner"))
        page = owner.get(reverse("admin:inboxes_compliance_inbox", args=[inbox.pk])).content.decode()
        assert self.REASON in page
        assert url in page
        assert owner.post(url).status_code == 302
        assert ContentReview.objects.get().ended_by == "the-owner"
        assert not self.reads(browser, message)

    def test_it_changes_nothing_and_opens_no_key_and_no_provider(
        self, world: World, browser: Client, inbox: Inbox
    ) -> None:
        self.begin(browser, inbox)
        for model in (ApiKey, Provider, Membership, ProviderEvent, InboundMail):
            row = world.row(model, world.mine)
            assert browser.get(page_of(row)).status_code in (403, 404)
            assert browser.get(page_of(row).replace(f"{row.pk}/change/", "")).status_code in (403, 404)
        before = everything(inbox)
        act(browser, "pause_inboxes", inbox, reason="because")
        act(browser, "delete_inboxes", inbox, reason="because")
        assert everything(inbox) == before

    def test_no_page_of_a_reviewer_shows_a_secret(
        self, world: World, browser: Client, inbox: Inbox, message: Message
    ) -> None:
        self.begin(browser, inbox)
        provider, key = world.row(Provider, world.mine), world.row(ApiKey, world.mine)
        urls = [reverse("admin:inboxes_compliance_inbox", args=[inbox.pk]) + "?account=on&open=1", "/admin/"]
        for model in PAGES:
            row = world.row(model, world.mine)
            urls += [page_of(row), reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")]
        for url in urls:
            page = browser.get(url).content.decode()
            for secret in (provider.token, provider.sealed, key.digest, "server_token"):
                assert secret not in page, url

    def test_exports_with_mail_need_an_open_review_of_that_inbox(
        self, world: World, browser: Client, inbox: Inbox
    ) -> None:
        add = reverse("admin:audit_export_add")
        wanted = {"account": world.mine.pk, "inbox": inbox.pk, "include": ["messages"], "reason": "Evidence"}
        number = Export.objects.count()
        assert browser.post(add, wanted).status_code == 400
        self.begin(browser, inbox)
        other = Caller(world.mine, "Other", "live").create_inbox()
        for elsewhere in ("", other.pk):
            assert browser.post(add, {**wanted, "inbox": elsewhere}).status_code == 400
        assert browser.post(add, wanted).status_code == 302
        export = Export.objects.latest("pk")
        assert Export.objects.count() == number + 1
        asked_for = AuditEntry.objects.filter(act="export.created").latest("pk")
        assert asked_for.changes["review"] == ContentReview.objects.get().entry_id
        make()
        download = {"action": "download", "_selected_action": [export.pk]}
        exports = reverse("admin:audit_export_changelist")
        answer = browser.post(exports, download)
        assert answer["Content-Type"] == "application/zip"
        assert answer.getvalue()[:2] == b"PK"
        browser.post(reverse("admin:inboxes_compliance_end", args=[inbox.pk, ContentReview.objects.get().pk]))
        assert browser.post(exports, download).get("Content-Type") != "application/zip"
