"""Mail that pretends, and how each kind of it is marked. The table in docs/mail-authentication.md says the same."""

from collections.abc import Callable

import pytest

from inboxes.models import Inbox
from mailbot.lib.addresses import canonical_domain
from tests.cast import Caller, run_workers
from tests.delivery.inbound.authentication.senders import (
    BANK_SERVER,
    EVIL_SERVER,
    OTHER_SERVER,
    World,
    a_month_ago,
    receive,
    signed,
)
from tests.delivery.inbound.authentication.shown import newest
from tests.mailing import mail

pytestmark = pytest.mark.one_profile  # test_batch.py asks the databases

ANN = "Ann <ann@bank.example>"
ROOT = "<root@bank.example>"
CYRILLIC_BANK = "b\u0430nk.example"
DATE = "Thu, 05 Nov 2026 16:59:01 +0200"
FROM_BANK = {"peer": BANK_SERVER, "envelope": "ann@bank.example", "helo": "mx.bank.example"}


def from_ann(inbox: Inbox, **headers: str) -> bytes:
    return mail(**{"From": ANN, "To": inbox.address, "Date": DATE, **headers})


class TestForgedFrom:
    def test_a_domain_that_wants_it_rejected(self, alice: Caller, inbox: Inbox) -> None:
        """The villain's own SPF passes, which says nothing of the bank."""
        receive(signed(from_ann(inbox), "evil.example"), inbox)
        shown = newest(alice, inbox)
        assert shown.auth == ("pass", "pass", "fail")
        assert (shown.flags, shown.score) == (["from_forged"], 0.1)
        assert shown.authentication["standing"] == "forged"
        told = shown.authentication["details"]
        assert (told["spf"]["domain"], told["dkim"][0]["domain"]) == ("evil.example", "evil.example")
        assert told["dmarc"] | {"reason": ""} == {
            "result": "fail",
            "domain": "bank.example",
            "policy": "reject",
            "policy_of": "bank.example",
            "aligned": [],
            "reason": "",
        }

    def test_a_domain_below_it(self, alice: Caller, inbox: Inbox) -> None:
        receive(from_ann(inbox, From="info@news.bank.example"), inbox)
        shown = newest(alice, inbox)
        assert (shown.flags, shown.authentication["details"]["dmarc"]["policy"]) == (["from_forged"], "quarantine")

    def test_a_domain_that_only_watches(self, alice: Caller, inbox: Inbox) -> None:
        receive(from_ann(inbox, From="info@shop.example"), inbox)
        shown = newest(alice, inbox)
        assert (shown.auth[2], shown.flags, shown.score) == ("fail", ["dmarc_failed"], 0.3)

    def test_a_domain_without_a_policy(self, alice: Caller, inbox: Inbox) -> None:
        receive(from_ann(inbox, From="info@plain.example"), inbox, envelope="info@plain.example")
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags, shown.score) == (("fail", "none", "none"), [], 0.5)

    def test_one_more_from(self, alice: Caller, inbox: Inbox) -> None:
        """Signed by the villain, with the bank's From above his own."""
        raw = b"From: ann@bank.example\r\n" + from_ann(inbox, From="mallory@evil.example")
        receive(raw, inbox)
        assert newest(alice, inbox).flags == ["from_forged", "from_ambiguous"]

    def test_several_authors(self, alice: Caller, inbox: Inbox) -> None:
        receive(from_ann(inbox, From="mallory@evil.example, ann@bank.example"), inbox)
        shown = newest(alice, inbox)
        assert (shown.auth[2], shown.flags) == ("permerror", ["from_ambiguous"])

    def test_an_address_as_a_name(self, alice: Caller, inbox: Inbox) -> None:
        receive(from_ann(inbox, From='"ann@bank.example" <mallory@evil.example>'), inbox)
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags) == (("pass", "none", "pass"), ["display_name_spoof"])

    @pytest.mark.parametrize("name", ['"ann@evil.example"', '"Ann @ Evil"', "Ann"])
    def test_a_name_that_is_none(self, alice: Caller, inbox: Inbox, name: str) -> None:
        receive(from_ann(inbox, From=f"{name} <mallory@mail.evil.example>"), inbox)
        assert "display_name_spoof" not in newest(alice, inbox).flags


