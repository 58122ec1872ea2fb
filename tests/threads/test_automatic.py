"""Mail that no human wrote, or that goes round in circles: what it is known by, as flags and in …/explain."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from delivery.inbound.process import process_inbound
from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail, store
from threads.automatic import signs_of
from threads.models import Message


def flags_and_signs(caller: Caller, inbox: Any) -> tuple[list[str], list[str]]:
    """Of the newest message that came in."""
    message = caller.messages(inbox, direction="inbound")[0]
    told = caller.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/explain").json()["data"]
    assert all(sign["reason"] for sign in told["automatic"])
    flags = [flag for flag in message["trust"]["flags"] if flag in ("automatic", "loop")]
    return flags, [sign["sign"] for sign in told["automatic"]]


AUTOMATIC = [
    ({"Auto_Submitted": "auto-replied"}, "auto_submitted"),
    ({"Auto_Submitted": "auto-generated; x=y"}, "auto_submitted"),
    ({"Auto_Submitted": "Auto-Notified (by a robot)"}, "auto_submitted"),
    ({"Auto_Submitted": "whatever-comes-next"}, "auto_submitted"),
    ({"Precedence": "Bulk"}, "precedence"),
    ({"Precedence": "list"}, "precedence"),
    ({"Precedence": "junk"}, "precedence"),
    ({"X_Precedence": "auto_reply"}, "precedence"),
    ({"List_Id": "<people.example.com>"}, "list"),
    ({"List_Unsubscribe": "<https://example.com/u>"}, "list"),
    ({"X_Auto_Response_Suppress": "DR, OOF, AutoReply"}, "response_suppressed"),
    ({"X_Auto_Response_Suppress": "All"}, "response_suppressed"),
    ({"X_Autoreply": "yes"}, "responder"),
    ({"X_Autorespond": "Away"}, "responder"),
    ({"X_FC_MachineGenerated": "true"}, "responder"),
    ({"X_POST_MessageClass": "9; Autoresponder"}, "responder"),
    ({"Delivered_To": "Autoresponder"}, "responder"),
    ({"Return_Path": "<>"}, "null_sender"),
    ({"From": "Mail Delivery System <MAILER-DAEMON@example.com>"}, "daemon"),
]
BY_PEOPLE: list[dict[str, str]] = [
    {},
    {"Auto_Submitted": "no"},
    {"Auto_Submitted": "No (a human)"},
    {"Precedence": "first-class"},
    {"X_Auto_Response_Suppress": "DR, RN, NRN"},
    {"X_Autoreply": "no"},
    {"Return_Path": "<ann@example.com>"},
    {"Delivered_To": "billing@mailbot.localhost"},
    {"X_Loop": "somebody@example.com"},
]


class TestAutomatic:
    @pytest.mark.parametrize(("headers", "sign"), AUTOMATIC, ids=str)
    def test_it_is_known_by_a_header(self, alice: Caller, headers: dict[str, str], sign: str) -> None:
        inbox = alice.create_inbox(username="billing")
        deliver(mail(**headers), inbox)
        assert flags_and_signs(alice, inbox) == (["automatic"], [sign])

    @pytest.mark.parametrize("headers", BY_PEOPLE, ids=str)
    def test_people_are_not_taken_for_machines(self, alice: Caller, headers: dict[str, str]) -> None:
        inbox = alice.create_inbox(username="billing")
        deliver(mail(**headers), inbox)
        assert flags_and_signs(alice, inbox) == ([], [])

    @pytest.mark.parametrize(
        ("sender", "sign"),
        [("", "null_sender"), ("owner-people@example.com", "daemon"), ("people-request@example.com", "daemon")],
    )
    def test_it_is_known_by_its_envelope(self, alice: Caller, sender: str, sign: str) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox, envelope_sender=sender)
        assert flags_and_signs(alice, inbox) == (["automatic"], [sign])

    def test_an_envelope_that_nobody_told_of_is_not_a_null_sender(self) -> None:
        """ESPs do not always hand it on."""
        assert signs_of([], sender=None, own_address="a@example.com") == []
        assert [sign.name for sign in signs_of([], sender="", own_address="a@example.com")] == ["null_sender"]

    def test_each_kind_of_sign_is_told_once(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(List_Id="<a.b>", List_Help="<mailto:c@d>", Precedence="bulk", Auto_Submitted="yes"), inbox)
        assert sorted(flags_and_signs(alice, inbox)[1]) == ["auto_submitted", "list", "precedence"]

    def test_its_values_are_shown_in_part(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(X_Autorespond="away " * 200), inbox)
        message = alice.messages(inbox)[0]
        told = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/explain").json()["data"]
        assert len(told["automatic"][0]["value"]) == 200


class TestLoop:
    def test_it_is_known_by_the_number_of_its_hops(self, alice: Caller, settings: Any) -> None:
        settings.LOOP_HOPS = 30
        inbox = alice.create_inbox()
        hop = b"Received: from a.example by b.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n"
        deliver(hop * 29 + mail(Subject="Far"), inbox)
        assert flags_and_signs(alice, inbox) == ([], [])
        deliver(hop * 30 + mail(Subject="Too far"), inbox)
        assert flags_and_signs(alice, inbox) == (["loop"], ["hops"])

    @pytest.mark.parametrize(
        ("header", "times", "sign"), [("X-Loop", 1, "x_loop"), ("Delivered-To", 2, "delivered_before")]
    )
    def test_it_is_known_by_our_own_address(self, alice: Caller, header: str, times: int, sign: str) -> None:
        inbox = alice.create_inbox(username="billing")
        deliver(f"{header}: Billing@mailbot.localhost\r\n".encode() * times + mail(), inbox)
        assert flags_and_signs(alice, inbox) == (["loop"], [sign])

    def test_it_is_known_by_our_own_message_id(self, alice: Caller) -> None:
        """What this inbox sent comes back to it, by a forward or a list."""
        inbox = alice.create_inbox()
        sent = alice.send(inbox, subject="News")
        run_workers()
        deliver(mail(Subject="News", Message_ID=sent["message_id_header"]), inbox)
        assert flags_and_signs(alice, inbox) == (["loop"], ["came_back"])

    def test_what_another_inbox_sent_has_not_come_back(self, alice: Caller) -> None:
        one, two = alice.create_inbox(), alice.create_inbox()
        alice.send(one, to=two.address)
        run_workers()
        assert flags_and_signs(alice, two) == ([], [])

    def test_it_is_known_by_many_own_mails_of_the_last_hour(self, alice: Caller, settings: Any) -> None:
        settings.LOOP_OWN_MAILS = 3
        inbox = alice.create_inbox()
        sent = [alice.send(inbox)["message_id_header"] for _ in range(3)]
        others = [f"<{number}@example.com>" for number in range(3)]
        deliver(mail(References=" ".join([*others, *sent[:2]])), inbox)
        assert flags_and_signs(alice, inbox) == ([], [])
        deliver(mail(References=" ".join([*others, *sent])), inbox)
        assert flags_and_signs(alice, inbox) == (["loop"], ["quick_exchange"])

    def test_a_long_conversation_is_no_loop(self, alice: Caller, settings: Any) -> None:
        settings.LOOP_OWN_MAILS = 3
        inbox = alice.create_inbox()
        sent = [alice.send(inbox)["message_id_header"] for _ in range(3)]
        old = Message.objects.get(message_id_header=sent[0])
        Message.objects.filter(pk=old.pk).update(created_at=old.created_at - timedelta(days=365))
        deliver(mail(References=" ".join(sent)), inbox)
        assert flags_and_signs(alice, inbox) == ([], [])


class TestCost:
    def test_a_batch_takes_no_query_more_for_it(self, alice: Caller) -> None:
        """Signs are in what was read; own ids are looked up with the ancestors."""

        inbox = alice.create_inbox()
        deliver(mail(), inbox)  # the first mail of all makes rows of its own
        counted: list[int] = []
        for headers in ({}, {"Auto_Submitted": "auto-replied"}):
            for number in range(5):
                name = f"<m_{number}{len(counted)}@mailbot.localhost>"
                store(mail(Message_ID=name, In_Reply_To="<a@b>", **headers), inbox)
            with CaptureQueriesContext(connection) as context:
                process_inbound()
            counted.append(len(context))
        assert counted[0] == counted[1]
