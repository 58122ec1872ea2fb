"""Bytes to text: by the declared charset, else by detection. Never raises, and never lets a bad character through."""

from __future__ import annotations

import re
from encodings.aliases import aliases

from charset_normalizer import from_bytes

# Detection is slow for its input size, and a few kilobytes decide as well as the whole.
DETECTION_SAMPLE = 8_192

# Asking codecs.lookup() for a name out of a mail would import modules and fill its cache for good; so only names in
# this table are ever looked up. punycode and idna take quadratic time, the escape codecs execute escapes.
_UNSAFE = {"punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "rot_13", "uu_codec"}
_UNSAFE |= {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "zlib_codec"}
_KNOWN = {name: codec for name, codec in aliases.items() if codec not in _UNSAFE}
_KNOWN |= {codec: codec for codec in _KNOWN.values()}
_KNOWN |= {f"iso_8859_{n}": f"iso8859_{n}" for n in range(2, 17) if n != 12}
_KNOWN |= {f"windows_{n}": f"cp{n}" for n in (874, *range(1250, 1259))}
_KNOWN |= {
    # Real mail labels the superset with the name of the subset; the WHATWG Encoding Standard reads them alike.
    "gb2312": "gb18030", "gbk": "gb18030", "x_gbk": "gb18030", "cp936": "gb18030", "big5": "big5hkscs",
    "ks_c_5601_1987": "cp949", "euc_kr": "cp949",
    "shift_jis": "cp932", "x_sjis": "cp932", "sjis": "cp932", "windows_31j": "cp932",
    # Labels that Python does not know, and codecs that are no alias of anything.
    "x_mac_roman": "mac_roman", "x_mac_cyrillic": "mac_cyrillic", "unicode_1_1_utf_7": "utf_7",
    "iso_8859_8_i": "iso8859_8", "iso_8859_8_e": "iso8859_8", "cp_850": "cp850", "koi8_u": "koi8_u",
}  # fmt: skip
_LATIN1 = "latin_1"
_STRUCTURE = str.maketrans("-. :", "____")
_FOREIGN_RUN = re.compile(rb"[\x80-\xff]{3}")
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")


def codec_for(charset: str) -> str:
    """The Python codec for a charset label, "" when it is unknown or not one that mail may use."""
    return _KNOWN.get(charset.strip(" \t\"'").lower().translate(_STRUCTURE), "")


def safe_text(text: str) -> str:
    """NUL and lone surrogates, which neither PostgreSQL nor UTF-8 can hold, become U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return _FORBIDDEN.sub("\ufffd", text)


def decode_text(content: bytes, charset: str = "") -> str:
    """`content` as text, by its declared charset, as UTF-8, or by detection, in this order. Never raises."""
    codec = codec_for(charset)
    if content.isascii() and codec in ("", "ascii", "utf_8", _LATIN1, "cp1252"):
        return safe_text(content.decode("ascii"))
    return safe_text(_by_declaration(content, codec) or _undeclared(content, codec))


def _by_declaration(content: bytes, codec: str) -> str:
    if codec in ("", "ascii"):
        return ""
    if codec == _LATIN1:
        return _windows_latin(content)
    try:
        return content.decode(codec)
    except (UnicodeError, LookupError):
        return ""


def _windows_latin(content: bytes) -> str:
    """ISO-8859-1 is read as windows-1252, as browsers do: the former has no printable character at 0x80-0x9f."""
    try:
        return content.decode("cp1252")
    except UnicodeError:
        return content.decode(_LATIN1)


def _undeclared(content: bytes, codec: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeError:
        pass
    if codec not in ("", "ascii"):
        text = content.decode(codec, "replace")
        # A few broken bytes in an honest charset are better marked than guessed at.
        if text.count("\ufffd") * 20 <= len(text) + 20:
            return text
    return _detected(content)


def _detected(content: bytes) -> str:
    # A byte or two between ASCII letters are an accent; detection would guess wildly from so little.
    if not _FOREIGN_RUN.search(content):
        return _windows_latin(content)
    best = from_bytes(_around_first_non_ascii(content)).best()
    codec = codec_for(best.encoding) if best else ""
    return content.decode(codec, "replace") if codec else _windows_latin(content)


def _around_first_non_ascii(content: bytes) -> bytes:
    """The part of `content` that tells something: a long ASCII beginning decides nothing."""
    non_ascii = re.search(rb"[\x80-\xff]", content)
    start = max(0, non_ascii.start() - 256) if non_ascii else 0
    return content[start : start + DETECTION_SAMPLE]
