"""Django's PostgreSQL backend, in which a connection acts for whom its code acts.

Before a statement it is looked whether the connection stands in the scope of the code (mailbot.lib.scope); where it does not,
another statement, mostly in the same message, puts it there: the role, the accounts and the inboxes that the policies of the tables
ask for. That holds for the session, so a connection from the pool remembers where it stands. A pooler that shares a session between
transactions of several clients (PgBouncer's transaction mode) cannot be used.
"""

from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg import ClientCursor
from psycopg.pq import TransactionStatus

from mailbot.lib import scope
from mailbot.lib.postgresql_walls.roles import session_of

ENTER = "SELECT set_config('role', %s, false), set_config('mailbot.accounts', %s, false), set_config('mailbot.inboxes', %s, false)"


class DatabaseWrapper(base.DatabaseWrapper):
    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        self._rolls_back = False
        if alias != NO_DB_ALIAS:  # that one makes and drops databases, in which there is nothing yet
            self.execute_wrappers.append(self._in_scope)

    def enter_scope(self) -> None:
        """For statements that pass Django by, such as COPY."""
        wanted, connection = scope.current(), self.connection
        if getattr(connection, "mailbot_scope", None) != wanted:
            with self.wrap_database_errors:
                connection.execute(ENTER, session_of(wanted))
            connection.mailbot_scope = wanted

    def _in_scope(self, execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if self._rolls_back or getattr(self.connection, "mailbot_scope", None) == scope.current():
            return execute(sql, parameters, many, context)  # a transaction that has failed takes nothing else
        # What has no parameters may be one of those that PostgreSQL takes only alone, such as CREATE INDEX CONCURRENTLY.
        has_parameters = isinstance(parameters, tuple | list) and len(parameters) > 0
        if many or not has_parameters or not isinstance(context["cursor"].cursor, ClientCursor):
            self.enter_scope()
            return execute(sql, parameters, many, context)
        return self._enter_with(execute, sql, parameters, context)

    def _enter_with(self, execute: Callable[..., Any], sql: str, parameters: Any, context: Any) -> Any:
        """Both statements in one message: a request finds out who calls and then acts for it, which would be two journeys more."""
        wanted, self.connection.mailbot_scope = scope.current(), None  # outside of a transaction an error undoes both
        done = execute(f"{ENTER}; {sql}", (*session_of(wanted), *parameters), False, context)
        context["cursor"].cursor.nextset()
        self.connection.mailbot_scope = wanted
        return done

    # What was set in a transaction is gone with it. Django also commits one in which a statement has failed, and gives a connection back in
    # the middle of one: the first is a rollback to PostgreSQL, the second to the pool.

    def _commit(self) -> None:
        if self._status() == TransactionStatus.INERROR:
            self._forget_scope()
        super()._commit()  # type: ignore[misc]  # django-stubs does not know it

    def _close(self) -> None:
        if self._status() != TransactionStatus.IDLE:
            self._forget_scope()
        super()._close()  # type: ignore[misc]

    def _rollback(self) -> None:
        self._forget_scope()
        super()._rollback()  # type: ignore[misc]  # django-stubs does not know it

    def _savepoint_rollback(self, sid: str) -> None:
        self._rolls_back = True
        try:
            super()._savepoint_rollback(sid)  # type: ignore[misc]  # django-stubs does not know it
        finally:
            self._rolls_back = False
            self._forget_scope()

    def _status(self) -> TransactionStatus:
        return TransactionStatus.IDLE if self.connection is None else self.connection.info.transaction_status

    def _forget_scope(self) -> None:
        if self.connection is not None:
            self.connection.mailbot_scope = None
