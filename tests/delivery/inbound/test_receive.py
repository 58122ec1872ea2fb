from typing import Any, cast

import pytest
from django.db import OperationalError, connection, transaction

from delivery.inbound.receive import (
    InboundRecipient,
    Outcome,
    ReceivedMail,
    StorageError,
    StorageFull,
    store_inbound_mail,
)
from delivery.models import InboundMail


def mail_to(*inboxes, key="1", raw=b"Hello\r\n", **fields: Any) -> ReceivedMail:
    recipients = tuple(InboundRecipient(inbox.address, "", inbox.pk) for inbox in inboxes)
    return ReceivedMail(
        source="smtp", dedupe_key=key, envelope_sender="a@example.com", recipients=recipients, raw=raw, **fields
    )


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr("mailbot.lib.hints.send", lambda task: None)


class TestStoreInboundMail:
    def test_it_stores_a_batch_in_two_queries(self, inbox, django_assert_num_queries):
        mails = [mail_to(inbox, key=str(number)) for number in range(20)]
        with django_assert_num_queries(4):  # with BEGIN and COMMIT
            assert store_inbound_mail(mails) == [Outcome.STORED] * 20
        assert InboundMail.objects.count() == 20

    def test_it_stores_ordinary_mail_in_one_statement(self, inbox, django_assert_num_queries):
        """On SQLite only who has begun a transaction waits for a turn."""
        mails = [mail_to(inbox, key="") for _ in range(20)]
        with django_assert_num_queries(2 if connection.vendor == "postgresql" else 4):
            assert store_inbound_mail(mails) == [Outcome.STORED] * 20
        assert InboundMail.objects.count() == 20

    def test_what_is_refused_leaves_the_transaction_of_its_caller_as_it_was(self, inbox):
        with transaction.atomic():
            assert store_inbound_mail([mail_to(inbox, key="", tls=cast(bool, None))]) == [Outcome.UNSTORABLE]
            assert store_inbound_mail([mail_to(inbox, key="", raw=b"next")]) == [Outcome.STORED]
        assert bytes(InboundMail.objects.get().raw) == b"next"

    def test_it_counts_a_delivery_that_it_has_as_stored(self, inbox):
        assert store_inbound_mail([mail_to(inbox, raw=b"first\r\n")]) == [Outcome.STORED]
        assert store_inbound_mail([mail_to(inbox, raw=b"again\r\n")] * 2) == [Outcome.STORED] * 2
        assert bytes(InboundMail.objects.get().raw) == b"first\r\n"

    def test_it_tells_a_key_from_another_however_long_they_are(self, inbox):
        store_inbound_mail([mail_to(inbox, key="k" * 200), mail_to(inbox, key="k" * 199 + "l")])
        assert InboundMail.objects.count() == 2

    def test_it_says_which_mail_has_nobody_left(self, inbox, make_inbox):
        gone = make_inbox("gone", status="deleted")
        mails = [mail_to(gone, key="1"), mail_to(gone, inbox, key="2")]
        assert store_inbound_mail(mails) == [Outcome.NO_LONGER_HERE, Outcome.STORED]
        assert [item["inbox_id"] for item in InboundMail.objects.get().recipients] == [inbox.pk]

    def test_it_goes_by_the_inbox_that_has_the_address_now(self, inbox, make_inbox):
        gone = make_inbox("again", status="deleted")
        living = make_inbox("again")
        assert store_inbound_mail([mail_to(gone, inbox)]) == [Outcome.STORED]
        assert [item["inbox_id"] for item in InboundMail.objects.get().recipients] == [living.pk, inbox.pk]

    def test_it_stores_a_delivery_without_a_key_each_time(self, inbox):
        assert store_inbound_mail([mail_to(inbox, key=""), mail_to(inbox, key="")]) == [Outcome.STORED] * 2
        assert InboundMail.objects.count() == 2

    @pytest.mark.parametrize(("keys", "tls"), [(["1", "2", "3"], "neither"), (["", "", ""], None)])
    def test_it_stores_the_others_when_the_database_refuses_one(self, inbox, keys, tls):
        one, two, three = keys
        poison = mail_to(inbox, key=two, tls=cast(bool, tls))
        mails = [mail_to(inbox, key=one, raw=b"first"), poison, mail_to(inbox, key=three, raw=b"third")]
        assert store_inbound_mail(mails) == [Outcome.STORED, Outcome.UNSTORABLE, Outcome.STORED]
        assert {bytes(raw) for raw in InboundMail.objects.values_list("raw", flat=True)} == {b"first", b"third"}

    def test_it_replaces_what_a_text_column_cannot_hold(self, inbox):
        mail = mail_to(inbox, key="k\x00", helo="\ud800h" + "x" * 300, remote_addr="\x00" + "1" * 60, raw=b"\x00\xff")
        assert store_inbound_mail([mail]) == [Outcome.STORED]
        row = InboundMail.objects.get()
        assert (row.dedupe_key, row.helo[:2], row.remote_addr[:2]) == ("k\ufffd", "\ufffdh", "\ufffd1")
        assert bytes(row.raw) == b"\x00\xff"


class Cause(Exception):
    sqlstate: str | None = None
    sqlite_errorname: str | None = None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({"sqlstate": "53100"}, StorageFull), ({"sqlite_errorname": "SQLITE_FULL"}, StorageFull), ({}, StorageError)],
)
def test_it_tells_a_full_disk_from_other_trouble(inbox, monkeypatch, fields, expected):
    def bulk_create(*_args, **_options):
        cause = Cause()
        vars(cause).update(fields)
        raise OperationalError("trouble") from cause

    monkeypatch.setattr(InboundMail.objects, "bulk_create", bulk_create)
    with pytest.raises(StorageError) as caught:
        store_inbound_mail([mail_to(inbox), mail_to(inbox)])
    assert caught.type is expected
