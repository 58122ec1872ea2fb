"""Words as search sees them: the same for mail and for queries, and for both databases, whose own parsers disagree.

A word is a run of letters and digits, in one case, without accents; everything else stands between words. So `carol@shop.example` is three
words in a row and `INV-2041` two: whoever looks for the whole finds it as a phrase, whoever looks for a part finds it as well. Nothing is
stemmed and no word is left out as too common, since mail is in any language and in several at once. Scripts that put no spaces between
words (Chinese, Japanese, Thai, …) are taken character by character; what is looked for is then a phrase of characters.

Source: Unicode 15 normalisation (UAX 15), with marks and format characters left out and letters of all widths and styles made plain.
"""

import re
import unicodedata
from typing import NamedTuple

LONGEST_WORD = 64  # characters; the rest of a longer run is not looked at, in mail as in queries

_ASCII = bytes(code if chr(code).isalnum() else 32 for code in range(128)).lower().ljust(256)
# Ideographs, kana, and the scripts of South-East Asia.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs that Python does not count among the letters: in Indic scripts they are a part of the word.
_SIGNS = r"\u0900-\u0963\u0966-\u0dff\u0f40-\u0fbc"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}_])[\w{_SIGNS}])+")


class Span(NamedTuple):
    """A word and where it stands in the text as it was written."""

    word: str
    start: int
    end: int


class _Folding(dict[int, str]):
    """What each character becomes. By itself: normalising a text as a whole takes quadratic time for one of marks only."""

    def __missing__(self, code: int) -> str:
        becomes = _plain(chr(code))
        if code < 0x10000:  # the others are rare, and there are a million of them
            self[code] = becomes
        return becomes


def _plain(character: str) -> str:
    normalize, category = unicodedata.normalize, unicodedata.category
    parts = normalize("NFKD", normalize("NFKD", character).casefold())
    kept = (c for c in parts if not unicodedata.combining(c) and category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")
    return normalize("NFC", "".join(kept))


_FOLDING = _Folding()


def words_of(text: str) -> list[str]:
    """The words of `text`, in order. Reading its own answer again, joined by spaces, gives the same."""
    if text.isascii():
        found = text.encode("ascii").translate(_ASCII).decode("ascii").split()
    else:
        found = _WORD.findall(unicodedata.normalize("NFC", text.translate(_FOLDING)))
    if found and len(max(found, key=len)) > LONGEST_WORD:
        return [word[:LONGEST_WORD] for word in found]
    return found


def spans_of(text: str) -> list[Span]:
    """The same words with their places."""
    if text.isascii():
        return [_span(match, None) for match in _WORD.finditer(text.lower())]
    folded = [_FOLDING[ord(character)] for character in text]
    places = [place for place, piece in enumerate(folded) for _ in piece]
    return [_span(match, places) for match in _WORD.finditer("".join(folded))]


def _span(match: re.Match[str], places: list[int] | None) -> Span:
    start, last = match.start(), match.end() - 1
    if places is not None:
        start, last = places[start], places[last]
    return Span(match[0][:LONGEST_WORD], start, last + 1)
