"""What an agent usually wants out of a mail: the verification code, the links, a preview. Linear time, no raising."""

from __future__ import annotations

import html as html_module
import re
from bisect import bisect_left
from dataclasses import dataclass

MAX_TEXT = 100_000
MAX_CODES = 10
MAX_LINKS = 100
MAX_LINK = 4_096
PREVIEW = 200

# -- codes ---------------------------------------------------------------------------------------------------------

# The patterns that run over whole bodies each begin with a letter or a class, whatever their word boundaries: only then does `re` skip
# what cannot begin a match instead of trying every alternative at every place, which costs ten times as much.
_CALLED = re.compile(  # of the text in lower case
    r"verif\w{2,12}|authenti\w{2,12}|autenti\w{2,12}|one[- ]time|otp\b(?<!\wotp)|2fa\b(?<!\w2fa)|mtan\b(?<!\wmtan)|"
    r"tan\b(?<!\wtan)|pin\b(?<!\wpin)|passcode|"
    r"codes?\b|bestätigungs\w{4,10}|einmal\w{4,10}|sicherheits(?:code|schlüssel)|código|clave\b(?<!\wclave)|codice|"
    r"kod[eu]?\b|engangs\w{3,8}|код\b(?<!\wкод)|验证码|校验码|動態密碼|驗證碼|"
    r"認証コード|確認コード|인증번호|인증 ?코드|token\b(?<!\wtoken)|passwor[dt]"
)
# What _CALLED finds has one of these in it; plain searches are done in microseconds, and much mail has none.
_CALLING = (
    *(
        "verif",
        "authenti",
        "autenti",
        "one-time",
        "one time",
        "otp",
        "2fa",
        "tan",
        "pin",
        "code",
        "bestätigungs",
        "einmal",
    ),
    *("sicherheits", "código", "clave", "codice", "kod", "engangs", "код", "验证码", "校验码", "動態密碼", "驗證碼"),
    *("認証コード", "確認コード", "인증번호", "인증 코드", "인증코드", "token", "passwor"),
)
_GENERIC = re.compile(r"(?:codes?|código|codice|kod[eu]?|token|passwor[dt]|clave)$", re.IGNORECASE)
# Codes of another kind, by the word before or behind.
_OTHER_BEFORE = re.compile(
    r"(?:zip|post|postal|area|country|error|status|source|qr|bar|promo\w*|discount|coupon|voucher|tracking|order|booking|"
    r"dress|gift|referral|invite|rabatt|gutschein|fehler|aktions|exit|response|reset your|change your)[\s-]*$",
    re.IGNORECASE,
)
_OTHER_BEHIND = re.compile(r"\s+(?:postal|promo|source|de réduction|descuento|sconto|of conduct|review)", re.IGNORECASE)

