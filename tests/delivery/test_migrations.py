"""What a migration does with the mail that is there."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from delivery.models import InboundMail, RawObject
from delivery.raw_mover import move_batch
from mailbot.lib.scope import OWNER, acting_within
from tests.cast import Caller
from tests.emptying import empty_tables
from tests.mailing import deliver, mail

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
RAW = b"Subject: kept\r\n\r\n\x00\xff\r\n"


def migrate(name: str) -> None:
    call_command("migrate", "delivery", name, verbosity=0)


@pytest.fixture
def newest_again() -> Iterator[None]:
    yield
    RawObject.objects.all().delete()
    call_command("migrate", verbosity=0)


class TestRawObjects:
    @pytest.mark.usefixtures("newest_again")
    def test_it_keeps_the_mail_that_is_there_and_is_not_undone_once_mail_was_moved(
        self, alice: Caller, settings
    ) -> None:
        """One after the other, because each way takes ten seconds of a core."""
        settings.RAW_MOVE_AFTER = 0
        deliver(mail(), alice.create_inbox())
        assert move_batch().moved == 1
        with pytest.raises(RuntimeError, match="cannot be undone"):
            migrate("0002")
        empty_tables()
        migrate("0002")
        old = MigrationExecutor(connection).loader.project_state(("delivery", "0002_queue_index")).apps
        columns = {"dedupe_key": "1", "recipients": [], "size": len(RAW), "sha256": "0" * 64, "raw": RAW}
        old.get_model("delivery", "InboundMail").objects.create(id="inmail_1", **columns)
        migrate("0003")
        row = InboundMail.objects.only("raw", "raw_in_row").get()  # later columns are not there yet
        assert (bytes(row.raw), row.raw_in_row) == (RAW, True)

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL keeps long values elsewhere")
    def test_it_leaves_the_long_column_behind_the_others(self) -> None:
        for model in ("delivery_inboundmail", "delivery_outboundmail"):
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT name FROM pragma_table_info('{model}') ORDER BY cid DESC")
                assert cursor.fetchone()[0] == "raw"


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no such keys")
def test_an_index_that_was_left_half_made_is_made_again() -> None:
    """CREATE INDEX CONCURRENTLY that is stopped leaves one that has the name and is good for nothing."""
    migration = import_module("delivery.migrations.0005_account_keys")
    with acting_within(OWNER), connection.cursor() as cursor:
        for table in ("recipient", "sendattempt"):
            cursor.execute(f"ALTER TABLE delivery_{table} DROP CONSTRAINT delivery_{table}_mail_id_with_account_id")
        index = "'delivery_outboundmail_id_account_id'::regclass"
        cursor.execute(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = {index}")
        with connection.schema_editor(atomic=False) as editor:
            migration.carry_the_tenant(None, editor)
        cursor.execute(f"SELECT indisvalid FROM pg_index WHERE indexrelid = {index}")
        assert cursor.fetchone() == (True,)
