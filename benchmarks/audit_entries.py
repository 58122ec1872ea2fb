"""Many entries of the trail at once, made by the database, as a year of the inboxes of an account. For PostgreSQL."""

FILL = """
import django; django.setup()
from django.db import connection
from audit import append_only
from inboxes.models import Account, Inbox
from mailbot.lib.scope import OWNER, acting_within

def fill(before, size):
    '''Entries from number `before` to `size`, the oldest first. None of them is told to the sealer.'''
    account = Account.objects.get()
    with acting_within(OWNER), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE places AS SELECT row_number() OVER (ORDER BY id) - 1 AS number, id FROM inboxes_inbox")
        cursor.execute("CREATE INDEX ON places (number)")
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER ALL")
        cursor.execute('''
            INSERT INTO audit_auditentry (public_id, act, object_type, account_id, inbox_id, mode, actor_kind, actor_id, actor_name,
                object_pk, object_repr, action, changes_text, changes, cid, timestamp)
            SELECT 'audit_' || lpad(n::text, 26, '0'), 'message.received', 'message', %s, p.id, '', 'system', 'worker', 'worker',
                'msg_' || n, '', 3, '', '{"to": ["carol@shop.example"], "subject": "Re: Invoice 2041"}', 'req_' || n,
                now() - interval '1 year' * (%s - n) / %s
            FROM generate_series(%s, %s - 1) n JOIN places p ON p.number = n %% (SELECT count(*) FROM places)
            ORDER BY n
        ''', [account.pk, size, size, before, size])
        cursor.execute("ALTER TABLE audit_auditentry ENABLE TRIGGER ALL")
        cursor.execute("VACUUM ANALYZE audit_auditentry")

def tell_the_sealer():
    with acting_within(OWNER), connection.cursor() as cursor:
        cursor.execute(append_only._ENQUEUE_MISSING)
"""
