"""How the story looks on a terminal: 80 to 100 columns, plain text when it is no terminal."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

NARROW, WIDE = 80, 100
INDENT = 3


class Page:
    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._console.width = min(max(self._console.width, NARROW), WIDE)

    def title(self, text: str, below: str) -> None:
        self._console.print()
        self._console.rule(Text(text, style="bold"))
        self._console.print(Text(below, style="dim"), justify="center")

    def chapter(self, number: int, text: str) -> None:
        self._console.print()
        self._console.print(Text(f"{number}  {text}", style="bold cyan"))

    def say(self, text: str) -> None:
        self._indented(Text(text))

    def seen(self, text: str) -> None:
        """Something that was claimed and found true."""
        self._marked(Text("✓", style="green"), text)

    def failed(self, text: str) -> None:
        """One line however long, so that a log or a search has all of it."""
        self._console.print(Text(f"{' ' * INDENT}✗ ", style="bold red").append(text, style="default"), soft_wrap=True)

    def mail(self, title: str, headers: Iterable[tuple[str, str]], text: str) -> None:
        """Headers as they stand in the mail, folded where they are, and the text."""
        shown = Text()
        for name, value in headers:
            shown.append(f"{name}: ", style="bold").append(f"{value}\n")
        shown.append(f"\n{text.strip()}")
        self._indented(Panel(shown, title=title, title_align="left", border_style="dim", padding=(0, 1)))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        for column in columns:
            table.add_column(column, no_wrap=column != columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        self._indented(table)

    def _marked(self, mark: Text, text: str) -> None:
        """A mark and, however many lines it takes, the text beside it."""
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(mark, Text(text, overflow="fold"))
        self._indented(line)

    def _indented(self, shown: RenderableType) -> None:
        self._console.print(Padding(shown, (0, 0, 0, INDENT), expand=False))