class TestLookAlikes:
    @pytest.mark.parametrize(
        "domain",
        [
            "rnailbot.localhost",  # rn for m
            "mai1bot.localhost",
            "mailb0t.localhost",
            "mallbot.localhost",
            "mailbt.localhost",
            "maiblot.localhost",
            "m\u0430ilbot.localhost",  # a Cyrillic a
            "m\u00e4ilbot.localhost",
            "mailbot.localhost.evil.example",
        ],
    )
    def test_of_the_inbox_itself(self, alice: Caller, inbox: Inbox, world: World, domain: str) -> None:
        """In perfect order, like its owner."""
        domain = canonical_domain(domain)
        world.domain(domain, EVIL_SERVER, "p=reject")
        receive(from_ann(inbox, From=f"support@{domain}"), inbox, envelope=f"support@{domain}")
        shown = newest(alice, inbox)
        assert (shown.auth[2], shown.flags, shown.score) == ("pass", ["lookalike_domain"], 0.4)
        assert shown.explained["checks"]["trust"]["looks_like"] == "mailbot.localhost"

    def test_of_a_participant(self, alice: Caller, inbox: Inbox, world: World) -> None:
        sent = alice.send(inbox, to="ann@bank.example")
        receive(from_ann(inbox, From="ann@bamk.example", In_Reply_To=sent["message_id_header"]), inbox)
        shown = newest(alice, inbox)
        assert shown.thread != sent["thread_id"]
        assert shown.flags == ["thread_suspect"]  # a name of four letters is a slip away from many
        receive(
            from_ann(inbox, From=f"ann@{canonical_domain(CYRILLIC_BANK)}", In_Reply_To=sent["message_id_header"]), inbox
        )
        assert newest(alice, inbox).flags == ["thread_suspect", "lookalike_domain"]

    @pytest.mark.parametrize("domain", ["mail.mailbot.localhost", "mailbot.example", "postbox.example"])
    def test_not_of_others(self, alice: Caller, inbox: Inbox, domain: str) -> None:
        receive(from_ann(inbox, From=f"support@{domain}"), inbox)
        assert "lookalike_domain" not in newest(alice, inbox).flags


class TestForgedReferences:
    def test_by_a_stranger(self, alice: Caller, inbox: Inbox) -> None:
        sent = alice.send(inbox, to="ann@bank.example")
        receive(from_ann(inbox, From="mallory@evil.example", In_Reply_To=sent["message_id_header"]), inbox)
        shown = newest(alice, inbox)
        assert (shown.rule, shown.flags) == ("sender_takes_no_part", ["thread_suspect"])
        assert shown.explained["thread"]["suspect_thread"] == sent["thread_id"] != shown.thread

    def test_in_the_name_of_a_participant(self, alice: Caller, inbox: Inbox) -> None:
        sent = alice.send(inbox, to="ann@bank.example")
        receive(from_ann(inbox, In_Reply_To=sent["message_id_header"]), inbox)
        shown = newest(alice, inbox)
        assert (shown.rule, shown.flags) == ("sender_fails_dmarc", ["from_forged", "thread_suspect"])
        assert shown.explained["thread"]["suspect_thread"] == sent["thread_id"] != shown.thread
        assert alice.get(f"/v1/inboxes/{inbox.pk}/threads/{sent['thread_id']}").json()["data"]["message_count"] == 1

    def test_in_the_name_of_one_whose_domain_only_watches(self, alice: Caller, inbox: Inbox) -> None:
        sent = alice.send(inbox, to="info@shop.example")
        receive(from_ann(inbox, From="info@shop.example", In_Reply_To=sent["message_id_header"]), inbox)
        assert newest(alice, inbox).rule == "sender_fails_dmarc"

    def test_in_the_name_of_one_who_was_verified_before(self, alice: Caller, inbox: Inbox) -> None:
        """His domain has no policy; that he was there himself is all there is to go by."""
        honest = {"peer": BANK_SERVER, "envelope": "info@plain.example"}
        receive(from_ann(inbox, From="info@plain.example", Message_ID=ROOT), inbox, **honest)
        first = newest(alice, inbox)
        receive(from_ann(inbox, From="info@plain.example", In_Reply_To=ROOT), inbox)
        shown = newest(alice, inbox)
        assert (shown.rule, shown.flags) == ("sender_no_longer_verified", ["thread_suspect"])
        receive(from_ann(inbox, From="info@plain.example", In_Reply_To=ROOT, body="Me"), inbox, **honest)
        shown = newest(alice, inbox)
        assert (shown.thread, shown.rule, shown.flags) == (first.thread, "reply", [])

    def test_a_sender_whom_nobody_ever_verified_gets_in_and_is_marked(self, alice: Caller, inbox: Inbox) -> None:
        sent = alice.send(inbox, to="bob@club.example")
        receive(from_ann(inbox, From="bob@club.example", In_Reply_To=sent["message_id_header"]), inbox)
        shown = newest(alice, inbox)
        assert (shown.thread, shown.auth, shown.flags) == (
            sent["thread_id"],
            ("pass", "none", "none"),
            ["sender_unverified"],
        )


