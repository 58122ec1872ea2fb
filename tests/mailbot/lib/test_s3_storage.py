"""An S3-compatible store as the object store: the real protocol, over a socket."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from delivery import tasks
from delivery.models import InboundMail
from delivery.raw_mover import move_batch, try_again_now
from inboxes.models import Inbox
from inboxes.provisioning import purge_inbox
from mailbot.lib import object_store
from mailbot.lib.object_store import StoreUnavailable
from tests.cast import Caller
from tests.mailing import deliver, mail

pytestmark = pytest.mark.one_profile
BUCKET = "mailbot-tests"
KEYS = {"access_key": "key", "secret_key": "secret", "region_name": "us-east-1"}
NOW = timedelta()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, settings: Any) -> Iterator[Any]:
    """The bucket that the server is set to use, as another client sees it."""
    options = {"bucket_name": BUCKET, "location": "mail", "endpoint_url": endpoint, **KEYS}
    settings.STORAGES = {**settings.STORAGES, "default": {**settings.S3, "OPTIONS": options}}
    client = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    s3 = boto3.resource("s3", endpoint_url=endpoint, **client)
    bucket = s3.create_bucket(Bucket=BUCKET)
    yield bucket
    bucket.objects.all().delete()
    bucket.delete()
    s3.meta.client.close()


@pytest.fixture
def inbox(alice: Caller, bucket: Any) -> Inbox:
    return alice.create_inbox()


def raw(caller: Caller, inbox: Inbox) -> Any:
    (message,) = caller.messages(inbox)
    return caller.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw")


def names(bucket: Any) -> list[str]:
    return [found.key for found in bucket.objects.all()]


def is_503(answer: Any) -> bool:
    return (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


def test_it_keeps_raw_mail_and_attachments(alice: Caller, inbox: Inbox, bucket: Any) -> None:
    content = mail(attachments={"a.bin": b"\x00\xff"})
    deliver(content, inbox)
    assert move_batch(older_than=NOW).moved == 1
    file, moved = names(bucket)
    assert file.startswith("mail/attachments/")
    assert moved.startswith("mail/raw/inbound/")
    assert bucket.Object(moved).get()["Body"].read() == content
    assert raw(alice, inbox).content == content
    (attachment,) = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}").json()["data"][
        "attachments"
    ]
    path = f"/v1/inboxes/{inbox.pk}/messages/{alice.messages(inbox)[0]['id']}/attachments/{attachment['id']}"
    assert alice.get(path).content == b"\x00\xff"


@pytest.mark.parametrize("content", [b"", b"x" * (30 * 1024 * 1024)], ids=len)
def test_it_keeps_a_mail_of_any_size(alice: Caller, inbox: Inbox, content: bytes) -> None:
    """From 8 MiB on it goes in several parts."""
    deliver(content, inbox)
    assert move_batch(older_than=NOW).moved == 1
    assert raw(alice, inbox).content == content


@pytest.mark.django_db(transaction=True)
def test_it_has_large_mail_before_its_row(alice: Caller, inbox: Inbox, bucket: Any, settings: Any) -> None:
    settings.RAW_TO_STORE_ABOVE = 100
    content = mail(body="a line\n" * 100)
    deliver(content, inbox)
    assert (InboundMail.objects.get().raw_in_row, move_batch(older_than=NOW).moved) == (False, 0)
    (name,) = names(bucket)
    assert bucket.Object(name).get()["Body"].read() == content
    assert raw(alice, inbox).content == content


def test_it_replaces_what_is_there(bucket: Any) -> None:
    for content in (b"first", b"second"):
        object_store.write("raw/name", content)
    assert names(bucket) == ["mail/raw/name"]
    assert object_store.read("raw/name") == b"second"


def test_it_deletes_what_is_erased(inbox: Inbox, bucket: Any, django_capture_on_commit_callbacks: Any) -> None:
    deliver(mail(attachments={"a.bin": b"12"}), inbox)
    move_batch(older_than=NOW)
    with django_capture_on_commit_callbacks(execute=True):
        purge_inbox(inbox)
    tasks.remove_raw()
    assert names(bucket) == []


def test_it_tells_a_missing_object_from_a_missing_store(bucket: Any, settings: Any) -> None:
    with pytest.raises(FileNotFoundError):
        object_store.read("raw/never/was")
    object_store.delete("raw/never/was")
    down = {**settings.STORAGES["default"]["OPTIONS"], "endpoint_url": "http://127.0.0.1:9"}
    settings.STORAGES = {**settings.STORAGES, "default": {**settings.S3, "OPTIONS": down}}
    for ask in (object_store.read, object_store.exists, object_store.delete):
        with pytest.raises(StoreUnavailable):
            ask("raw/never/was")


def test_it_never_says_that_kept_mail_is_gone(alice: Caller, inbox: Inbox, bucket: Any, settings: Any) -> None:
    deliver(mail(), inbox)
    move_batch(older_than=NOW)
    working = settings.STORAGES
    for fault in ({"endpoint_url": "http://127.0.0.1:9"}, {"bucket_name": "no-such-bucket"}):
        options = {**working["default"]["OPTIONS"], **fault}
        settings.STORAGES = {**working, "default": {**settings.S3, "OPTIONS": options}}
        assert is_503(raw(alice, inbox))
    settings.STORAGES = working
    assert raw(alice, inbox).status_code == 200


def test_it_leaves_mail_in_its_row_while_the_store_cannot_be_used(alice: Caller, inbox: Inbox, settings: Any) -> None:
    content = mail()
    deliver(content, inbox)
    working = settings.STORAGES
    options = {**working["default"]["OPTIONS"], "bucket_name": "no-such-bucket"}
    settings.STORAGES = {**working, "default": {**settings.S3, "OPTIONS": options}}
    assert "NoSuchBucket" in move_batch(older_than=NOW).error
    assert InboundMail.objects.get().raw_in_row
    settings.STORAGES = working
    try_again_now()
    assert move_batch(older_than=NOW).moved == 1
    assert raw(alice, inbox).content == content
