"""Every task of the workers, run as they run it: what it changes leaves an entry that names who did it, or is nobody's act."""

from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.utils import timezone

from audit.acts import names_of_acts
from audit.sealing import seal_all
from delivery.inbound.process import MAX_CLAIMS
from delivery.models import InboundMail, OutboundMail, ProviderEvent, RecentSend, SendAttempt
from delivery.outbound.states import State
from delivery.raw_erasure import let_go
from delivery.raw_mover import move_batch
from inboxes.models import Account, Inbox, OnUnknown, Provider
from inboxes.retention_classes import make_class
from inboxes.sending_record import Tally, add_to_record
from tests.audit.bundles import ask, make
from tests.audit.scenes import OURS, Idle, Scene, Scenes, Stage, later, looked_at, not_idle, play
from tests.cast import run_workers
from tests.console import failed_event, unknown_mail
from tests.delivery.erasing import traces
from tests.delivery.inbound.reports.bounces import bounce
from tests.dns_zone import add_domain, verified_domain, verify
from tests.mailing import deliver, mail, store

SCENES = Scenes()
SECOND = timedelta(seconds=1)

# Tasks that are no act of anybody. Where a task does both, it has scenes above, too.
IDLE = {
    "audit.tasks.seal_trail": Idle(
        "It makes the seals of entries; what it seals are the acts.",
        frozenset({"audit_auditunsealed", "audit_auditleaf", "audit_audittree", "audit_audithead"}),
    ),
    "audit.tasks.post_heads": Idle(
        "It posts signed heads, and notes how far it is.", frozenset({"audit_audittree", "audit_auditanchor"})
    ),
    "audit.tasks.make_months": Idle("It makes partitions for months to come."),
    "inboxes.tasks.forget_answers": Idle(
        "It forgets kept answers of requests when their time is over.", frozenset({"inboxes_keptanswer"})
    ),
    "inboxes.tasks.sweep_sending_record": Idle("It forgets counters.", frozenset({"inboxes_sendingrecord"})),
    "delivery.tasks.move_raw": Idle(
        "It moves raw mail from its row into the store, byte for byte: who reads it sees no change.",
        frozenset({"delivery_rawobject", "delivery_inboundmail", "delivery_outboundmail"}),
    ),
    "delivery.tasks.remove_raw": Idle(
        "It deletes what a purge, an erasure or a retention let go, each of which has its entry.",
        frozenset({"delivery_rawobject"}),
    ),
    "delivery.tasks.sweep_storage": Idle(
        "Where no time is set for raw mail: rows of queues that are history, and how much room what takes.",
        frozenset({"delivery_inboundmail", "delivery_rawobject", "delivery_providerevent", "delivery_storagefigures"}),
    ),
    "delivery.tasks.index_messages": Idle(
        "It writes the search index.", frozenset({"threads_searchdocument", "threads_searchprogress"})
    ),
    "delivery.tasks.beat_heart": Idle("It notes that a worker lives.", frozenset({"delivery_heartbeat"})),
    "delivery.tasks.forget_sends": Idle(
        "It forgets what sends were compared with.", frozenset({"delivery_recentsend", "delivery_loopcount"})
    ),
}


# --- The trail itself ---


@SCENES.leaves("audit.tasks.make_exports", "export.finished", by="exporter")
def an_export_waits(stage: Stage) -> None:
    ask(stage.alice)


@SCENES.leaves("audit.tasks.expire_exports", "export.expired", by="schedule", days=8)
def an_export_was_made(stage: Stage) -> None:
    ask(stage.alice)
    make()


@SCENES.leaves("audit.tasks.verify_trails", "trail.verified", by="verifier")
def a_trail_is_sealed(stage: Stage) -> None:
    seal_all()


# --- Inboxes, accounts, domains ---


@SCENES.leaves("inboxes.tasks.expire_inboxes", "inbox.expired", "inbox.purged", by="schedule", days=1)
def an_inbox_ends(stage: Stage) -> None:
    deliver(mail(), stage.alice.create_inbox(expires_in=60, purge_on_expiry=True))


@SCENES.leaves("inboxes.tasks.sweep_quotas", "account.full", by="schedule")
def an_account_holds_more_than_it_may(stage: Stage) -> None:
    deliver(mail(), stage.inbox)
    Account.objects.update(storage_quota=1)


@SCENES.leaves("inboxes.tasks.sweep_quotas", "account.has_room", by="schedule")
def an_account_has_room_again(stage: Stage) -> None:
    Account.objects.update(is_full=True)


@SCENES.leaves("inboxes.tasks.check_domains", "domain.verified", "domain.key_changed", by="schedule", days=0.1)
def a_domain_was_published(stage: Stage) -> None:
    stage.dns.publish(add_domain(stage.alice)["dns_records"])


@SCENES.leaves("inboxes.tasks.check_domains", "domain.degraded", by="schedule", days=2)
def a_record_of_a_domain_went(stage: Stage) -> None:
    verified_domain(stage.alice, stage.dns)
    stage.dns.put("shop.example", "MX")