class TestReplays:
    """Mail that the bank did sign, and somebody else brings."""

    def test_as_it_should_be(self, alice: Caller, inbox: Inbox) -> None:
        receive(signed(from_ann(inbox), "bank.example"), inbox, **FROM_BANK)
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags, shown.score) == (("pass", "pass", "pass"), [], 1.0)

    def test_to_the_same_inbox_again(self, alice: Caller, inbox: Inbox) -> None:
        raw = signed(from_ann(inbox), "bank.example")
        receive(raw, inbox, **FROM_BANK)
        receive(b"Received: from elsewhere\r\n" + raw, inbox)
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags) == (("pass", "pass", "pass"), ["dkim_replayed"])

    def test_to_somebody_else(self, alice: Caller, inbox: Inbox) -> None:
        receive(signed(from_ann(inbox, To="mallory@evil.example"), "bank.example"), inbox)
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags, shown.score) == (("pass", "pass", "pass"), ["dkim_redirected"], 0.9)

    def test_after_a_month(self, alice: Caller, inbox: Inbox) -> None:
        receive(signed(from_ann(inbox), "bank.example", at=a_month_ago()), inbox)
        shown = newest(alice, inbox)
        assert (shown.auth[1:], shown.flags) == (("pass", "pass"), ["dkim_replayed"])

    def test_after_the_signature_has_expired(self, alice: Caller, inbox: Inbox) -> None:
        raw = signed(from_ann(inbox), "bank.example", at=a_month_ago())
        until = int(a_month_ago()) + 3600
        receive(raw.replace(b" q=dns/txt;", b" q=dns/txt; x=%d;" % until), inbox)
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags) == (("pass", "permerror", "fail"), ["from_forged", "dkim_expired"])

    def test_with_another_subject_above_the_signed_one(self, alice: Caller, inbox: Inbox) -> None:
        raw = signed(from_ann(inbox), "bank.example")
        receive(b"Subject: Pay now\r\n" + raw, inbox)
        shown = newest(alice, inbox)
        assert shown.message["subject"] == "Pay now"
        assert (shown.auth, shown.flags) == (("pass", "policy", "fail"), ["from_forged", "dkim_weak"])

    def test_with_another_subject_that_was_not_signed(self, alice: Caller, inbox: Inbox) -> None:
        raw = signed(from_ann(inbox, Subject="Hello"), "bank.example", headers=("from", "date", "to"))
        receive(raw.replace(b"Subject: Hello", b"Subject: Pay now"), inbox)
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags) == (("pass", "pass", "pass"), ["dkim_weak"])
        assert shown.authentication["details"]["dkim"][0]["unsigned"] == ["Subject"]

    def test_with_more_below_the_signed_body(self, alice: Caller, inbox: Inbox) -> None:
        raw = signed(from_ann(inbox), "bank.example", length=True)
        receive(raw + b"Pay to another account.\r\n", inbox)
        assert (newest(alice, inbox).auth, newest(alice, inbox).flags) == (
            ("pass", "policy", "fail"),
            ["from_forged", "dkim_weak"],
        )

    @pytest.mark.parametrize(
        "change",
        [
            lambda raw: raw.replace(b"Hello", b"Pay now"),
            lambda raw: raw.replace(b"ann@bank.example", b"eve@bank.example"),
            lambda raw: raw.replace(b"s=s1;", b"s=s2;"),
        ],
        ids=["body", "author", "selector"],
    )
    def test_with_a_change(self, alice: Caller, inbox: Inbox, change: Callable[[bytes], bytes]) -> None:
        receive(change(signed(from_ann(inbox), "bank.example")), inbox)
        shown = newest(alice, inbox)
        assert shown.auth[1] in ("fail", "permerror")
        assert (shown.auth[2], shown.flags) == ("fail", ["from_forged"])


