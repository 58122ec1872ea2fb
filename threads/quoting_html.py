"""The new part of an HTML reply, safe to show: quotes cut by the marks that mail programs leave, then sanitised."""

from __future__ import annotations

import html
import re
from contextlib import suppress
from itertools import islice

import nh3
from lxml import etree
from lxml import html as lxml_html

MAX_HTML = 300_000
MAX_ANNOUNCEMENT = 300

# How an older mail is headed, in the languages of the mail programs that do not mark quotes.
HEADER_WORDS = (
    "From|Sent|To|Subject|Date|Cc|Reply-To|Von|Gesendet|An|Betreff|Datum|Kopie|De|Envoyé|À|Objet|Enviado|Para|Asunto|"
    "Fecha|Assunto|Data|Da|Inviato|A|Oggetto|Van|Verzonden|Aan|Onderwerp|Od|Wysłano|Do|Temat|Odesláno|Komu|Předmět|"
    "Från|Skickat|Till|Ämne|Fra|Sendt|Til|Emne|От|Отправлено|Кому|Дата|Тема|发件人|发送时间|收件人|主题|差出人|送信日時|宛先|件名|"
    "보낸 사람|보낸 날짜|받는 사람|제목"
)
_QUOTE_CLASSES = {
    "gmail_quote", "gmail_quote_container", "gmail_signature", "gmail_attr", "yahoo_quoted", "moz-cite-prefix",
    "moz-signature", "protonmail_quote", "tutanota_quote", "zmail_extra", "OutlookMessageHeader", "WordSectionQuote",
    "AppleMailSignature", "protonmail_signature_block",
}  # fmt: skip
_QUOTE_IDS = {"OLK_SRC_BODY_SECTION", "mail-editor-reference-message-container", "AppleMailSignature", "Signature"}
# From these marks on, all that follows is the older mail.
_CUT_IDS = {"divRplyFwdMsg", "appendonsend", "stopSpelling", "zwchr", "replySplit", "isForwardContent", "reply-intro"}
_HEADER_BORDER = re.compile(r"border-top:\s*solid", re.IGNORECASE)
_HEADER_TEXT = re.compile(rf"\s*(?:{HEADER_WORDS})\s?[:：]|\s*-{{3,}} ?[^-]{{3,60}}-{{3,}}\s*$")
_HEADER_WORD = re.compile(rf"\b(?:{HEADER_WORDS})\s?[:：]")
# What the steps below look for has one of these in it. Most mails have none, and building a tree is most of the cost.
_SIGNS = ("blockquote", "border-top", *(name.lower() for name in sorted(_QUOTE_CLASSES | _QUOTE_IDS | _CUT_IDS)))
# Begins with a plain character, which is what makes the search quick.
_SIGN_AT_START = re.compile(rf">\s*(?:--|>|&gt;|(?:{HEADER_WORDS})(?:\s|&nbsp;|&#160;)?[:：])")
_MANY_TAGS = 3000
_MAX_LOOKS = 50
_SCHEMES = {"http", "https", "mailto", "tel", "cid"}


def extract_new_html(body_html: str) -> str:
    """The new part of an HTML body, sanitised: no scripts, styles, forms, no remote content but images and links.

    Only the first MAX_HTML characters are looked at. Never raises.
    """
    if not body_html.strip():
        return ""
    page = body_html[:MAX_HTML].replace("\x00", "\ufffd")
    # lxml raises on some of what mail calls HTML; its quotes are then shown, sanitised all the same.
    with suppress(Exception):
        page = _without_quotes(page) if _may_hold_older_words(page) else page
    try:
        return _trimmed(sanitised(page))
    except Exception:
        return html.escape(page)


def sanitised(page: str) -> str:
    """HTML that runs nothing: no scripts, styles, forms; links to the web, to mail and to the images that come with it."""
    return nh3.clean(page, url_schemes=_SCHEMES)


def _may_hold_older_words(page: str) -> bool:
    """False only when no step below could cut anything.

    A page of very many tags counts as one that may: lxml bounds its depth, on which the sanitiser's time depends squarely.
    """
    lowered = page.lower()
    return (
        page.count("<") > _MANY_TAGS
        or any(sign in lowered for sign in _SIGNS)
        or _SIGN_AT_START.search(page) is not None
    )


def _trimmed(page: str) -> str:
    """Without the empty lines at the end, where the quote stood."""
    end = len(page.rstrip())
    while page.endswith("<br>", 0, end):
        end -= len("<br>")
        while end and page[end - 1].isspace():
            end -= 1
    return page[:end].strip()


def _without_quotes(page: str) -> str:
    # A declaration of a charset no longer holds once the page is text, and lxml refuses it.
    root = lxml_html.document_fromstring(re.sub(r"^\s*<\?xml[^>]*>", "", page))
    body = root.find("body")
    if body is None:
        return page
    _cut_quotes(body)
    return str(etree.tostring(body, encoding="unicode", method="html"))


