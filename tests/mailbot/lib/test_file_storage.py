"""The folder as an object store: what is there is whole, under the name that was asked for."""

import os
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files import File
from django.core.files.base import ContentFile

from mailbot.lib.file_storage import DurableFileStorage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def storage(folder: Path) -> DurableFileStorage:
    return DurableFileStorage(location=folder, file_permissions_mode=0o600, directory_permissions_mode=0o700)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Breaks(BytesIO):
    """A content of which one half can be read."""

    def read(self, *arguments: Any) -> bytes:
        if self.tell():
            raise OSError("broken off")
        return super().read(4)


def test_it_keeps_a_content_under_its_name(storage, folder):
    assert storage.save("a/b/c", ContentFile(b"content")) == "a/b/c"
    with storage.open("a/b/c") as file:
        assert file.read() == b"content"


def test_it_lets_nobody_else_read_it(storage, folder):
    storage.save("a/b", ContentFile(b"content"))
    assert [path.stat().st_mode & 0o777 for path in (folder / "a/b", folder / "a")] == [0o600, 0o700]


def test_it_replaces_what_is_there(storage, folder):
    for content in (b"first", b"second"):
        assert storage.save("name", ContentFile(content)) == "name"
    assert files(folder) == ["name"]
    assert (folder / "name").read_bytes() == b"second"


def test_it_leaves_nothing_when_it_is_broken_off(storage, folder):
    with pytest.raises(OSError, match="broken off"):
        storage.save("name", File(Breaks(b"a long content")))
    assert not storage.exists("name")
    assert files(folder) == []


def test_it_shows_no_half_of_a_file_to_who_looks_meanwhile(storage, folder, monkeypatch):
    """As after a kill before the end: Django's own storage would have the file by now."""
    seen = []
    flush = os.fsync

    def look_and_flush(descriptor):
        seen.append(storage.exists("name"))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", look_and_flush)
    storage.save("name", ContentFile(b"content"))
    assert seen[0] is False


def test_it_flushes_the_file_and_then_its_folders(storage, folder, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    storage.save("a/name", ContentFile(b"content"))
    assert flushed[-2].endswith(".draft")
    assert flushed[-1] == str(folder / "a")
    assert {str(folder), str(folder.parent)} <= set(flushed)


def test_it_has_one_whole_file_when_many_write_it_at_once(storage, folder):
    content = b"x" * 100_000
    threads = [threading.Thread(target=storage.save, args=("name", ContentFile(content))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files(folder) == ["name"]
    assert (folder / "name").read_bytes() == content
