"""The links of an HTML page, found without changing anything else of it. One pass, linear in its length whatever it holds.

Source: the tokenization of HTML (html.spec.whatwg.org, 13.2.5), as much of it as finds start tags.
"""

import html
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_BEGINS = re.compile(r"<(?:!--|(?=[a-zA-Z]))")
_NAME = re.compile(r"[a-zA-Z][^\s/>]*")
_ATTRIBUTE = re.compile(r"""[\s/]*([^\s/>=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)))?""")
_END_OF_TAG = re.compile(r"[\s/]*>")
_VALUE_BEGINS = re.compile(r"""\s*=\s*["']""")
_RAW_TEXT = {name: re.compile(rf"</{name}", re.IGNORECASE) for name in ("script", "style", "textarea", "title", "xmp")}
_LINKING = frozenset({"a", "area"})
NO_TRACK = "data-no-track"


class Link(NamedTuple):
    """`start` and `end` enclose the value of href as it stands in the page, quotes and all."""

    start: int
    end: int
    url: str


def replaced(page: str, instead: Callable[[str], str | None]) -> str:
    """The page with other links, where `instead` gives one: URLs that need no escaping. Everything else is as it was."""
    pieces, position = [], 0
    for link in found_in(page):
        if new := instead(link.url):
            pieces += [page[position : link.start], f'"{new}"']
            position = link.end
    return "".join([*pieces, page[position:]])


def found_in(page: str) -> Iterator[Link]:
    position = 0
    while begun := _BEGINS.search(page, position):
        name = _NAME.match(page, begun.end())
        if begun[0] == "<!--" or name is None:
            position = page.find("-->", begun.end())
            if position < 0:
                return
            continue
        position, link, is_whole = _rest_of_tag(page, name.end())
        if not is_whole:
            return
        tag = name[0].lower()
        if link and tag in _LINKING:
            yield link
        if raw_text := _RAW_TEXT.get(tag):
            end = raw_text.search(page, position)
            if end is None:
                return
            position = end.start()


def _rest_of_tag(page: str, position: int) -> tuple[int, Link | None, bool]:
    """Where the tag ends, its href unless it is not to be tracked, and whether the tag ends at all."""
    link, is_tracked = None, True
    while not (end := _END_OF_TAG.match(page, position)):
        attribute = _ATTRIBUTE.match(page, position)
        if attribute is None:  # a stray `=`, or the end of the page
            position = page.find(">", position) + 1
            return position, None, position > 0
        if _VALUE_BEGINS.match(page, attribute.end()):  # nothing closes this quote: it reaches to the end of the page
            return position, None, False
        name, position = attribute[1].lower(), attribute.end()
        if name == "href" and link is None:
            link = _link(attribute)
        is_tracked = is_tracked and name != NO_TRACK
    return end.end(), link if is_tracked else None, True


def _link(attribute: re.Match[str]) -> Link | None:
    for group in (2, 3, 4):
        if attribute[group] is not None:
            start, end = attribute.span(group)
            quotes = 0 if group == 4 else 1
            return Link(start - quotes, end + quotes, html.unescape(attribute[group]).strip())
    return None
