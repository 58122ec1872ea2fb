"""Lines of text of any script, drawn: which fonts, where a line ends, in what order its letters stand and how they join.

Broken into lines in the order in which it is written (Unicode's UAX 9 and a plain part of UAX 14), then put into the order in which it is
seen, and joined by HarfBuzz where a script needs that. The fonts are Kurinto Sans, for nearly all living scripts, with one more for each
of Chinese, Japanese and Korean. What they lack, such as most emoji, is drawn as U+FFFD.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any, NamedTuple

from bidi import get_base_level
from bidi.algorithm import get_display  # which mirrors brackets; the quicker one in Rust does not
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont, shapeStr
from reportlab.pdfgen.canvas import Canvas

TAB = "    "
LACKING = "\ufffd"
_PRIVATE = (0xE000, 0xF8FF)
LONGEST = 400  # characters of a line: there are some without a width
_FOLDER = "static/weblate_fonts/kurinto/ttf/KurintoSans{}-Rg.ttf"
_MAIN, _CHINESE, _OLD_CHINESE, _JAPANESE, _KOREAN = "", "SC", "TC", "JP", "KR"
# Said by its number: what would draw nothing, or turn around what stands behind it.
_SPELT_OUT = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_MAY_LACK = re.compile(f"{_UNSEEN.pattern}|[\u200c\u200d]")
_KANA, _HANGUL = re.compile("[\u3040-\u30ff]"), re.compile("[\uac00-\ud7a3]")
# Arabic digits are written from the left to the right.
_FROM_THE_RIGHT = (
    "\u0590-\u065f\u066a-\u06ef\u06fa-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
)
_JOINED = "\u0900-\u109f\u1780-\u17ff\u1a00-\u1bff\u200c\u200d\ua8e0-\uaadf\uabc0-\uabff"
_PLAIN = re.compile(f"[^{_FROM_THE_RIGHT}{_JOINED}\u0660-\u0669\u06f0-\u06f9]*")
_PIECES = re.compile(f"(?P<right>[{_FROM_THE_RIGHT}]+)|(?P<joined>[{_JOINED}]+)|[^{_FROM_THE_RIGHT}{_JOINED}]+")
_READ_FROM_THE_RIGHT = re.compile(f"[{_FROM_THE_RIGHT}]")
# The algorithm takes joiners out, which Persian needs; letters that nobody writes hold their places meanwhile.
_JOINERS = re.compile(f"(?<=[{_FROM_THE_RIGHT}])[\u200c\u200d]")
_HELD = {"\u200c": "\U00010920", "\u200d": "\U00010921"}
_GIVEN_BACK = str.maketrans({held: joiner for joiner, held in _HELD.items()})
_MAY_END_BEHIND = frozenset(" -/\u2010\u2013\u2014")


class Line(NamedTuple):
    """In the order in which it is written. `to_the_left`: of a paragraph that is read from the right."""

    text: str
    to_the_left: bool


class _Font(TTFont):
    """The library gives letters that were joined numbers for private use, as they come. Here each document begins anew, so that it does
    not depend on those that were made before it."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"Text{kind}", str(files("weblate_fonts") / _FOLDER.format(kind)))
        self._joined: dict[int, int] = {}  # glyph → number

    def hbFont(self, fontSize: float = 10) -> Any:  # noqa: N802, N803 (the library's)
        font = super().hbFont(fontSize)
        self.hbAddPrivate = self._number_of
        return font

    def _number_of(self, _: str, glyph: int, width: float) -> int:
        number = self._joined.get(glyph)
        if number is None:
            number = max(self._joined.values(), default=_PRIVATE[0] - 1) + 1
            while number in self.face.charToGlyph:
                number += 1
            self._joined[glyph] = number
            face: Any = self.face
            face.charToGlyph[number], face.charWidths[number], face.glyphToChar[glyph] = glyph, width, [number]
        return number

    def forget(self) -> None:
        face: Any = self.face
        for glyph, number in self._joined.items():
            del face.charToGlyph[number], face.charWidths[number], face.glyphToChar[glyph]
        self._joined.clear()


@cache
def _read(kind: str) -> _Font:
    """Half a second each, once a process."""
    font = _Font(kind)
    pdfmetrics.registerFont(font)
    return font


