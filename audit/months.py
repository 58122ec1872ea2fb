"""The months in which PostgreSQL keeps the trail: a partition for each, by the time in `public_id` and in UTC.

    audit_auditentry_before_y2026m12    all that there was when the table was divided (migration 0009)
    audit_auditentry_y2026m12, …        one for each month since, and AHEAD of them for what is to come
    audit_auditentry_rest               what has no month: while nobody made one, or a clock was far ahead

They are cut by `public_id` and not by `timestamp`, because what is unique has to hold what a table is cut by, and two entries of one id
must not be. The key `id` is unique within a month, and everywhere because each entry is in the sealer's queue or in the tree, where
keys are unique: the trigger that puts it there looks (audit.append_only). Ids sort by their octets, whatever the database's
collation is (migration 0009). Nobody has a right to a partition: the roles of the server reach them through the whole table only.

None is ever dropped: what concerns an account as a whole, and what the trail says of itself, stays for good, so that none becomes empty.

What makes a month is a function of the owner's, so that a worker whose login owns nothing (docs/isolation.md) can; it takes a date. It
waits for locks for a second, since who waits for a lock lets nobody pass, and is tried again by the next beat.
"""

import logging
import re
from datetime import UTC, date, datetime
from typing import NamedTuple

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from mailbot.lib.postgresql_walls.roles import SYSTEM, TENANT

log = logging.getLogger(__name__)

AHEAD = 3
REST = "audit_auditentry_rest"
_NAME = re.compile(r"audit_auditentry_(?P<before>before_)?y(?P<year>\d{4})m(?P<month>\d\d)")


class Month(NamedTuple):
    year: int
    month: int

    @classmethod
    def now(cls) -> "Month":
        today = datetime.now(UTC)
        return cls(today.year, today.month)

    def later(self, months: int) -> "Month":
        years, rest = divmod(self.month - 1 + months, 12)
        return Month(self.year + years, rest + 1)

    @property
    def name(self) -> str:
        return f"y{self.year}m{self.month:02}"

    @property
    def first_day(self) -> date:
        return date(self.year, self.month, 1)


def make_months(connection: BaseDatabaseWrapper | None = None) -> None:
    """Those to come that are not there yet. What cannot be made now is made the next time."""
    connection = connection or connections["default"]
    for month in missing_months(connection) if are_kept(connection) else ():
        try:
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                cursor.execute("SELECT mailbot_audit_add_month(%s)", [month.first_day])
        except DatabaseError as error:
            log.warning("The month %s of the audit log is made later: %s", month.name, error)
            return
        log.info("The audit log has a month %s.", month.name)


def are_kept(connection: BaseDatabaseWrapper) -> bool:
    """Whether this database keeps the trail by months."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [REST])
        return bool(cursor.fetchone()[0])


def missing_months(connection: BaseDatabaseWrapper) -> list[Month]:
    """From this one on."""
    first, made = made_months(connection)
    now = Month.now()
    return [month for n in range(AHEAD + 1) if (month := now.later(n)) >= first and month not in made]


def made_months(connection: BaseDatabaseWrapper) -> tuple[Month, set[Month]]:
    """The first that can have a partition of its own, and those that have one."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTITIONS)
        found = [match for (name,) in cursor.fetchall() if (match := _NAME.fullmatch(name))]
    months = {match[0]: Month(int(match["year"]), int(match["month"])) for match in found}
    ends = [months.pop(match[0]) for match in found if match["before"]]
    return max(ends, default=Month.now()), set(months.values())


def functions(schema: str) -> str:
    """The statements that make them."""
    return _FUNCTIONS.format(schema=schema, tenant=TENANT, system=SYSTEM, rest=REST)


_PARTITIONS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'audit_auditentry'::regclass
"""
# `first_id` is that of mailbot.lib.ids: ten digits of five bits for the milliseconds. What was written without a month goes into it when it
# is made, and the whole table is locked for that, before the rest is: who has planned without the new month, and then waits, would read the
# rest without what was in it, or be refused to write there.
_FUNCTIONS = """
CREATE OR REPLACE FUNCTION {schema}.mailbot_audit_first_id(moment timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'audit_' || string_agg(
        substr('0123456789abcdefghjkmnpqrstvwxyz', ((floor(extract(epoch FROM moment) * 1000)::bigint >> (5 * place)) & 31)::int + 1, 1),
        '' ORDER BY place DESC
    ) || repeat('0', 16) FROM generate_series(0, 9) AS place
$$;
CREATE OR REPLACE FUNCTION {schema}.mailbot_audit_guard(part regclass) RETURNS void
LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $$
DECLARE made text;
BEGIN
    EXECUTE format('REVOKE ALL ON %s FROM {tenant}, {system}', part);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', part);
    FOR made IN
        SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'audit_auditentry'::regclass AND tgname LIKE 'mailbot\\_%'
    LOOP
        EXECUTE replace(made, ' ON {schema}.audit_auditentry ', format(' ON %s ', part));
    END LOOP;
END $$;
CREATE OR REPLACE FUNCTION {schema}.mailbot_audit_add_month(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    part text := to_char(month, '"audit_auditentry_y"YYYY"m"MM');
    first text := mailbot_audit_first_id(date_trunc('month', month::timestamp) AT TIME ZONE 'UTC');
    next text := mailbot_audit_first_id((date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC');
BEGIN
    IF month IS NULL OR month < '2000-01-01' OR month > now() + interval '10 years' THEN
        RAISE EXCEPTION 'no month of the audit log: %', month;
    END IF;
    LOCK TABLE ONLY audit_auditentry IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'audit_auditentry'::regclass AND inhrelid = to_regclass(part)) THEN
        RETURN false;
    END IF;
    LOCK TABLE {rest} IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE audit_auditentry INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', part);
    PERFORM set_config('mailbot.audit_mode', 'removal', true);
    EXECUTE format(
        'WITH moved AS (DELETE FROM {rest} WHERE public_id >= %L AND public_id < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
        first, next, part
    );
    PERFORM set_config('mailbot.audit_mode', '', true);
    PERFORM mailbot_audit_guard(part::regclass);
    EXECUTE format('ALTER TABLE audit_auditentry ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, first, next);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION {schema}.mailbot_audit_guard(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.mailbot_audit_add_month(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.mailbot_audit_add_month(date) TO {system}
"""
