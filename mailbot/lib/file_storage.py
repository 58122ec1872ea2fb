"""A folder as an object store: what is there is whole, and outlives a power cut."""

import os
import secrets
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.files.storage import FileSystemStorage

# Octets. Whoever flushes a little meanwhile (a commit of SQLite's) waits behind what is flushed at once: tens of megabytes take the disk
# for a tenth of a second.
FLUSHED_AT_ONCE = 1024 * 1024


class DurableFileStorage(FileSystemStorage):
    """Writes a draft beside the file, flushes it, and renames it into place.

    Django's own writes under the final name: whoever is killed in the middle leaves half a file that looks like a whole one, and
    two who write one name at once end up with two. Names here are made of what they hold, so the last writer may win.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def _save(self, name: str, content: File[Any]) -> str:
        path = Path(self.path(name))
        self._make_folder(path.parent)
        draft = path.with_name(f".{secrets.token_hex(8)}.draft")
        try:
            self._write(draft, content)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)
        return name

    def _write(self, draft: Path, content: File[Any]) -> None:
        mode = self.file_permissions_mode or 0o666
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            unflushed = 0
            for chunk in content.chunks():
                file.write(chunk)
                unflushed += len(chunk)
                if unflushed >= FLUSHED_AT_ONCE:
                    file.flush()
                    os.fsync(file.fileno())
                    unflushed = 0
            file.flush()
            os.fsync(file.fileno())

    def _make_folder(self, folder: Path) -> None:
        """With those above it. A folder is only there for good once the one above is flushed."""
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(self.directory_permissions_mode or 0o777, exist_ok=True)
        _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