@SCENES.leaves("inboxes.tasks.check_domains", "domain.key_removed", by="schedule", days=8)
def a_key_of_a_domain_is_old(stage: Stage) -> None:
    domain = verified_domain(stage.alice, stage.dns)
    rotated = stage.alice.post(f"/v1/domains/{domain['id']}/rotate-key").json()["data"]
    stage.dns.publish(rotated["dns_records"])
    verify(stage.alice, domain)


# --- Mail that comes in ---


@SCENES.leaves(
    "delivery.tasks.process_inbound",
    *("message.received", "message.repeated", "message.rejected"),
    by="inbound worker",
)
def mail_came_in(stage: Stage) -> None:
    stage.alice.post("/v1/lists/receive/block", {"pattern": "spam.example"})
    twice = mail()
    for raw in (twice, twice, mail(From="x@spam.example")):
        store(raw, stage.inbox)


@SCENES.leaves("delivery.tasks.process_inbound", "message.report_received", "suppression.added", by="inbound worker")
def a_bounce_came_back(stage: Stage) -> None:
    stage.alice.send(stage.inbox, to="ann@example.org")
    run_workers()
    store(bounce("ann@example.org"), OutboundMail.objects.get().envelope_sender, envelope_sender="")


@SCENES.leaves("delivery.tasks.process_inbound", "inbound.failed", by="inbound worker")
def mail_came_in_that_nobody_can_read(stage: Stage) -> None:
    store(mail(), stage.inbox)
    InboundMail.objects.update(attempts=MAX_CLAIMS + 1, next_attempt_at=timezone.now() - SECOND)


# --- Mail that leaves ---


@SCENES.leaves("delivery.tasks.send_outbound", "message.sent", by="outbound worker")
def mail_is_queued(stage: Stage) -> None:
    stage.alice.send(stage.inbox)


@SCENES.leaves("delivery.tasks.send_outbound", "domain.warm_up_started", "message.sent", by="outbound worker")
def the_first_mail_of_a_domain_is_queued(stage: Stage) -> None:
    Inbox.objects.filter(pk=stage.live_inbox.pk).update(domain="new.example")
    stage.live.send(stage.live_inbox)


@SCENES.leaves("delivery.tasks.send_outbound", "message.failed", by="outbound worker")
def mail_of_a_paused_inbox_is_queued(stage: Stage) -> None:
    stage.alice.send(stage.inbox)
    stage.alice.post(f"/v1/inboxes/{stage.inbox.pk}/pause")


@SCENES.leaves("delivery.tasks.sweep_outbound", "message.unknown", by="outbound worker")
def who_sent_mail_did_not_come_back(stage: Stage) -> None:
    stage.live.send(stage.live_inbox)
    ended = {"state": State.SENDING, "lease_token": "dead", "lease_until": timezone.now() - SECOND}
    OutboundMail.objects.update(**ended)


@SCENES.leaves("delivery.tasks.wait_for_others", "message.settled", by="outbound worker")
def an_account_wants_its_unknown_mail_at_least_once(stage: Stage) -> None:
    Account.objects.update(on_unknown=OnUnknown.AT_LEAST_ONCE)
    unknown_mail(stage.live, stage.live_inbox)
    SendAttempt.objects.update(finished_at=timezone.now() - timedelta(minutes=16))
    OutboundMail.objects.update(next_attempt_at=timezone.now() - SECOND)


@SCENES.leaves("delivery.tasks.wait_for_others", "message.failed", by="outbound worker")
def a_file_that_mail_names_cannot_be_had(stage: Stage) -> None:
    stage.alice.send(stage.inbox, attachments=[{"filename": "a.txt", "url": "http://127.0.0.1:65535/a.txt"}])
    OutboundMail.objects.update(attempts=100)


@SCENES.leaves(
    "delivery.tasks.process_provider_events",
    *("message.settled", "suppression.added"),
    by="Postmark",
    kind="provider",
)
def an_esp_tells_that_unknown_mail_bounced(stage: Stage) -> None:
    told = {"told_mail_id": unknown_mail(stage.live, stage.live_inbox).pk, "type": "bounced"}
    provider = Provider.objects.create(account=stage.account, name="Postmark", esp="postmark")
    row = {"kind": ProviderEvent.Kind.TRACKING, "key": "0" * 64, "recipient": "customer@example.com"}
    ProviderEvent.objects.create(provider=provider, **row, **told)


# --- The breaker ---


def counted(stage: Stage, domain: str, number: int, provider: str = "") -> None:
    """So many inboxes of the domain, some of whose mail bounced."""
    for _ in range(number):
        inbox = stage.live.create_inbox()
        Inbox.objects.filter(pk=inbox.pk).update(domain=domain)
        at = timezone.now() - timedelta(minutes=2)
        add_to_record([Tally(stage.account.pk, inbox.pk, provider, at, sent=10, bounced=1)])