def _cut_quotes(body: etree._Element) -> None:
    words_seen = bool((body.text or "").strip())
    looks = 0
    for element in list(body.iter(etree.Element)):
        if element is body or not _is_attached(element, body):
            continue
        looks += _may_start_older_mail(element)
        # A forwarded mail without words of its own is kept.
        if words_seen and looks <= _MAX_LOOKS and _starts_older_mail(element):
            _cut_from(element, body)
            return
        if _is_quote(element):
            _drop_announcement(element)
            _drop(element)
            continue
        if element.tag in ("br", "div", "p") and (element.tail or "").lstrip().startswith(
            ">"
        ):  # quoted as plain text, with a mark on each line
            element.tail = None
        words_seen = words_seen or bool((element.text or "").strip() or (element.tail or "").strip())


def _is_attached(element: etree._Element, body: etree._Element) -> bool:
    """Whether no ancestor was cut before. Depth is bounded by libxml2, at 256."""
    return element.getparent() is not None and (element.getparent() is body or body in element.iterancestors())


def _is_quote(element: etree._Element) -> bool:
    if set(element.get("class", "").split()) & _QUOTE_CLASSES or element.get("id", "") in _QUOTE_IDS:
        return True
    if element.tag != "blockquote":
        return False
    return element.get("type") == "cite" or bool(element.get("cite")) or _announcement_before(element) is not None


def _may_start_older_mail(element: etree._Element) -> bool:
    return bool(element.text) and bool(_HEADER_TEXT.match(element.text or ""))


def _starts_older_mail(element: etree._Element) -> bool:
    if element.get("id", "").removeprefix("x_") in _CUT_IDS or _is_signature_mark(element):
        return True
    if element.tag == "div" and _HEADER_BORDER.search(element.get("style", "")[:500]):
        return bool(_HEADER_TEXT.match("".join(map(str, islice(element.itertext(), 5)))))
    if not _may_start_older_mail(element):
        return False
    return len(set(_HEADER_WORD.findall(_text_around(element)))) >= 3


def _is_signature_mark(element: etree._Element) -> bool:
    """ "-- " alone on its line (RFC 3676 section 4.3), in a block or behind a break."""
    if element.tag == "br":
        following = element.getnext()
        return (element.tail or "").strip() == "--" and (following is None or following.tag in ("br", "div", "p"))
    return element.tag in ("div", "p", "span") and len(element) == 0 and (element.text or "").strip() == "--"


def _text_around(element: etree._Element) -> str:
    """A bounded amount of text from `element` on, out of its own block and those around it."""
    pieces: list[str] = []
    node: etree._Element | None = element
    for _ in range(4):
        if node is None:
            break
        for near in (node, *islice(node.itersiblings(), 12)):
            pieces += [*map(str, islice(near.itertext(), 30)), near.tail or "", "\n"]
        node = node.getparent()
    return "\n".join(piece[:200] for piece in pieces)


def _cut_from(element: etree._Element, body: etree._Element) -> None:
    """Drop `element` and all that follows it in the document."""
    current = element
    while current is not body:
        parent = current.getparent()
        if parent is None:
            return
        following = list(current.itersiblings())
        current.tail = None
        for sibling in following:
            parent.remove(sibling)
        if current is element:
            parent.remove(current)
        current = parent


def _drop(element: etree._Element) -> None:
    """Remove an element but not the text behind it."""
    parent, tail = element.getparent(), element.tail
    if parent is None:
        return
    before = element.getprevious()
    if tail and before is not None:
        before.tail = (before.tail or "") + tail
    elif tail:
        parent.text = (parent.text or "") + tail
    element.tail = None
    parent.remove(element)


def _announcement_before(quote: etree._Element) -> tuple[etree._Element, str] | None:
    """Where "On Monday Ann wrote:" stands before a quote: an element, and whether it is in its "text" or "tail"."""
    before = quote.getprevious()
    while before is not None and before.tag == "br" and not (before.tail or "").strip():
        before = before.getprevious()
    if before is None:
        return None
    if (before.tail or "").strip():
        return (before, "tail") if _announces(before.tail or "") else None
    text = "".join(map(str, before.itertext()))
    return (before, "text") if len(text) < MAX_ANNOUNCEMENT and _announces(text) else None


def _announces(text: str) -> bool:
    text = text.strip()
    return len(text) < MAX_ANNOUNCEMENT and text.endswith(":") and bool(re.search(r"[@>\d]|wrote|schrieb|écrit", text))


def _drop_announcement(quote: etree._Element) -> None:
    found = _announcement_before(quote)
    if found is None:
        return
    element, place = found
    if place == "tail":
        element.tail = None
    elif breaks := list(element.iter("br")):  # words of the sender, and the announcement on the last line
        _cut_from(breaks[-1], element)
    else:
        _drop(element)
