"""The compliance view of an inbox: told in sentences, opened to its proof, with who had access, and recorded itself."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEntry, AuditLeaf, Verification
from audit.record import Act, Entry, record_many
from audit.sealing import seal_all
from inboxes.access_history import access_at
from inboxes.holds import place, release
from inboxes.keys import revoke_key
from inboxes.members import change_role, remove_member
from inboxes.models import Inbox, Membership
from inboxes.provisioning import delete_inbox
from tests.audit.trail import tamper
from tests.cast import Caller, run_workers
from tests.console import HOSTILE, console, person, queries_for

CHOOSE = reverse("admin:inboxes_compliance")


def view(inbox: Inbox) -> str:
    return reverse("admin:inboxes_compliance_inbox", args=[inbox.pk])


def shown(browser: Client, url: str, **query: Any) -> str:
    answer = browser.get(url, query)
    assert answer.status_code == 200
    return str(answer.content.decode())


def words(page: str) -> str:
    """Of the sentences, without markup."""
    return " ".join(re.sub(r"<[^>]+>", "", page).split())


@pytest.fixture
def reviewer(alice: Caller) -> Client:
    return console(person("rita", alice.account, "reviewer"))


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="billing")


class TestChoosing:
    def test_it_finds_by_address_and_id_also_what_is_deleted(self, alice, reviewer, inbox):
        delete_inbox(inbox, "no longer used")
        other = alice.create_inbox(username="sales")
        page = shown(reviewer, CHOOSE, q="BILL")
        assert view(inbox) in page
        assert view(other) not in page
        assert reviewer.get(CHOOSE, {"q": inbox.pk}).url == view(inbox)

    def test_it_says_that_there_is_none(self, reviewer):
        assert "No inbox that you may see" in shown(reviewer, CHOOSE, q="<b>nowhere</b>")
        assert "<b>nowhere" not in shown(reviewer, CHOOSE, q="<b>nowhere</b>")

    def test_a_stranger_finds_nothing(self, inbox, charlie):
        browser = console(person("sven", charlie.account, "owner"))
        assert view(inbox) not in shown(browser, CHOOSE)
        assert browser.get(view(inbox)).status_code == 404

    def test_it_has_a_place_in_the_navigation(self, reviewer, inbox):
        for page in (shown(reviewer, CHOOSE), shown(reviewer, view(inbox))):
            assert f'<a href="{CHOOSE}" aria-current="page">Compliance</a>' in page
            assert page.count("aria-current") == 1


class TestTimeline:
    def test_it_tells_who_sent_what_and_who_read_it(self, alice, inbox, reviewer):
        sent = alice.send(inbox, to="ada@example.com", subject="Invoice 42", body_text="Please pay.")
        alice.get(f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}")
        run_workers()
        page = words(shown(reviewer, view(inbox)))
        key = f"(key key_…{alice.key.pk[-4:]})"
        assert f"Alice {key} sent “Invoice 42” to ada@example.com; it waits in the queue." in page
        assert f"Alice {key} read “Invoice 42”." in page
        assert "handed “Invoice 42” over to the provider, for ada@example.com." in page
        assert "Please pay." not in page

    def test_looking_is_told_too(self, inbox, reviewer):
        shown(reviewer, view(inbox), since="2026-01-01", until="2026-01-31")
        entry = AuditEntry.objects.filter(act="audit.read").latest("pk")
        assert (entry.actor_name, entry.inbox_id, entry.changes["page"]) == ("rita", inbox.pk, "compliance")
        assert "since=2026-01-01" in entry.changes["query"]
        assert "rita (console) looked at 0 entries of this trail" in words(shown(reviewer, view(inbox)))

    def test_of_a_deleted_inbox_it_is_all_there(self, inbox, reviewer):
        delete_inbox(inbox, "the project is over")
        assert "because “the project is over”" in words(shown(reviewer, view(inbox)))

    def test_it_is_narrowed_by_kind_and_actor(self, alice, bob, inbox, reviewer):
        alice.send(inbox, subject="By Alice")
        bob.send(inbox, subject="By Bob")
        bob.messages(inbox)
        assert "By Alice" not in words(shown(reviewer, view(inbox), actor=f"api_key:{bob.key.pk}"))
        by_bob = words(shown(reviewer, view(inbox), actor=f"api_key:{bob.key.pk}", kinds="reads"))
        assert "looked at a list of 2 messages" in by_bob
        assert "By Bob" not in by_bob

    def test_what_concerns_the_account_is_shown_when_it_is_asked_for(self, alice, inbox, reviewer):
        person("olga", alice.account)
        assert "made olga in Acme a member" not in words(shown(reviewer, view(inbox)))
        assert "made olga in Acme a member, as operator." in words(shown(reviewer, view(inbox), account="on"))

    def test_its_pages_have_each_entry_once(self, alice, inbox, reviewer):
        record_many(
            Entry(Act.MESSAGE_RECEIVED, None, inbox.account_id, inbox.pk, {"subject": f"Mail {n:03}"})
            for n in range(120)
        )
        seen, url = [], view(inbox)
        while url:
            answer = reviewer.get(url)
            seen += [
                line.entry.changes["subject"]
                for line in answer.context["lines"]
                if line.entry.act == "message.received"
            ]
            url = view(inbox) + answer.context["links"]["next"] if answer.context["links"]["next"] else ""
        assert sorted(seen) == [f"Mail {n:03}" for n in range(120)]

    def test_a_page_looks_through_so_many_entries_and_says_so(self, inbox, reviewer, monkeypatch):
        monkeypatch.setattr("audit.timeline.MOST_LOOKED_THROUGH", 10)
        record_many(
            Entry(Act.MESSAGE_RECEIVED, None, inbox.account_id, inbox.pk, {"subject": f"{n}"}) for n in range(35)
        )
        url, found, pages = view(inbox) + "?kinds=settings", [], 0
        while url:
            answer = reviewer.get(url)
            found += [line.entry.act for line in answer.context["lines"]]
            pages += 1
            url = view(inbox) + answer.context["links"]["next"] if answer.context["links"]["next"] else ""
        assert found == ["inbox.created"]
        assert 3 <= pages <= 6

    def test_a_period_without_sense_is_complained_of_and_not_a_fault(self, inbox, reviewer):
        for query in (
            {"since": "2026-02-30"},
            {"since": "0001-01-01", "until": "9999-12-31"},
            {"since": "2020-01-01", "until": "2026-01-01"},
            {"until": "2026-01-01", "since": "2026-02-01"},
            {"at": "yesterday"},
            {"at": "9999-12-31T23:59"},
            {"actor": "\0:\0", "kinds": "nonsense"},
            {"cursor": "nonsense"},
        ):
            assert reviewer.get(view(inbox), query).status_code == 200, query
        assert "At most 92 days at once" in shown(reviewer, view(inbox), since="2020-01-01", until="2026-01-01")

    def test_words_of_strangers_stay_words(self, inbox, reviewer):
        record_many(
            [
                Entry(
                    Act.MESSAGE_RECEIVED,
                    None,
                    inbox.account_id,
                    inbox.pk,
                    {"from": HOSTILE, "subject": HOSTILE, HOSTILE: [HOSTILE]},
                )
            ]
        )
        page = shown(reviewer, view(inbox))
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page

    def test_it_takes_the_same_queries_however_long_it_is(self, alice, inbox, reviewer):
        def add(number: int) -> None:
            for n in range(number):
                alice.get(f"/v1/inboxes/{inbox.pk}/messages/{alice.send(inbox, subject=f'{n}')['id']}")

        add(3)
        at_three = queries_for(reviewer, view(inbox))
        add(15)
        assert queries_for(reviewer, view(inbox)) == at_three


class TestEntries:
    def test_an_entry_opens_to_its_changes_and_its_proof(self, alice, inbox, reviewer):
        alice.patch(f"/v1/inboxes/{inbox.pk}", {"display_name": "Acme Billing"})
        seal_all()
        entry = AuditEntry.objects.get(act="inbox.updated")
        leaf = AuditLeaf.objects.get(pk=entry.pk)
        page = shown(reviewer, view(inbox))
        assert "Acme Billing" in page
        assert bytes(leaf.hash).hex() in page
        own = shown(reviewer, reverse("admin:inboxes_compliance_entry", args=[inbox.pk, entry.public_id]))
        assert "The proof holds" in own
        answer = reviewer.get(reverse("admin:inboxes_compliance_proof", args=[inbox.pk, entry.public_id]))
        told = json.loads(answer.content)
        by_api = alice.get(f"/v1/audit-log/{entry.public_id}").json()["data"]
        assert (told["seq"], told["hash"]) == (by_api["seq"], by_api["hash"])
        assert told["proof"]["leaf"] == by_api["proof"]["leaf"]

    def test_one_that_was_changed_is_told(self, inbox, reviewer):
        seal_all()
        entry = AuditEntry.objects.get(act="inbox.created")
        tamper("UPDATE audit_auditentry SET actor_name = 'Mallory' WHERE id = %s", entry.pk)
        page = shown(reviewer, reverse("admin:inboxes_compliance_entry", args=[inbox.pk, entry.public_id]))
        assert "The proof does not hold" in page

    def test_one_whose_proof_the_tree_has_lost_is_told(self, alice, inbox, reviewer):
        alice.create_inbox()
        seal_all()
        entry = AuditEntry.objects.get(act="inbox.created", inbox_id=inbox.pk)
        seq = AuditLeaf.objects.get(pk=entry.pk).seq
        tamper("DELETE FROM audit_auditleaf WHERE account_id = %s AND seq = %s", inbox.account_id, seq ^ 1)
        page = shown(reviewer, reverse("admin:inboxes_compliance_entry", args=[inbox.pk, entry.public_id]))
        assert "There is no proof of it any more" in page
        url = reverse("admin:inboxes_compliance_proof", args=[inbox.pk, entry.public_id])
        assert reviewer.get(url).status_code == 404

    def test_one_that_is_not_sealed_has_no_proof_yet(self, inbox, reviewer):
        entry = AuditEntry.objects.get(act="inbox.created")
        assert "There is no proof yet" in shown(
            reviewer, reverse("admin:inboxes_compliance_entry", args=[inbox.pk, entry.public_id])
        )
        assert (
            reviewer.get(reverse("admin:inboxes_compliance_proof", args=[inbox.pk, entry.public_id])).status_code == 404
        )

    def test_those_of_others_are_404(self, alice, inbox, charlie, reviewer):
        theirs, other = charlie.create_inbox(), alice.create_inbox()
        for of in (theirs, other):
            entry = AuditEntry.objects.get(act="inbox.created", inbox_id=of.pk)
            for name in ("entry", "proof"):
                url = reverse(f"admin:inboxes_compliance_{name}", args=[inbox.pk, entry.public_id])
                assert reviewer.get(url).status_code == 404


class TestSeal:
    def test_it_is_none_until_somebody_verifies_then_green(self, inbox, reviewer):
        seal_all()
        assert "Not verified yet" in shown(reviewer, view(inbox))
        answer = reviewer.post(reverse("admin:inboxes_compliance_verify", args=[inbox.pk]), follow=True)
        page = answer.content.decode()
        assert "seal tone-good" in page
        assert "entries are as they were sealed" in words(page)
        entry = AuditEntry.objects.get(act="trail.verified")
        assert (entry.actor_name, entry.account_id, entry.changes["holds"]) == ("rita", inbox.account_id, True)
        assert Verification.objects.get().by == "rita"

    def test_it_is_red_and_names_the_first_bad_entry(self, inbox, reviewer):
        seal_all()
        bad = AuditEntry.objects.get(act="inbox.created")
        tamper("UPDATE audit_auditentry SET actor_name = 'Mallory' WHERE id = %s", bad.pk)
        seq = AuditLeaf.objects.get(pk=bad.pk).seq
        reviewer.post(reverse("admin:inboxes_compliance_verify", args=[inbox.pk]))
        page = shown(reviewer, view(inbox))
        assert "seal tone-bad" in page
        assert f"Changed, entry {seq}." in words(page)
        assert reverse("admin:inboxes_compliance_entry", args=[inbox.pk, bad.public_id]) in page

    def test_what_takes_long_is_done_in_parts(self, inbox, reviewer, monkeypatch):
        monkeypatch.setattr("inboxes.console_compliance.VERIFIES_FOR", 0)
        monkeypatch.setattr("audit.last_verification.AT_ONCE", 256)
        record_many(
            Entry(Act.MESSAGE_RECEIVED, None, inbox.account_id, inbox.pk, {"subject": f"{n}"}) for n in range(300)
        )
        seal_all()
        verify = reverse("admin:inboxes_compliance_verify", args=[inbox.pk])
        reviewer.post(verify)
        page = shown(reviewer, view(inbox))
        assert "seal tone-warn" in page
        assert "Go on verifying" in page
        reviewer.post(verify)
        assert "seal tone-good" in shown(reviewer, view(inbox))

    def test_looking_alone_verifies_nothing(self, inbox, reviewer):
        assert reviewer.get(reverse("admin:inboxes_compliance_verify", args=[inbox.pk])).status_code == 404
        assert not Verification.objects.exists()


class TestAccess:
    def test_keys_and_members_of_now(self, alice, inbox, reviewer):
        elsewhere = alice.create_inbox(username="elsewhere")
        only = Caller(
            alice.account, "Only this", key_options={"inbox_ids": [inbox.pk], "permissions": ["messages:read"]}
        )
        Caller(alice.account, "Not this", key_options={"inbox_ids": [elsewhere.pk]})
        live = Caller(alice.account, "Live one", "live")
        page = shown(reviewer, view(inbox))
        section = page[page.index('id="access"') : page.index('id="reviews"')]
        assert only.key.pk in section
        assert "this one only" in section
        assert "Not this" not in section
        assert live.key.pk not in section
        assert "rita" in section
        assert only.secret[:12] not in page

    def test_a_moment_of_before_is_as_it_was(self, alice, inbox):
        key = Caller(alice.account, "Agent", key_options={"permissions": ["messages:read"]}).key
        member = Membership.objects.get(user=person("olga", alice.account, "operator"))
        before = timezone.now()
        alice.patch(f"/v1/api-keys/{key.pk}", {"name": "Renamed", "permissions": ["messages:send"]})
        changed = timezone.now()
        revoke_key(key)
        change_role(member, "reviewer")
        remove_member(member)
        late = Caller(alice.account, "Late").key
        then, between, now = access_at(inbox, before), access_at(inbox, changed), access_at(inbox, timezone.now())
        assert [(k.name, k.permissions) for k in then.keys if k.id == key.pk] == [("Agent", ("messages:read",))]
        assert [(k.name, k.permissions) for k in between.keys if k.id == key.pk] == [("Renamed", ("messages:send",))]
        assert key.pk not in {k.id for k in now.keys}
        assert late.pk in {k.id for k in now.keys} - {k.id for k in then.keys}
        assert [(m.name, m.role) for m in then.members] == [("olga", "operator")]
        assert now.members == []

    def test_a_key_that_is_no_more_had_access_then(self, alice, inbox):
        key = Caller(alice.account, "Gone", key_options={"inbox_ids": [inbox.pk]}).key
        before, pk = timezone.now(), key.pk
        key.delete()
        then, now = access_at(inbox, before), access_at(inbox, timezone.now())
        assert [(k.name, k.inbox_ids) for k in then.keys if k.id == pk] == [("Gone", (inbox.pk,))]
        assert pk not in {k.id for k in now.keys}
        assert pk not in {k.id for k in access_at(inbox, before - timedelta(days=1)).keys}

    def test_an_end_counts_as_it_was_set_then(self, alice, inbox):
        ends = timezone.now() + timedelta(hours=1)
        key = Caller(alice.account, "Ends", key_options={"expires_at": ends}).key
        before = timezone.now()
        alice.patch(f"/v1/api-keys/{key.pk}", {"expires_at": None})
        (then,) = [k for k in access_at(inbox, before).keys if k.id == key.pk]
        assert then.expires_at is not None
        assert abs(then.expires_at - ends) < timedelta(seconds=1)

    def test_the_page_shows_the_moment_that_is_asked_for(self, alice, inbox, reviewer):
        page = shown(reviewer, view(inbox), at="2026-01-01T12:00")
        assert "As it was on 2026-01-01 12:00 UTC" in words(page)
        assert "The inbox did not exist then" in words(page)


class TestFigures:
    def test_the_chart_and_its_table_say_the_same(self, alice, bob, inbox, reviewer):
        for _ in range(3):
            alice.send(inbox)
        bob.send(inbox)
        answer = reviewer.get(view(inbox))
        chart = answer.context["chart"]
        assert sum(line.total for line in chart.lines) == answer.context["figures"].total
        named = {series.label: series.total for series in chart.series}
        assert named[f"Alice (key key_…{alice.key.pk[-4:]})"] == 4
        assert named[f"Bob (key key_…{bob.key.pk[-4:]})"] == 1
        page = answer.content.decode()
        assert 'role="img"' in page
        assert "Entries by day and actor</caption>" in page
        assert "style=" not in page[page.index("<svg viewBox") :]

    def test_counting_stops_and_says_so(self, inbox, reviewer, monkeypatch):
        monkeypatch.setattr("audit.timeline.MOST_COUNTED", 5)
        record_many(Entry(Act.MESSAGE_RECEIVED, None, inbox.account_id, inbox.pk, {}) for _ in range(20))
        answer = reviewer.get(view(inbox))
        assert "There are more entries than are counted" in answer.content.decode()
        assert answer.context["figures"].total <= 7

    def test_a_period_without_entries_is_said_to_be_one(self, inbox, reviewer):
        assert "Nothing was recorded in this period" in shown(
            reviewer, view(inbox), since="2026-01-01", until="2026-01-31"
        )


class TestKeeping:
    def test_holds_and_retention_are_shown(self, alice, inbox, reviewer):
        hold = place(alice.account, inbox=inbox, matter="Smith ./. Acme", reason="Court order 17")
        page = shown(reviewer, view(inbox))
        assert "Held: 1 legal hold" in page
        assert "Smith ./. Acme" in page
        assert "as this server is set" in page
        release(hold, reason="settled")
        page = shown(reviewer, view(inbox))
        assert "No legal hold" in page
        assert "Past holds (1)" in page

    def test_the_export_begins_with_inbox_and_period(self, inbox, reviewer):
        answer = reviewer.get(view(inbox), {"since": "2026-01-01", "until": "2026-01-31"})
        form = shown(reviewer, answer.context["links"]["export"])
        assert inbox.address in form
        assert 'value="2026-01-01T00:00"' in form
        assert 'value="2026-02-01T00:00"' in form


class TestPaper:
    def test_all_entries_can_be_opened_for_paper(self, inbox, reviewer):
        assert '<details id="audit_' in shown(reviewer, view(inbox))
        page = shown(reviewer, view(inbox), open="1")
        assert page.count(" open>") >= page.count('<details id="audit_') > 0

    def test_it_has_landmarks_headings_and_captions(self, inbox, reviewer):
        page = shown(reviewer, view(inbox))
        assert page.count("<h1") == 1
        assert page.count("<table") == page.count("<caption")
        assert 'class="skip-to-content-link"' in page
