"""Objects in the store that no row knows of. There should be none: cards and rows see to that, but for a process that was stopped for
longer than its lease and then killed, a store that was down when files were erased, and a database that was restored from a backup.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from django.core.files.storage import default_storage
from django.utils import timezone

from delivery.models import RawObject
from mailbot.lib import object_store
from threads.attachments import remove_unneeded
from threads.models import Attachment

FOLDERS = ("raw", "attachments")
AT_ONCE = 500
# A file is written before the transaction that makes its row.
YOUNG = timedelta(days=1)


def orphaned_objects(older_than: timedelta = YOUNG) -> Iterator[str]:
    """Their names. Lists the whole store, so it takes a while; raises what the store raises."""
    before = timezone.now() - older_than
    for folder in FOLDERS:
        names = _names(folder)
        while piece := list(islice(names, AT_ONCE)):
            known = set(RawObject.objects.filter(name__in=piece).values_list("name", flat=True))
            known |= set(Attachment.objects.filter(storage_name__in=piece).values_list("storage_name", flat=True))
            yield from (name for name in piece if name not in known and _changed(name) < before)


def remove_orphan(name: str) -> None:
    """Delete one of them. A file that mail has found and needs again by now stays. Raises StoreUnavailable."""
    if not name.startswith("attachments/"):
        object_store.delete(name)
        return
    for error in remove_unneeded([name]).values():
        raise error


def _names(folder: str) -> Iterator[str]:
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:  # nothing was ever put there, or it went meanwhile
        return
    yield from (f"{folder}/{file}" for file in sorted(files) if file)
    for inner in sorted(folders):
        yield from _names(f"{folder}/{inner}")


def _changed(name: str) -> datetime:
    try:
        return default_storage.get_modified_time(name)
    except FileNotFoundError:
        return timezone.now()