_CANDIDATE = re.compile(
    r"[A-Z0-9](?<![\w.,/+#&%@-].)"
    r"(?:(?<=[0-9])(?:[0-9]{2}[- \u00a0][0-9]{3}|[0-9]{3}[- \u00a0][0-9]{4}|[0-9]{3,7})|"
    r"(?<=[A-Z])[A-Z]{0,2}-[0-9]{4,8}|[A-Z0-9]{2,4}-[A-Z0-9]{3,5}|[A-Z0-9]{4,9})"
    r"(?![\w%@]|[.,/:-]\w)",
    re.DOTALL,
)
# Letters alone are a word, and digits in uneven groups a phone number.
_CODE_LIKE = re.compile(
    r"\d+|\d{3}[- \u00a0]\d{3}|\d{4}[- \u00a0]\d{4}|(?=[A-Z-]*\d)(?=[0-9-]*[A-Z])[A-Z0-9-]+", re.ASCII
)
_MONEY_BEFORE = re.compile(r"(?:[$€£¥₹]|\b(?:USD|EUR|GBP|CHF|Fr)\.?)\s?$")
_MONEY_BEHIND = re.compile(r"\s?(?:[$€£¥₹]|(?:USD|EUR|GBP|CHF|euros?|dollars?)\b)", re.IGNORECASE)
_NUMBERED = re.compile(
    r"(?:order|invoice|ticket|tracking|ref(?:erence)?|customer|account|case|bestell\w*|rechnung\w*|kunden\w*|"
    r"auftrag\w*|commande|facture|pedido|ordine|number|nummer|numéro|phone|tel|telefon|fax|call|ext|suite|box|version|#|n[or°]\.?)[\s:.#°-]*$",
    re.IGNORECASE,
)
_DIGITS_BEFORE = re.compile(r"\d[ .()/-]{1,2}$|\(\s?$")
_DIGITS_BEHIND = re.compile(r"[ .()/-]{1,2}\d")
_STATE_BEFORE = re.compile(r"\b[A-Z]{2} $|\b[A-Z]{1,2}-$")
_TOWN_BEHIND = re.compile(r",? [A-ZÄÖÜ][a-zäöüß]{2,}")
_UNITS_BEHIND = re.compile(
    r" (?:minute|hour|day|second|stunde|tage|jour|heure|hora|people|user|point|street|st\b|ave|road|km|kg|mb)",
    re.IGNORECASE,
)
_LINKING = re.compile(
    r"[^\w\n]{0,3}(?:(?:is|ist|est|es|é|è|lautet|to|:|=|—|-)[\s:]{0,3}){0,2}[^\w\n]{0,3}\n{0,3}[ \t]*", re.IGNORECASE
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_URL_OR_ADDRESS = re.compile(r"https?://\S+|(?<![\w.+-])[\w.+-]{1,64}@[\w.-]{1,255}", re.IGNORECASE)

_REACH_AHEAD = 160
_REACH_BACK = 60


@dataclass(frozen=True, slots=True)
class _Found:
    code: str
    score: int


def find_codes(subject: str, text: str) -> list[str]:
    """Verification codes in a mail, the likeliest first, each once, at most MAX_CODES.

    A code is 4-8 digits, also grouped ("123 456" gives "123456"), or capitals and digits mixed ("G-482913", as
    written), near a word such as code, OTP or Bestätigungscode. Years, prices, phone, order and postal numbers are no
    codes.
    """
    looked_at = f"{subject[:1_000]}\n\n{text[:MAX_TEXT]}"
    if not _calls(looked_at):
        return []
    if "://" in looked_at or "@" in looked_at:
        looked_at = _URL_OR_ADDRESS.sub(" | ", looked_at)
    # Looking for the words that call for a code costs more than looking for one.
    candidates = [match for match in _CANDIDATE.finditer(looked_at) if _CODE_LIKE.fullmatch(match[0])]
    if not candidates:
        return []
    near = max(0, candidates[0].start() - 2 * _REACH_AHEAD), candidates[-1].end() + 2 * _REACH_BACK
    called = [match for match in _CALLED.finditer(_lowered(looked_at), *near) if _calls_for_code(match, looked_at)]
    if not called:
        return []
    starts = [match.start() for match in called]
    found = [one for match in candidates if (one := _judged(match, looked_at, called, starts))]
    found.sort(key=lambda one: -one.score)
    return list(dict.fromkeys(one.code for one in found))[:MAX_CODES]


def _calls(text: str) -> bool:
    """False only when no word in it calls for a code."""
    lowered = _lowered(text)
    return any(word in lowered for word in _CALLING)


def _lowered(text: str) -> str:
    """In lower case, each character in its place: İ alone would become two."""
    return text.replace("\u0130", "I").lower()


def _calls_for_code(match: re.Match[str], text: str) -> bool:
    if not _GENERIC.search(match[0]):
        return True
    start, end = match.span()
    return not (_OTHER_BEFORE.search(text[max(0, start - 24) : start]) or _OTHER_BEHIND.match(text, end, end + 20))


def _judged(match: re.Match[str], text: str, called: list[re.Match[str]], starts: list[int]) -> _Found | None:
    start, end = match.span()
    index = bisect_left(starts, start)
    ahead = called[index - 1] if index else None
    behind = called[index] if index < len(called) else None
    score = max(_score_after(ahead, start, text), _score_before(behind, end))
    alone = _stands_alone(text, start, end)
    named = ahead is not None and bool(_LINKING.fullmatch(text[ahead.end() : start][:40]))
    if not score or not _could_be_code(match[0], text, start, end, alone or named):
        return None
    return _Found(_normalised(match[0]), score + 60 * named + 40 * alone + 10 * (len(match[0]) == 6))


def _score_after(called: re.Match[str] | None, start: int, text: str) -> int:
    """The nearer behind a word that calls for a code, the better; a word of the wider sort counts less."""
    if called is None or start - called.end() > _REACH_AHEAD:
        return 0
    return 200 - (start - called.end()) - 20 * bool(_GENERIC.search(called[0]))


def _score_before(called: re.Match[str] | None, end: int) -> int:
    """ "482913 is your verification code"."""
    if called is None or called.start() - end > _REACH_BACK:
        return 0
    return 150 - (called.start() - end)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether the candidate has its line for itself."""
    before = text[max(0, start - 40) : start].rpartition("\n")
    behind = text[end : end + 40].partition("\n")
    return bool(before[1]) and not before[2].strip(" \t*>|") and not behind[0].strip(" \t*|.")


def _could_be_code(found: str, text: str, start: int, end: int, certain: bool) -> bool:
    before, behind = text[max(0, start - 24) : start], text[end : end + 24]
    if _MONEY_BEFORE.search(before) or _MONEY_BEHIND.match(behind) or _NUMBERED.search(before):
        return False
    if _DIGITS_BEFORE.search(before) or _DIGITS_BEHIND.match(behind):
        return False
    if certain:
        return True
    return not (_YEAR.fullmatch(found) or _is_postal(found, before, behind) or _UNITS_BEHIND.match(behind))


def _is_postal(found: str, before: str, behind: str) -> bool:
    return len(found) in (4, 5) and bool(_STATE_BEFORE.search(before) or _TOWN_BEHIND.match(behind))


def _normalised(found: str) -> str:
    joined = re.sub(r"[- \u00a0]", "", found)
    return joined if joined.isdigit() else found


# -- links ---------------------------------------------------------------------------------------------------------

_LINK = re.compile(r"""[hH][tT][tT][pP][sS]?://[^\s<>"'`|\\^{}\u00a0\u3000\u3001\u3002]+""")
_HREF = re.compile(r"""[hH][rR][eE][fF](?<!\w....)\s*+=\s*+(?:"([^"<>]*)"|'([^'<>]*)'|([^\s"'<>]+))""", re.DOTALL)


def find_links(text: str, html: str) -> list[str]:
    """http and https links of both bodies in order of appearance, text first, each once, at most MAX_LINKS."""
    found: dict[str, None] = {}
    for match in _LINK.finditer(text):
        _add(found, _trimmed(match[0]) if len(match[0]) <= MAX_LINK else "")
        if len(found) == MAX_LINKS:
            return list(found)
    for match in _HREF.finditer(html):
        _add(found, html_module.unescape(match[1] or match[2] or match[3] or "").strip())
        if len(found) == MAX_LINKS:
            break
    return list(found)


def _add(found: dict[str, None], link: str) -> None:
    if len(link) <= MAX_LINK and _LINK.fullmatch(link):
        found.setdefault(link)


def _trimmed(link: str) -> str:
    """Without the punctuation of the sentence around it; a closing bracket stays when the link opened it."""
    surplus = link.count(")") - link.count("(")
    while link and link[-1] in ".,;:!?)]*_":
        if link[-1] == ")" and surplus <= 0:
            break
        surplus -= link[-1] == ")"
        link = link[:-1]
    return link


# -- preview -------------------------------------------------------------------------------------------------------

# Newsletters fill the space behind their first words with these, so that nothing else shows.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u034f\u061c\u115f\u200b\u200c\u200d\u200e\u200f\u2060\u2800\ufeff"), None)


def make_preview(text: str) -> str:
    """The first PREVIEW characters of a text on one line, whitespace folded, invisible characters left out."""
    beginning = text.lstrip()[: 20 * PREVIEW]
    visible = beginning if beginning.isascii() else beginning.translate(_INVISIBLE)
    return " ".join(visible.split())[:PREVIEW].rstrip()
