"""The new words of a reply: without what it quotes and without its signature. Nothing here raises.

mail-parser-reply knows how a dozen languages announce a quote, but takes 2 ms on any mail and minutes on some. So it
only judges the few lines that could be such an announcement; finding them, and cutting, is linear and ours.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mailparser_reply import EmailReplyParser
from mailparser_reply.constants import MAIL_LANGUAGES

from threads.quoting_html import HEADER_WORDS, MAX_ANNOUNCEMENT, extract_new_html

__all__ = ["MAX_TEXT", "extract_new_html", "extract_new_text"]

MAX_TEXT = 200_000

_parser = EmailReplyParser(languages=[name for name in MAIL_LANGUAGES if name != "david"])

_HEADER_LINE = re.compile(rf"[*_> ]*(?:{HEADER_WORDS})[* ]?[:：]")
_BANNER = re.compile(
    r"(?:-{2,}|_{2,}) ?[^-_\n]{3,60}? ?(?:-{2,}|_{2,})|[_-]{20,}|Begin forwarded message:", re.IGNORECASE
)
_SIGNATURE = re.compile(r"(?:--|__|—) ?")
_SENT_FROM = re.compile(
    r"(?:sent (?:from|with|via|using) |get outlook for |gesendet (?:von|mit) |von meinem .{1,30} gesendet|"
    r"envoyé (?:de|depuis|avec) |enviado (?:desde|do|de|a partir) |inviato da|verzonden (?:vanaf|met|vanuit) |"
    r"verstuurd vanaf |skickat från |sendt fra |wysłane z |odesláno z |отправлено (?:с|из) |发自我的|.{1,20}から送信)",
    re.IGNORECASE,
)
# What the steps below look for has one of these in it. Most mails have none, and plain searches are done in microseconds.
_SIGNS = (
    *(":", "：", "--", "__", "—", ">"),
    *("sent ", "outlook for", "gesendet", "envoyé", "enviado", "inviato", "verzonden", "verstuurd", "skickat"),
    *("sendt", "wysłane", "odesláno", "отправлено", "发自我的", "送信"),
)
_HEAD_LINES = 9  # five fields, with an empty line behind each as some mail programs have it
_MAX_LOOKS = 50  # a mail of nothing but lines that could announce a quote would otherwise take minutes
_MAX_SENT_FROM_WORDS = 8
_MAX_FOOTER_LINES = 5
_FOOTER = re.compile(r"[_-]{20,}")


def extract_new_text(body_text: str) -> str:
    """What the sender wrote anew: no quotes, nothing below the announcement of an unmarked quote, no signature.

    Answers between quoted lines are kept, in order. A forwarded mail without words of its own is kept whole. Only the
    first MAX_TEXT characters are looked at.
    """
    text = body_text[:MAX_TEXT].replace("\r\n", "\n")
    kept = [line.strip() for line in text.split("\n")]
    if _may_hold_older_words(text):
        kept = _without_signature(_without_quotes(kept))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def _may_hold_older_words(text: str) -> bool:
    """False only when no step below could cut anything."""
    searched = text.replace("://", "").lower()
    return any(sign in searched for sign in _SIGNS)


def _without_quotes(lines: list[str]) -> list[str]:
    kept: list[str] = []
    forwarded_head, looks = -1, 0
    for number, line in enumerate(lines):
        if line.startswith(">"):
            continue
        if number > forwarded_head and _starts_unmarked_quote(lines, number):
            if any(kept):
                break
            forwarded_head = number + _HEAD_LINES
        if not line.endswith((":", "：")):
            kept.append(line)
            continue
        looks += _may_announce(lines, number)
        if looks <= _MAX_LOOKS and (width := _announcement_width(lines, number)):
            del kept[len(kept) - (width - 1) :]
            if not _quote_follows(lines, number) and any(kept):
                break
            continue
        kept.append(line)
    return kept


def _starts_unmarked_quote(lines: list[str], number: int) -> bool:
    """Whether the header of an older mail stands here, as Outlook and forwards show it, with or without a banner."""
    line = lines[number]
    if _BANNER.fullmatch(line):
        return _has_header_lines(lines, number + 1)
    return bool(_HEADER_LINE.match(line)) and _has_header_lines(lines, number)


def _has_header_lines(lines: list[str], number: int) -> bool:
    following = [line for line in lines[number : number + _HEAD_LINES] if line][:5]
    return bool(following) and sum(bool(_HEADER_LINE.match(line)) for line in following) >= 3 - (len(following) < 4)


def _quote_follows(lines: list[str], number: int) -> bool:
    return next((line.startswith(">") for line in lines[number + 1 : number + 4] if line), False)


def _may_announce(lines: list[str], number: int) -> bool:
    """Whether the parser of announcements, which is slow, would have to look at this line."""
    return any(_LOOKS_ANNOUNCING.match(line) for line in lines[max(0, number - 2) : number + 1])


def _announcement_width(lines: list[str], number: int) -> int:
    """How many lines, up to this one, announce a quote ("On Monday Ann wrote:"); 0 when this line does not."""
    on_quote = _quote_follows(lines, number)
    for width in (1, 2, 3):
        first = number - width + 1
        if first < 0 or not lines[first] or lines[first].startswith(">"):
            break
        text = "\n".join(lines[first : number + 1])
        # "On Monday I wrote:" above words that are not marked as a quote is prose.
        if len(text) <= MAX_ANNOUNCEMENT and (on_quote or re.search(r"[@\d]", text)) and _announces(text):
            return width
    if not on_quote or len(lines[number]) > MAX_ANNOUNCEMENT:
        return 0
    # Whatever its language, a line that ends in a colon, names a mailbox or a date and stands on a quote.
    return 2 if _continues_announcement(lines, number) else int(bool(re.search(r"@|\d", lines[number])))


def _continues_announcement(lines: list[str], number: int) -> bool:
    return number > 0 and bool(re.search(r"\d", lines[number - 1])) and lines[number - 1].endswith(("<", ",", ">"))


# One candidate is judged up to three times, and every mail of a thread has the same ones.
@lru_cache(maxsize=512)
def _announces(text: str) -> bool:
    if not _LOOKS_ANNOUNCING.match(text):
        return False
    replies = _parser.read(f"x\n\n{text}").replies
    return len(replies) == 2 and str(replies[1].headers).strip() == text


# How the languages of mail-parser-reply begin an announcement.
_LOOKS_ANNOUNCING = re.compile(
    r"(?:On|Am|Dne|Den|El|Le|Il|Op|Dnia|[Mm][aå]n|[Tt]i[rs]|[Oo]ns|[Tt]or|[Ff]re|[LlSs][øö][rn])\s|\d"
)


def _without_signature(lines: list[str]) -> list[str]:
    for number, line in enumerate(lines):
        if _SIGNATURE.fullmatch(line) and any(lines[:number]):
            return lines[:number]
        if (_is_sent_from(line) or _FOOTER.fullmatch(line)) and _is_short(lines[number + 1 :]):
            return lines[:number]
    return lines


def _is_short(footer: list[str]) -> bool:
    """Device lines and mailing list footers are short; what is long is the mail going on."""
    return len(footer) < 50 and sum(bool(line) for line in footer) <= _MAX_FOOTER_LINES


def _is_sent_from(line: str) -> bool:
    """ "Sent from my iPhone", but not a sentence that begins with these words."""
    plain = line.strip("*_ ")
    if len(plain) > 120 or not _SENT_FROM.match(plain):
        return False
    return len(plain.split()) <= _MAX_SENT_FROM_WORDS and not re.search(r"[,;!?]|\.$", plain)