class TestHonestMail:
    def test_what_a_mailing_list_or_a_forwarder_brings_on_unchanged(self, alice: Caller, inbox: Inbox) -> None:
        receive(signed(from_ann(inbox), "bank.example"), inbox, peer=OTHER_SERVER, envelope="bounce@list.example")
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags, shown.score) == (("none", "pass", "pass"), [], 1.0)

    def test_a_relay_of_our_own_can_show_nothing_but_signatures(self, alice: Caller, inbox: Inbox) -> None:
        receive(from_ann(inbox), inbox, peer="10.0.0.5")
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags) == (("none", "none", "none"), [])
        receive(signed(from_ann(inbox), "bank.example"), inbox, peer="10.0.0.5")
        assert newest(alice, inbox).auth == ("none", "pass", "pass")

    def test_alignment_is_as_strict_as_the_domain_wants_it(self, alice: Caller, inbox: Inbox, world: World) -> None:
        """The bank wants the very same domain for DKIM, and is content with one below it for SPF."""
        world.domain("mail.bank.example", BANK_SERVER, is_signing=True)
        receive(signed(from_ann(inbox), "mail.bank.example"), inbox)
        assert newest(alice, inbox).auth == ("pass", "pass", "fail")
        receive(
            signed(from_ann(inbox), "mail.bank.example"), inbox, peer=BANK_SERVER, envelope="bounce@mail.bank.example"
        )
        assert newest(alice, inbox).auth == ("pass", "pass", "pass")

    def test_a_null_sender_goes_by_helo(self, alice: Caller, inbox: Inbox, world: World) -> None:
        world.domain("mx.bank.example", BANK_SERVER)
        receive(from_ann(inbox), inbox, peer=BANK_SERVER, envelope="", helo="mx.bank.example")
        shown = newest(alice, inbox)
        assert (shown.auth[0], shown.auth[2]) == ("pass", "pass")
        assert shown.authentication["details"]["spf"]["identity"] == "helo"

    def test_mail_of_the_sandbox_is_from_here(self, alice: Caller, inbox: Inbox) -> None:
        other = alice.create_inbox()
        alice.send(other, to=inbox.address)
        run_workers()
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags, shown.score) == (("none", "none", "none"), [], 1.0)
        assert (shown.authentication["method"], shown.authentication["standing"]) == ("internal", "verified")

    def test_what_was_written_here_has_no_verdict(self, alice: Caller, inbox: Inbox) -> None:
        sent = alice.send(inbox)
        assert sent["auth"] == {"spf": None, "dkim": None, "dmarc": None}
        assert sent["trust"] == {"score": None, "flags": []}