class Fonts:
    """Of one document: another one is begun when this one is written."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Font] = {}
        self._order: tuple[str, ...] = ()
        self._of: dict[str, _Font] = {}
        self.prefer("")

    def prefer(self, text: str) -> None:
        """The characters that Chinese, Japanese and Korean share are drawn as the rest of the text says."""
        chinese, japanese, korean = (_CHINESE, _OLD_CHINESE), (_JAPANESE,), (_KOREAN,)
        order = (_MAIN, *chinese, *japanese, *korean)
        if _KANA.search(text):
            order = (_MAIN, *japanese, *chinese, *korean)
        elif _HANGUL.search(text):
            order = (_MAIN, *korean, *chinese, *japanese)
        if order != self._order:
            self._order, self._of = order, {}

    def of(self, char: str) -> _Font | None:
        try:
            return self._of[char]
        except KeyError:
            pass
        found = self._having(ord(char))
        if found is not None:
            self._of[char] = found
        return found

    def _having(self, code: int) -> _Font | None:
        if _PRIVATE[0] <= code <= _PRIVATE[1]:  # joined letters have these
            return None
        return next((font for font in map(self._font, self._order) if code in font.face.charToGlyph), None)

    def _font(self, kind: str) -> _Font:
        if kind not in self._kinds:
            self._kinds[kind] = _read(kind)
            self._kinds[kind].forget()
        return self._kinds[kind]

    def width(self, char: str, size: float) -> float:
        font = self.of(char)
        return font.face.charWidths.get(ord(char), font.face.defaultWidth) * size / 1000 if font else 0

    # --- Lines ---

    def lines(self, text: str, size: float, width: float) -> Iterator[Line]:
        for paragraph in text.split("\n"):
            clean = self.drawable(paragraph)
            to_the_left = bool(clean) and get_base_level(clean) == 1
            for line in self._broken(clean, size, width):
                yield Line(line, to_the_left)

    def drawable(self, text: str) -> str:
        """One line of what somebody wrote, as it can be drawn."""
        text = unicodedata.normalize("NFC", text.rstrip("\r").replace("\t", TAB))
        text = _SPELT_OUT.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)
        return "".join(char if self.of(char) or _MAY_LACK.match(char) else LACKING for char in text)

    def _broken(self, text: str, size: float, width: float) -> Iterator[str]:
        start, at, may_end = 0, 0.0, 0
        for place, char in enumerate(text):
            wide = self.width(char, size)
            if place > start and (at + wide > width or place - start >= LONGEST):
                end = may_end if may_end > start else place
                yield text[start:end]
                start = end
                at = sum(self.width(one, size) for one in text[start:place])
            at += wide
            if char in _MAY_END_BEHIND or "\u2e80" <= char <= "\uffdc" or char >= "\U00020000":
                may_end = place + 1
        yield text[start:]

    # --- Drawing ---

    def draw(self, canvas: Canvas, line: Line, left: float, y: float, size: float, width: float) -> None:
        text = line.text.rstrip(" ")
        is_plain = _PLAIN.fullmatch(text) is not None
        runs = list(self._in_fonts(_UNSEEN.sub("", text)) if is_plain else self._ordered(text, line.to_the_left, size))
        x = left + max(width - sum(_width(font, run, size) for font, run in runs), 0) if line.to_the_left else left
        out = canvas.beginText(x, y)
        for font, run in runs:
            out.setFont(font.fontName, size)
            out.textOut(run)
        if is_plain:
            canvas.drawText(out)
            return
        # What a reader's search and copying find instead of the drawn order (ISO 32000-1, 14.9.4).
        canvas.addLiteral(f"/Span <</ActualText <{(chr(0xFEFF) + text).encode('utf-16-be', 'replace').hex()}>>> BDC")
        canvas.drawText(out)
        canvas.addLiteral("EMC")

    def _in_fonts(self, text: str) -> Iterator[tuple[_Font, str]]:
        for font, chars in groupby(text, key=self.of):
            if font is not None:
                yield font, "".join(chars)

    def _ordered(self, text: str, to_the_left: bool, size: float) -> Iterator[tuple[_Font, str]]:
        for piece in _PIECES.finditer(_UNSEEN.sub("", _as_seen(text, to_the_left))):
            is_from_the_right = piece["right"] is not None
            for font, run in self._in_fonts(piece[0]):
                if is_from_the_right or piece["joined"] is not None:
                    run = run[::-1] if is_from_the_right else run  # HarfBuzz takes it as it is written
                    yield font, shapeStr(run, font.fontName, size)
                else:
                    yield font, run


def _as_seen(text: str, to_the_left: bool) -> str:
    if not _READ_FROM_THE_RIGHT.search(text):
        return text
    held = _JOINERS.sub(lambda found: _HELD[found[0]], text)
    return str(get_display(held, base_dir="R" if to_the_left else "L")).translate(_GIVEN_BACK)


def _width(font: _Font, run: str, size: float) -> float:
    shape = getattr(run, "__shapeData__", None)
    if shape is not None:
        return float(sum(one.x_advance for one in shape)) * size / 1000
    return float(font.stringWidth(run, size))
