"""`celery -A tests.mailbot.impatient …`: the Celery of mailbot, that tries a broker which is away again and again without a pause."""

from typing import Any, Self

from mailbot.celery import PatientAMQP, PatientConnection, app

__all__ = ["app"]


class ImpatientConnection(PatientConnection):
    def ensure_connection(self, *args: Any, **options: Any) -> Self:
        pauses = {"interval_start": 0.0, "interval_step": 0.0, "interval_max": 0.0}
        return super().ensure_connection(*args, **{**options, **pauses})


PatientAMQP.Connection = ImpatientConnection
