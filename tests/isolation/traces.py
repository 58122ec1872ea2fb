"""What is a victim's: the rows nobody else may change, and the words that nobody else may be shown."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connection, models

from mailbot.lib.tenants import TenantManager
from tests.isolation.principals import Principal
from tests.isolation.world import ID

Key = tuple[str, Any]
Row = dict[str, Any]
Rows = dict[Key, Row]


def our_models() -> list[type[models.Model]]:
    """All tables of the product, with an account or without."""
    return [
        model for app in ("audit", "inboxes", "threads", "delivery") for model in apps.get_app_config(app).get_models()
    ]


ANY = "any"  # table


def snapshot(tables: Collection[str] = (ANY,)) -> Rows:
    """All rows of these tables, of every account. To be taken by who acts for everybody."""
    found: Rows = {}
    with connection.cursor() as cursor:
        for model in our_models():
            table, key = model._meta.db_table, model._meta.pk.column
            if table not in tables and ANY not in tables:
                continue
            cursor.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            for values in cursor.fetchall():
                row = dict(zip(names, map(_plain, values), strict=True))
                found[table, row[key]] = row
    return found


def written() -> dict[str, int]:
    """How many rows this connection has written so far, by table, as the database itself counts; SQLite does not say in which."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT %s, total_changes()", [ANY])
        else:
            cursor.execute("SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables")
        return dict(cursor.fetchall())


def snapshot_after(before: Rows, written_before: dict[str, int]) -> Rows:
    """`before` as it is now, for which only what was written since is read again."""
    changed = {table for table, rows in written().items() if rows != written_before.get(table, 0)}
    if not changed:
        return before
    kept = {key: row for key, row in before.items() if key[0] not in changed and ANY not in changed}
    return kept | snapshot(changed)


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


@dataclass(frozen=True)
class Traces:
    """`words` are ids of the victim's rows, and his mark."""

    words: frozenset[str]
    keys: frozenset[Key]

    def shown_in(self, text: str) -> set[str]:
        found = self.words.intersection(ID.findall(text))
        return {word for word in self.words - found if not ID.fullmatch(word) and word in text} | found


def traces_of(principal: Principal) -> Traces:
    """Of an account all there is; of an inbox of the principal's own account what belongs to it."""
    keys = frozenset(_keys_of_victim(principal))
    ids = {key for _, key in keys if isinstance(key, str) and ID.fullmatch(key)}
    return Traces(frozenset(ids | {principal.victim.mark, *_ids(principal)}), keys)


def is_telling(principal: Principal, name: str, value: str) -> bool:
    return bool(ID.fullmatch(value)) and name != "actor" and not principal.shares(name)


def _ids(principal: Principal) -> Iterator[str]:
    yield from (value for name, value in principal.victim.ids.items() if is_telling(principal, name, value))


def _keys_of_victim(principal: Principal) -> Iterator[Key]:
    victim = principal.victim
    for model in our_models():
        manager = model._default_manager
        if not isinstance(manager, TenantManager):
            continue
        if not principal.is_of_the_same_account:
            mine = {manager.account: victim.owner.account.pk}
        elif manager.inbox is not None:
            mine = {manager.inbox: victim.inbox.pk}
        else:
            continue
        yield from ((model._meta.db_table, key) for key in manager.filter(**mine).values_list("pk", flat=True))


def changes(before: Rows, after: Rows) -> Iterator[tuple[Key, Row | None, Row | None]]:
    for key in () if after is before else before.keys() | after.keys():
        was, now = before.get(key), after.get(key)
        if was is not now and was != now:
            yield key, was, now


def is_own(principal: Principal, key: Key, row: Row) -> bool:
    """Whether the principal may have changed a row that was there: of his own inbox, his own key, or of his account in his mode."""
    own = principal.own
    if key[1] in (own.inbox.pk, own.ids["key_id"], *principal.key_ids):
        return True
    if row.get("inbox_id"):
        return bool(row["inbox_id"] == own.inbox.pk)
    if row.get("mail_id"):
        return row["mail_id"] in own.mail_ids
    if key[0] in ("inboxes_domain", "inboxes_domainkey", "delivery_erasure"):  # of both modes
        return row.get("account_id") == own.owner.account.pk
    account_wide = key[0] in ("inboxes_addressrule", "inboxes_keptanswer", "delivery_suppression")
    return account_wide and (row.get("account_id"), row.get("mode", own.owner.mode)) == (
        own.owner.account.pk,
        own.owner.mode,
    )


def speaks_of(row: Mapping[str, Any]) -> str:
    return " ".join(str(value) for value in row.values())
