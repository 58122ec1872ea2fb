"""Makes the exports that wait, or removes those whose time is over, in a process that can be killed.

    python -m tests.flows.exporter make|expire

Parts are small, so that there are many of them, and nobody waits for the lease of one who is dead.
"""

import sys

import django

PART, AT_ONCE = 20_000, 20  # octets, entries


def make() -> None:
    from audit import export_build, export_writer
    from audit.exports import make_exports
    from audit.models import Export

    export_writer.PART, export_build.AT_ONCE = PART, AT_ONCE
    Export.objects.filter(status=Export.Status.RUNNING).update(lease_until=None)
    while make_exports(600):
        pass


def expire() -> None:
    from django.utils import timezone

    from audit.exports import expire_exports
    from audit.models import Export

    Export.objects.filter(status=Export.Status.DONE).update(expires_at=timezone.now())
    expire_exports()


if __name__ == "__main__":
    django.setup()
    from audit.actors import acting_as_system

    with acting_as_system("exporter"):
        {"make": make, "expire": expire}[sys.argv[1]]()
