"""An object store that misbehaves when a test says so."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

from django.core.files import File

from mailbot.lib.file_storage import DurableFileStorage


class FaultyStorage(DurableFileStorage):
    """The folder of the embedded profile; the hooks are the class's, because Django makes the object."""

    is_down: ClassVar[bool] = False
    after_look: ClassVar[Callable[[str], Any]]
    before_delete: ClassVar[Callable[[str], Any]]
    before_save: ClassVar[Callable[[str], Any]]
    after_save: ClassVar[Callable[[str], Any]]
    what_it_keeps: ClassVar[Callable[[bytes], bytes]]
    saves: ClassVar[list[str]]

    @classmethod
    def mend(cls) -> None:
        cls.is_down = False
        cls.after_look = cls.before_delete = cls.before_save = cls.after_save = staticmethod(lambda name: None)
        cls.what_it_keeps = staticmethod(lambda content: content)
        cls.saves = []

    @classmethod
    def _answer(cls) -> None:
        if cls.is_down:
            raise ConnectionError("Connection refused")

    def _save(self, name: str, content: File[Any]) -> str:
        self._answer()
        type(self).before_save(name)
        saved = super()._save(name, File(BytesIO(type(self).what_it_keeps(b"".join(content.chunks())))))
        self.saves.append(name)
        type(self).after_save(name)
        return saved

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        self._answer()
        return File(Path(self.path(name)).open(mode))

    def exists(self, name: str) -> bool:
        self._answer()
        is_there = super().exists(name)
        type(self).after_look(name)
        return is_there

    def delete(self, name: str) -> None:
        self._answer()
        type(self).before_delete(name)
        super().delete(name)


class Store:
    """What a test sees of it: its hooks, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults = FaultyStorage
        FaultyStorage.mend()

    def names(self, kind: str = "raw") -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in (self.folder / kind).rglob("*") if path.is_file())

    def contents(self, kind: str = "raw") -> list[bytes]:
        return [(self.folder / name).read_bytes() for name in self.names(kind)]