@SCENES.leaves("delivery.tasks.look_after_breakers", "inbox.on_trial", by="breaker")
def a_tripped_inbox_has_waited(stage: Stage) -> None:
    Inbox.objects.filter(pk=stage.inbox.pk).update(status="tripped", trials_at=timezone.now() - SECOND)


@SCENES.leaves("delivery.tasks.look_after_breakers", "inbox.resumed", by="breaker")
def the_trial_of_an_inbox_went_well(stage: Stage) -> None:
    on_trial = {"status": "tripped", "trials_at": timezone.now() - SECOND, "trials_left": 0}
    Inbox.objects.filter(pk=stage.inbox.pk).update(**on_trial)
    at = timezone.now() - timedelta(minutes=2)
    add_to_record([Tally(stage.account.pk, stage.inbox.pk, "", at, sent=4, delivered=4)])


@SCENES.leaves("delivery.tasks.look_after_breakers", "domain.tripped", by="breaker")
def mail_of_a_domain_bounces(stage: Stage) -> None:
    counted(stage, "acme.example", 2)


@SCENES.leaves("delivery.tasks.look_after_breakers", "provider.tripped", by="breaker")
def mail_of_a_provider_bounces(stage: Stage) -> None:
    provider = Provider.objects.create(account=stage.account, name="Postmark", esp="postmark")
    for domain in ("one.example", "two.example"):
        counted(stage, domain, 1, provider.pk)


# --- What goes ---


@SCENES.leaves("delivery.tasks.sweep_suppressions", "suppression.removed", by="retention", days=2)
def a_suppression_ends(stage: Stage) -> None:
    ends = (timezone.now() + timedelta(days=1)).isoformat()
    assert stage.alice.post("/v1/suppressions", {"address": "ann@shop.example", "expires_at": ends}).status_code == 201


@SCENES.leaves("delivery.tasks.sweep_storage", "raw.removed", by="retention", days=31)
def raw_mail_is_older_than_the_server_keeps_it(stage: Stage) -> None:
    stage.settings.RAW_RETENTION_DAYS = 30
    deliver(mail(), stage.inbox)
    move_batch(older_than=timedelta())


def kept(inbox: Inbox, **days: int) -> None:
    retention = make_class(inbox.account, {"name": str(days), **days})
    Inbox.objects.filter(pk=inbox.pk).update(retention_class=retention)
    deliver(mail(), inbox)


@SCENES.leaves(
    "delivery.tasks.sweep_retention",
    *("content.removed", "raw.removed", "events.removed", "trail.removed"),
    by="retention",
    days=31,
)
def the_time_of_all_that_is_kept_is_over(stage: Stage) -> None:
    kept(stage.inbox, content_days=30)
    kept(stage.live_inbox, raw_days=30, events_days=30, audit_days=30)
    move_batch(older_than=timedelta())
    seal_all()


@SCENES.leaves("delivery.tasks.run_erasures", "erasure.finished", "trail.replaced", by="eraser")
def a_person_is_to_be_erased(stage: Stage) -> None:
    deliver(mail(From="carol@shop.example"), stage.inbox)
    traces.ask(stage.live, "carol@shop.example")


def something_for_each_that_is_idle(stage: Stage) -> None:
    """Weeks later."""
    seal_all()
    stage.alice.send(stage.inbox)
    stage.alice.client.post(
        f"/v1/inboxes/{stage.inbox.pk}/messages",
        {"to": "ann@example.com"},
        content_type="application/json",
        headers={"Idempotency-Key": "once"},
    )
    counted(stage, "acme.example", 1)
    provider = Provider.objects.create(account=stage.account, name="Postmark", esp="postmark")
    failed_event(provider)
    deliver(mail(), stage.inbox)
    move_batch(older_than=timedelta())
    let_go([InboundMail.objects.get().pk])
    deliver(mail(), stage.inbox)
    RecentSend.objects.update(created_at=timezone.now() - timedelta(days=1))


def tasks() -> dict[str, Any]:
    """As a worker knows them."""
    current_app.loader.import_default_modules()
    return {name: task for name, task in current_app.tasks.items() if name.split(".")[0] in OURS}


class TestTasks:
    def test_each_has_a_place_here(self) -> None:
        assert tasks().keys() == SCENES.names() | IDLE.keys()

    @pytest.mark.parametrize("scene", SCENES, ids=str)
    def test_it_leaves_an_entry_that_names_who_did_it(self, stage: Stage, scene: Scene) -> None:
        assert scene.acts <= set(names_of_acts())
        seen = play(scene, stage, lambda _: tasks()[scene.of]())
        assert seen.acts == scene.acts
        assert seen.actors == {scene.by}

    def test_what_is_nobodys_act_writes_to_no_other_table(self, stage: Stage) -> None:
        something_for_each_that_is_idle(stage)
        ran = {}
        for name in IDLE:
            with later(40), looked_at() as ran[name]:
                tasks()[name]()
        assert not_idle(IDLE, ran) == {}
