"""Addresses in running text."""

import re

_ATOM = r"[a-zA-Z0-9_!#$%&'*+/=?^`{}~|\-]+"
_ADDRESS = re.compile(rf'(?:{_ATOM}(?:\.{_ATOM})*\.*|"[^"\r\n]*")@(?:{_ATOM}(?:\.{_ATOM})*|\[[^\[\]\s]*\])')
_QUOTED_LOCAL = re.compile(r'"[^"\n]{1,100}"@[^@\s]+')
_COMMENT = re.compile(r"\([^()]*\)")
_DAEMONS = (
    "mailer-daemon@",
    "<mailer-daemon>",
    "(mailer-daemon)",
    " mailer-daemon ",
    "postmaster@",
    "<postmaster>",
    "(postmaster)",
)
MAX_ADDRESS = 254
MAX_TEXT = 4000  # of a line in which an address is looked for


def is_address(text: str) -> bool:
    return len(text) <= MAX_ADDRESS and _ADDRESS.fullmatch(text) is not None


def is_daemon(text: str) -> bool:
    small = text.lower()
    return small in ("mailer-daemon", "postmaster") or any(name in small for name in _DAEMONS)


def first_address(text: str) -> str:
    """The first address in the text, without brackets, name and comment; the text itself when there is none."""
    return find_address(text) or text


def find_address(text: str) -> str:
    """The same, or nothing."""
    text = text[:MAX_TEXT].replace("\r", "").replace("\n", "")
    start = text.find("<")
    found = text[start : text.find(">", start) + 1 or len(text)] if start >= 0 else _in_words(_COMMENT.sub("", text))
    if not found.isascii() or not found.isprintable() or ("@" not in found and not is_daemon(found)):
        return ""
    return _cleaned(found)


def _in_words(text: str) -> str:
    if '"@' in text and (quoted := _QUOTED_LOCAL.search(text)):
        return quoted[0]
    for word in text.split():
        local, at, host = word.rpartition("@")
        if at and local and host:
            return word
    return text.strip() if is_daemon(text) else ""


def _cleaned(found: str) -> str:
    found = re.sub(r"\A[\[<{('`]", "", found)
    found = re.sub(r"[.,'`>});]\Z", "", found)
    if "@[" not in found:
        found = re.sub(r"[^A-Za-z]\Z", "", found)
    if not re.match(r'\A".+"@', found):
        found = found.removeprefix('"').removesuffix('"')
    return found


def whole_address(text: str) -> str:
    """The address that a report names as its recipient, or nothing when it is none."""
    local, at, host = text.rpartition("@")
    if not at or not local or not host or (re.search(r"\s", local) and not re.fullmatch(r'".+"', local)):
        return text if is_daemon(text) and " " not in text else ""
    return f"{local.lstrip('<')}@{host.rstrip('>,.;').rstrip('>,.;')}"
