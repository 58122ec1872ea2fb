"""CSV (RFC 4180) that a spreadsheet shows and does not calculate."""

import csv
import io
from collections.abc import Iterable

_DEFUSED = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet would calculate


def defused(cell: str) -> str:
    """An apostrophe before what would begin a formula."""
    return f"'{cell}" if cell.startswith(_DEFUSED) else cell


def undefused(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_DEFUSED) else cell


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """Each row with its CRLF, each cell defused; None is an empty one. Line feeds, quotes and NUL stay what they are."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for row in rows:
        writer.writerow([defused("" if cell is None else str(cell)) for cell in row])
    return out.getvalue()


def csv_octets(rows: Iterable[Iterable[object]]) -> bytes:
    """The same in UTF-8. Half of a surrogate pair, which has no place there, is written as its escape."""
    return csv_lines(rows).encode("utf-8", "backslashreplace")
