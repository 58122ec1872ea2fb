"""A Celery application with one task that does nothing, on the broker of mailbot: `celery --app benchmarks.noop_tasks worker`."""

import os

from celery import Celery

app = Celery("noop", broker=os.environ["REDIS_URL"])
app.conf.update(task_default_queue="noop", task_ignore_result=True, worker_prefetch_multiplier=1)


@app.task
def nothing() -> None:
    pass
