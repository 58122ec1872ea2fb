"""Text as a PDF: pages of headings, facts and paragraphs, whatever somebody wrote in them.

There is nothing in it but drawn text: no link, no form, no script, no attachment, nothing that is loaded. The same calls make the same
octets, at any time and in any process.
"""

from io import BytesIO

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from mailbot.lib.pdf_lines import Fonts, Line

_WIDTH, _HEIGHT = A4
_MARGIN, _BOTTOM = 50.0, 60.0
_NAMES = 80.0  # the column of what facts are called
_LEADING = 1.4
_TEXT, _HEADING, _SMALL = 10.0, 16.0, 7.5
_GREY = 0.4


class PagesFull(Exception):
    """There is no more room."""


class TextPdf:
    """`footer` stands on each page. Methods raise PagesFull once `most_pages` are full; `octets` works all the same. One is made at a
    time in a process: the library keeps its fonts in one place."""

    def __init__(self, title: str, footer: str, most_pages: int) -> None:
        self._octets, self._fonts = BytesIO(), Fonts()
        self._canvas = Canvas(self._octets, pagesize=A4, pageCompression=1, invariant=1, lang="en")
        self._canvas.setTitle(self._fonts.drawable(title.replace("\n", " "))[:500])
        self._canvas.setProducer("mailbot")
        self._canvas.setCreator("mailbot")
        self._footer, self._most_pages = footer, most_pages
        self._y = _HEIGHT - _MARGIN

    @property
    def page(self) -> int:
        return int(self._canvas.getPageNumber())

    def prefer(self, text: str) -> None:
        """Draw characters that several languages share as this text's does."""
        self._fonts.prefer(text)

    def heading(self, text: str) -> None:
        self._write(text, _HEADING, most_lines=5)

    def note(self, text: str) -> None:
        self._write(text, _SMALL, most_lines=20)

    def fact(self, name: str, value: str, most_lines: int = 20) -> None:
        """A line with its name before it."""
        self._need(_TEXT * _LEADING)
        line = Line(name, to_the_left=False)
        self._canvas.setFillGray(_GREY)
        self._fonts.draw(self._canvas, line, _MARGIN, self._y - _TEXT, _TEXT, _NAMES)
        self._canvas.setFillGray(0)
        self._write(value, _TEXT, most_lines, _MARGIN + _NAMES)

    def text(self, text: str, most_lines: int) -> bool:
        """Whether all of it is there."""
        return self._write(text, _TEXT, most_lines)

    def rule(self) -> None:
        self._need(4 * _TEXT)
        self._y -= _TEXT
        self._canvas.setStrokeGray(_GREY)
        self._canvas.line(_MARGIN, self._y, _WIDTH - _MARGIN, self._y)
        self._y -= _TEXT

    def gap(self) -> None:
        self._y -= _TEXT / 2

    def last_line(self, text: str) -> None:
        """Where all pages are full: below the text of the last one."""
        (line, *_) = self._fonts.lines(text, _SMALL, _WIDTH - 2 * _MARGIN)
        self._fonts.draw(self._canvas, line, _MARGIN, _BOTTOM - _SMALL, _SMALL, _WIDTH - 2 * _MARGIN)

    def octets(self) -> bytes:
        self._end_page()
        self._canvas.save()
        return self._octets.getvalue()

    def _write(self, text: str, size: float, most_lines: int, left: float = _MARGIN) -> bool:
        width = _WIDTH - _MARGIN - left
        for number, line in enumerate(self._fonts.lines(text, size, width)):
            if number == most_lines:
                return False
            self._need(size * _LEADING)
            self._fonts.draw(self._canvas, line, left, self._y - size, size, width)
            self._y -= size * _LEADING
        return True

    def _need(self, height: float) -> None:
        if self._y - height >= _BOTTOM:
            return
        if self.page >= self._most_pages:
            raise PagesFull
        self._end_page()
        self._canvas.showPage()
        self._y = _HEIGHT - _MARGIN

    def _end_page(self) -> None:
        canvas = self._canvas
        canvas.setFillGray(_GREY)
        width = _WIDTH - 2 * _MARGIN
        lines = [*self._fonts.lines(self._footer, _SMALL, width - 60)][:3]
        for number, line in enumerate(lines):
            self._fonts.draw(canvas, line, _MARGIN, _BOTTOM - (number + 2) * _SMALL * 1.3, _SMALL, width - 60)
        number_line = Line(f"Page {self.page}", to_the_left=False)
        self._fonts.draw(canvas, number_line, _WIDTH - _MARGIN - 45, _BOTTOM - 2 * _SMALL * 1.3, _SMALL, 60)
        canvas.setFillGray(0)
