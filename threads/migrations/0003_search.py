import django.db.models.deletion
from django.db import migrations, models

# A scope before each word makes the entries of an inbox its own: docs/decisions/0009-search.md.
POSTGRESQL = """
-- Dear, so that no plan computes it for row after row instead of asking the index.
CREATE FUNCTION {schema}.threads_search_vector(scope text, words text) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 10000 AS $$
BEGIN
    RETURN array_to_tsvector(string_to_array(scope || replace(words, ' ', ' ' || scope), ' '));
END $$;

-- Texts out of the row: what is looked through by the thousand is narrow then.
ALTER TABLE threads_searchdocument SET (toast_tuple_target = 512);

-- No list of pending entries: every search would read what all other tenants have just got.
CREATE INDEX search_words ON threads_searchdocument USING gin (
    {schema}.threads_search_vector(scope, subject || sender || recipients || files || body)
) WITH (fastupdate = off);

-- A function of the table's owner: with row-level security, PostgreSQL would ask the policy of each row before this index.
-- It gives numbers only; what they stand for is read under the caller's own rights. No JIT: what the words are said to cost makes the
-- planner compile for 20 ms what takes less than one.
CREATE FUNCTION {schema}.threads_search_found(queries tsquery[]) RETURNS SETOF bigint
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, {schema} SET jit = off AS $$
    SELECT id FROM {schema}.threads_searchdocument
    WHERE {schema}.threads_search_vector(scope, subject || sender || recipients || files || body) @@ ANY (queries)
$$;

-- What is there already is filled in by the worker and `manage.py index_messages`; mail from now on comes first.
INSERT INTO threads_searchprogress (inbox_id, account_id, oldest, newest)
    SELECT id, account_id, message_count + 1, message_count FROM inboxes_inbox WHERE message_count > 0;
"""
SQLITE = [
    # Words come as they are to be: the tokenizer only has to part them at the spaces.
    "CREATE VIRTUAL TABLE threads_searchindex USING fts5(words, content='', detail=none, columnsize=0, tokenize='ascii')",
    """
    CREATE TRIGGER threads_searchindex_insert AFTER INSERT ON threads_searchdocument BEGIN
        INSERT INTO threads_searchindex (rowid, words) VALUES (
            new.id,
            new.scope || replace(new.subject || new.sender || new.recipients || new.files || new.body, ' ', ' ' || new.scope)
        );
    END
    """,
    # Without a copy of the words, the index has to be told which ones are to go.
    """
    CREATE TRIGGER threads_searchindex_delete AFTER DELETE ON threads_searchdocument BEGIN
        INSERT INTO threads_searchindex (threads_searchindex, rowid, words) VALUES (
            'delete', old.id,
            old.scope || replace(old.subject || old.sender || old.recipients || old.files || old.body, ' ', ' ' || old.scope)
        );
    END
    """,
    """
    INSERT INTO threads_searchprogress (inbox_id, account_id, oldest, newest)
        SELECT id, account_id, message_count + 1, message_count FROM inboxes_inbox WHERE message_count > 0
    """,
]


def make_index(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor != "postgresql":
            for statement in SQLITE:
                cursor.execute(statement)
            return
        cursor.execute("SELECT quote_ident(current_schema())")
        cursor.execute(POSTGRESQL.format(schema=cursor.fetchone()[0]))
        for column in ("recipients", "files", "body"):
            compress_quickly(schema_editor, cursor, column)
        drop_like_indexes(cursor)


def compress_quickly(schema_editor, cursor, column):
    """As 0002 does; a server that was built without lz4 keeps the default."""
    cursor.execute("SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
    found = cursor.fetchone()
    if found and found[0]:
        cursor.execute(f"ALTER TABLE threads_searchdocument ALTER COLUMN {column} SET COMPRESSION lz4")


def drop_like_indexes(cursor):
    """As 0002 does: nothing asks for LIKE on a key."""
    cursor.execute(
        "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()"
        " AND tablename IN ('threads_searchdocument', 'threads_searchprogress') AND indexname ~ '_like$'"
    )
    for (name,) in cursor.fetchall():
        cursor.execute(f'DROP INDEX "{name}"')


def drop_index(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor != "postgresql":
            cursor.execute("DROP TABLE threads_searchindex")
            cursor.execute("DROP TRIGGER threads_searchindex_insert")
            cursor.execute("DROP TRIGGER threads_searchindex_delete")
            return
        cursor.execute("DROP FUNCTION threads_search_found(tsquery[])")
        cursor.execute("DROP INDEX search_words")
        cursor.execute("DROP FUNCTION threads_search_vector(text, text)")


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0002_fewer_indexes"),
        ("threads", "0002_fewer_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="SearchProgress",
            fields=[
                (
                    "inbox",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="search_progress",
                        serialize=False,
                        to="inboxes.inbox",
                    ),
                ),
                ("oldest", models.PositiveBigIntegerField(default=1)),
                ("newest", models.PositiveBigIntegerField(default=0)),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inboxes.account",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "search progress",
                "indexes": [
                    models.Index(condition=models.Q(("oldest__gt", 1)), fields=["inbox"], name="search_to_fill")
                ],
            },
        ),
        migrations.CreateModel(
            name="SearchDocument",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(help_text="the message's")),
                (
                    "scope",
                    models.CharField(
                        help_text="stands before each word in the index; see threads.search_index", max_length=8
                    ),
                ),
                ("subject", models.TextField(blank=True)),
                ("sender", models.TextField(blank=True)),
                ("recipients", models.TextField(blank=True)),
                ("files", models.TextField(blank=True)),
                ("body", models.TextField(blank=True)),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inboxes.account",
                    ),
                ),
                (
                    "inbox",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inboxes.inbox",
                    ),
                ),
                (
                    "message",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="threads.message",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["inbox", "-created_at", "-id"], name="search_by_inbox"),
                    models.Index(fields=["account", "-created_at", "-id"], name="search_by_account"),
                ],
            },
        ),
        migrations.RunPython(make_index, drop_index),
    ]
