"""GET /v1/engagement/events, /stats and /messages/{message_id}"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from delivery.models import OutboundMail
from delivery.outbound.outcomes import Report
from delivery.outbound.tracking import apply_reports
from inboxes.models import Inbox
from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail
from threads.events import EventType

SIMULATOR = "simulator.mailbot.localhost"


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox()


def send(caller: Caller, inbox: Inbox, to: str = "ann@example.com") -> dict[str, Any]:
    message = caller.send(inbox, to=to, subject="Invoice")
    run_workers()
    return message


def tell(message: dict[str, Any], *events: EventType, **data: Any) -> None:
    """What a provider's webhook would have told."""
    outbound = OutboundMail.objects.get(message=message["id"])
    apply_reports(outbound, [Report(event, "ann@example.com", data=data) for event in events])


def get(caller: Caller, what: str, **query: Any) -> Any:
    answer = caller.get(f"/v1/engagement/{what}", **query)
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


class TestEvents:
    def test_it_lists_what_became_of_mail_newest_first(self, alice: Caller, inbox: Inbox) -> None:
        deliver(mail(), inbox)  # what comes in is another matter
        message = send(alice, inbox)
        tell(message, EventType.MESSAGE_OPENED)
        found = get(alice, "events", inbox_id=inbox.pk)
        assert [event["event"] for event in found] == ["opened", "delivered", "sent"]
        assert found[0]["type"] == "message.opened"
        assert found[0]["message_id"] == message["id"]

    @pytest.mark.parametrize("event", ["sent", "delivered", "bounced", "complained", "opened"])
    def test_it_narrows_by_the_short_name(self, alice: Caller, inbox: Inbox, event: str) -> None:
        tell(send(alice, inbox), EventType.MESSAGE_OPENED)
        send(alice, inbox, f"bounce@{SIMULATOR}")
        send(alice, inbox, f"complaint@{SIMULATOR}")
        found = get(alice, "events", event=event)
        assert found
        assert {item["event"] for item in found} == {event}

    def test_it_refuses_a_name_that_is_none(self, alice: Caller) -> None:
        answer = alice.get("/v1/engagement/events", event="open")
        assert answer.status_code == 400
        assert "Did you mean “opened”?" in answer.json()["error"]["message"]

    def test_an_empty_parameter_is_none(self, alice: Caller, inbox: Inbox) -> None:
        send(alice, inbox)
        assert len(get(alice, "events", event="", inbox_id="")) == 2

    def test_it_has_pages(self, alice: Caller, inbox: Inbox) -> None:
        for _ in range(3):
            send(alice, inbox)
        answer = alice.get("/v1/engagement/events", event="sent", limit=2).json()
        assert (len(answer["data"]), answer["meta"]["total"], answer["meta"]["limit"]) == (2, 3, 2)
        assert len(get(alice, "events", event="sent", limit=2, page=2)) == 1
        assert len(get(alice, "events", event="sent", limit=2, cursor=answer["meta"]["next_cursor"])) == 1

    def test_it_shows_nothing_of_a_stranger(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        send(alice, inbox)
        assert get(charlie, "events") == []
        assert charlie.get("/v1/engagement/events", inbox_id=inbox.pk).status_code == 404

    @pytest.mark.parametrize("event", ["opened", "sent"])
    def test_it_finds_what_is_seldom_by_an_index(self, alice: Caller, inbox: Inbox, event: str) -> None:
        with CaptureQueriesContext(connection) as context:
            get(alice, "events", event=event, inbox_id=inbox.pk)
        (asked,) = [query["sql"] for query in context if 'FROM "threads_event"' in query["sql"]]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{asked}")
            plan = str(cursor.fetchall())
        assert ("event_seldom_by" in plan) is (event == "opened"), plan


class TestStats:
    def test_it_counts_and_shares(self, today: date, alice: Caller, inbox: Inbox) -> None:
        first, second = send(alice, inbox), send(alice, inbox)
        send(alice, inbox, f"bounce@{SIMULATOR}")
        send(alice, inbox, f"complaint@{SIMULATOR}")
        tell(first, EventType.MESSAGE_OPENED, EventType.MESSAGE_OPENED, EventType.MESSAGE_CLICKED)
        tell(first, EventType.MESSAGE_OPENED)
        tell(second, EventType.MESSAGE_OPENED, probably_machine=True)
        found = get(alice, "stats", inbox_id=inbox.pk, period="7d")
        counts = found["counts"]
        assert {name: number for name, number in counts.items() if number} == {
            "sent": 4,
            "delivered": 3,
            "bounced": 1,
            "complained": 1,
            "opened": 3,
            "opened_by_machine": 1,
            "messages_opened": 1,
            "clicked": 1,
            "messages_clicked": 1,
        }
        assert found["rates"] == {
            "delivery_rate": 0.75,
            "bounce_rate": 0.25,
            "complaint_rate": 0.3333,
            "unsubscribe_rate": 0.0,
            "open_rate": 0.3333,
            "click_rate": 0.3333,
        }
        assert (found["period"], found["from"], found["to"]) == ("7d", str(today - timedelta(days=6)), str(today))
        assert found["days"] == [{"day": str(today), **counts}]

    def test_where_nobody_tells_of_deliveries_what_did_not_bounce_arrived(self, alice: Caller) -> None:
        live = alice.with_key(mode="live")
        inbox = live.create_inbox()
        first, second, _ = (send(live, inbox) for _ in range(3))
        tell(first, EventType.MESSAGE_OPENED)
        tell(second, EventType.MESSAGE_BOUNCED)
        found = get(live, "stats", inbox_id=inbox.pk)
        assert (found["counts"]["sent"], found["counts"]["delivered"]) == (3, 0)
        assert (found["rates"]["open_rate"], found["rates"]["complaint_rate"]) == (0.5, 0.0)
        assert found["rates"]["delivery_rate"] == 0.0

    def test_nothing_is_no_share(self, alice: Caller) -> None:
        found = get(alice, "stats")
        assert set(found["counts"].values()) == {0}
        assert set(found["rates"].values()) == {None}
        assert (found["inbox_id"], found["days"], found["period"]) == (None, [], "7d")

    @pytest.mark.parametrize(("period", "days"), [("24h", 1), ("25h", 2), ("1d", 1), ("2w", 14), ("366d", 366)])
    def test_it_takes_periods(self, alice: Caller, period: str, days: int) -> None:
        found = get(alice, "stats", period=period)
        assert datetime.fromisoformat(found["to"]) - datetime.fromisoformat(found["from"]) == timedelta(days=days - 1)

    @pytest.mark.parametrize("period", ["0d", "7", "d", "-1d", "367d", "9999w", "7 d", "٧d"])
    def test_it_refuses_others(self, alice: Caller, period: str) -> None:
        answer = alice.get("/v1/engagement/stats", period=period)
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["period"])

    def test_it_is_by_day(self, alice: Caller, inbox: Inbox) -> None:
        with time_machine.travel(datetime(2026, 3, 9, 12, tzinfo=UTC), tick=False) as clock:
            send(alice, inbox)
            clock.shift(timedelta(days=1))
            send(alice, inbox)
            send(alice, inbox)
            found = get(alice, "stats", period="2d")
            assert [(day["day"], day["sent"]) for day in found["days"]] == [("2026-03-09", 1), ("2026-03-10", 2)]
            assert get(alice, "stats", period="1d")["counts"]["sent"] == 2

    def test_it_is_of_the_inboxes_that_the_key_sees(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        other = alice.create_inbox()
        send(alice, inbox)
        send(alice, other)
        assert get(alice, "stats")["counts"]["sent"] == 2
        assert get(alice.with_key(inbox=other), "stats")["counts"]["sent"] == 1
        assert get(alice.with_key(mode="live"), "stats")["counts"]["sent"] == 0
        assert get(charlie, "stats")["counts"]["sent"] == 0
        assert charlie.get("/v1/engagement/stats", inbox_id=inbox.pk).status_code == 404

    def test_it_outlives_a_purge(self, alice: Caller, inbox: Inbox) -> None:
        send(alice, inbox)
        alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
        assert get(alice, "stats", inbox_id=inbox.pk)["counts"]["sent"] == 1

    def test_it_reads_no_event(self, alice: Caller, inbox: Inbox) -> None:
        send(alice, inbox)
        with CaptureQueriesContext(connection) as context:
            get(alice, "stats", inbox_id=inbox.pk)
        assert not [query["sql"] for query in context if 'FROM "threads_event"' in query["sql"]]


class TestMessage:
    def test_it_is_the_timeline(self, alice: Caller, inbox: Inbox) -> None:
        message = send(alice, inbox)
        tell(message, EventType.MESSAGE_OPENED, probably_machine=True)
        tell(message, EventType.MESSAGE_OPENED)
        tell(message, EventType.MESSAGE_CLICKED, url="https://a.example/")
        found = get(alice, f"messages/{message['id']}")
        assert [event["event"] for event in found["events"]] == [
            *("queued", "sent", "delivered", "opened", "opened", "clicked"),
        ]
        assert (found["message_id"], found["subject"], found["status"]) == (message["id"], "Invoice", "delivered")
        assert [recipient["status"] for recipient in found["recipients"]] == ["delivered"]
        assert (found["opens"], found["clicks"]) == (1, 1)
        assert found["first_opened_at"] == found["events"][4]["occurred_at"]

    def test_it_asks_as_many_however_much_happened(self, alice: Caller, inbox: Inbox) -> None:
        message, counted = send(alice, inbox), []
        alice.get(f"/v1/engagement/messages/{message['id']}")
        for _ in range(2):
            with CaptureQueriesContext(connection) as context:
                get(alice, f"messages/{message['id']}")
                get(alice, "events")
            counted.append(len(context))
            tell(message, *[EventType.MESSAGE_OPENED] * 20)
        assert counted[0] == counted[1]

    def test_it_is_404_for_a_stranger(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        message = send(alice, inbox)
        assert charlie.get(f"/v1/engagement/messages/{message['id']}").status_code == 404
        other = alice.with_key(inbox=alice.create_inbox())
        assert other.get(f"/v1/engagement/messages/{message['id']}").status_code == 404


class TestRight:
    @pytest.mark.parametrize("what", ["events", "stats", "messages/msg_01m86mzz3xeg3s5qpn0yjgh6ce"])
    def test_it_is_403_without_the_right(self, alice: Caller, what: str) -> None:
        assert alice.with_key(permissions=["events:read"]).get(f"/v1/engagement/{what}").status_code == 403
