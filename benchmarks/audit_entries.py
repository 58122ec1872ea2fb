"""Many entries of the trail at once, made by the database, as a year or more of the inboxes of an account. For PostgreSQL."""

FILL = """
import django; django.setup()
from django.db import connection
from audit import append_only, months
from inboxes.models import Account, Inbox
from mailbot.lib.scope import OWNER, acting_within

def fill(before, size, years=1):
    '''Entries from number `before` to `size`, the oldest first, each in its month. None of them is told to the sealer.'''
    account = Account.objects.get()
    with acting_within(OWNER), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE places AS SELECT row_number() OVER (ORDER BY id) - 1 AS number, id FROM inboxes_inbox")
        cursor.execute("CREATE INDEX ON places (number)")
        cursor.execute('''
            CREATE TEMP TABLE days AS SELECT day::date, left(mailbot_audit_first_id(day), 16) AS id
            FROM generate_series((now() - %s * interval '1 year')::date, now()::date + 1, interval '1 day') day
        ''', [years])
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER ALL")
        make_months(cursor, 12 * years)
        cursor.execute('''
            INSERT INTO audit_auditentry (public_id, act, object_type, account_id, inbox_id, mode, actor_kind, actor_id, actor_name,
                object_pk, object_repr, action, changes_text, changes, cid, timestamp)
            SELECT d.id || lpad(n::text, 16, '0'), 'message.received', 'message', %s, p.id, '', 'system', 'worker', 'worker',
                'msg_' || n, '', 3, '', '{"to": ["carol@shop.example"], "subject": "Re: Invoice 2041"}', 'req_' || n, t.at
            FROM generate_series(%s, %s - 1) n
            CROSS JOIN LATERAL (SELECT now() - %s * interval '1 year' * (%s - n) / %s AS at) t
            JOIN places p ON p.number = n %% (SELECT count(*) FROM places) JOIN days d ON d.day = (t.at AT TIME ZONE 'UTC')::date
            ORDER BY n
        ''', [account.pk, before, size, years, size, size])
        cursor.execute("ALTER TABLE audit_auditentry ENABLE TRIGGER ALL")
        cursor.execute("VACUUM ANALYZE audit_auditentry")

def make_months(cursor, number):
    '''As if the server had run so long: the one partition for all of before ends before that, and not with this month.'''
    first, made = months.made_months(connection)
    if len(made) >= number:
        return
    cursor.execute(f"ALTER TABLE audit_auditentry DETACH PARTITION audit_auditentry_before_{first.name}")
    cursor.execute(f"ALTER TABLE audit_auditentry_before_{first.name} RENAME TO before")
    begin = first.later(-number - 1)
    name = f"audit_auditentry_before_{begin.name}"
    cursor.execute(f"CREATE TABLE {name} PARTITION OF audit_auditentry FOR VALUES FROM (MINVALUE) TO ('audit_')")
    for later in range(number + 1):
        cursor.execute("SELECT mailbot_audit_add_month(%s)", [begin.later(later).first_day])
    cursor.execute("INSERT INTO audit_auditentry SELECT * FROM before")
    cursor.execute("DROP TABLE before")

def tell_the_sealer():
    with acting_within(OWNER), connection.cursor() as cursor:
        cursor.execute(append_only._ENQUEUE_MISSING)
"""
