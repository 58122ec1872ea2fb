"""Codes in what mail servers say: replies (RFC 5321), statuses (RFC 3463 and IANA's list) and the commands that they answer.

Where a report has no status, one of ours is given that tells the reason, with 0.9xx as its detail (a convention of Sisimai's, so
that two readers of reports can be compared): 5.0.911 for userunknown.
"""

import re

COMMANDS = "HELO EHLO MAIL RCPT DATA QUIT RSET NOOP VRFY ETRN EXPN HELP AUTH STARTTLS XFORWARD CONN".split()
_FOUND_IN_ORDER = (
    *("HELO", "EHLO", "STARTTLS", "AUTH PLAIN", "AUTH LOGIN", "AUTH CRAM-", "AUTH DIGEST-"),
    *("MAIL F", "RCPT", "RCPT T", "DATA", "QUIT", "XFORWARD"),
)
_REPLIES = {
    "5": "550 552 553 551 521 525 502 520 523 524 530 533 534 535 538 551 555 556 554 557 500 501 502 503 504".split(),
    "4": "421 450 451 452 422 430 432 453 454 455 456 458 459".split(),
    "2": "211 214 220 221 235 250 251 252 253 354".split(),
}
_STATUS = re.compile(r"(?<![./0-9vV])([245])\.([0-7])\.(\d{1,3})(?!\d)")
_ADDRESS4 = re.compile(r"(?<![\d.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\d.])")

REASON_OF = {
    "2.1.5": "delivered",
    **dict.fromkeys(("4.1.6", "5.1.6", "5.7.17", "5.7.18"), "hasmoved"),
    **dict.fromkeys(("4.1.7", "4.1.8", "5.1.7", "5.1.8"), "rejected"),
    **dict.fromkeys(("4.1.9", "5.1.9", "4.3.3", "4.3.5", "5.3.0", "5.3.3", "5.3.5", "4.4.3", "5.4.3"), "systemerror"),
    **dict.fromkeys(("4.5.3", "4.5.5", "5.5.4", "5.5.5"), "systemerror"),
    **dict.fromkeys(("4.2.1", "5.7.13"), "suspend"),
    **dict.fromkeys(("4.2.2", "5.2.2"), "mailboxfull"),
    **dict.fromkeys(("4.2.3", "5.2.3"), "exceedlimit"),
    **dict.fromkeys(("4.2.4", "5.2.4", "5.1.4", "5.2.0", "5.2.1"), "filtered"),
    **dict.fromkeys(("4.3.1", "5.3.1", "4.4.5"), "systemfull"),
    **dict.fromkeys(("4.3.2", "5.3.2", "5.1.10", "5.7.27"), "notaccept"),
    **dict.fromkeys(("4.4.1", "4.4.7"), "expired"),
    **dict.fromkeys(("4.4.2", "4.4.4", "4.4.6", "4.4.8", "5.4.0"), "networkerror"),
    **dict.fromkeys(("4.6.0", "4.6.2", "4.6.5", *(f"5.6.{n}" for n in (0, 1, 2, 3, 5, 6, 7, 8, 9))), "contenterror"),
    **dict.fromkeys(("4.7.1", "4.7.2"), "blocked"),
    **dict.fromkeys((f"4.7.{n}" for n in (5, 6, 7, 12, 15)), "securityerror"),
    **dict.fromkeys((f"5.7.{n}" for n in (*range(12), 14, 15, 19, 30)), "securityerror"),
    **dict.fromkeys(("4.7.16", "5.7.16", "5.3.4"), "mesgtoobig"),
    **dict.fromkeys(("4.7.24", *(f"5.7.{n}" for n in (20, 21, 22, 23, 24, 26, 29))), "authfailure"),
    **dict.fromkeys(("4.7.25", "5.7.25"), "requireptr"),
    **dict.fromkeys(("5.1.0", "5.1.1", "5.1.3"), "userunknown"),
    **dict.fromkeys(("5.1.2", "5.4.4"), "hostunknown"),
    **dict.fromkeys(("5.5.2", "5.5.6"), "syntaxerror"),
    "5.5.3": "toomanyconn",
    "5.7.28": "spamdetected",
}

_DETAIL_OF_REASON = {
    "authfailure": 972, "badreputation": 975, "blocked": 971, "contenterror": 960, "exceedlimit": 923, "expired": 947,
    "filtered": 910, "hasmoved": 916, "hostunknown": 912, "mailboxfull": 922, "mailererror": 939, "mesgtoobig": 934,
    "networkerror": 944, "norelaying": 909, "notaccept": 932, "notcompliantrfc": 974, "onhold": 901, "policyviolation": 972,
    "rejected": 918, "requireptr": 973, "securityerror": 970, "spamdetected": 980, "speeding": 946, "suspend": 921,
    "systemerror": 930, "systemfull": 931, "syntaxerror": 902, "toomanyconn": 945, "userunknown": 911, "undefined": 900,
    "virusdetected": 971,
}  # fmt: skip
_MAY_PASS = {"filtered": 924} | {
    reason: _DETAIL_OF_REASON[reason]
    for reason in (
        "authfailure badreputation blocked contenterror expired mailboxfull networkerror notaccept notcompliantrfc onhold rejected"
        " requireptr securityerror spamdetected speeding systemerror systemfull toomanyconn undefined"
    ).split()
}


def own_status(reason: str, temporary: bool = False) -> str:
    """A status of ours for a reason; nothing for a reason that is no failure."""
    if temporary and reason in _MAY_PASS:
        return f"4.0.{_MAY_PASS[reason]}"
    return f"5.0.{_DETAIL_OF_REASON[reason]}" if reason in _DETAIL_OF_REASON else ""


def is_status(text: str) -> bool:
    if not 5 <= len(text) <= 7:
        return False
    pieces = text.split(".")
    if len(pieces) != 3 or not all(piece.isascii() and piece.isdigit() for piece in pieces):
        return False
    return pieces[0] in ("2", "4", "5") and int(pieces[1]) <= 7


def reason_of(status: str) -> str:
    return REASON_OF.get(status, "") if is_status(status) else ""


def find_status(text: str, class_of: str = "") -> str:
    """The first status in the text, of the class of `class_of` if that has one; what says little (X.0.0, 4.4.7) is the last choice."""
    if len(text) < 7:
        return ""
    wanted = class_of[:1]
    vague = ""
    for match in _STATUS.finditer(_ADDRESS4.sub("*", text)):
        if wanted in ("2", "4", "5") and match[1] != wanted:
            continue
        status = match[0]
        if f"{match[2]}.{match[3][0]}" == "0.0" or status[:5] == "4.4.7":
            vague = status[:5]
            continue
        return status
    return vague


def find_reply(text: str, class_of: str = "") -> str:
    """The code that a server answered with, as the text tells it: of the class of `class_of` if that has one, refusals before others."""
    if len(text) < 3 or "X-UNIX" in text.upper():
        return ""
    wanted = class_of[:1]
    known = _REPLIES[wanted] if wanted in _REPLIES else [*_REPLIES["5"], *_REPLIES["4"], *_REPLIES["2"]]
    first = _first_standings(text)
    return next((code for code in known if code in first), "")


def _first_standings(text: str) -> set[str]:
    """Codes whose first mention in the text stands by itself, and is no piece of a longer number."""
    seen: dict[str, bool] = {}
    padded = f" {text} "
    for match in re.finditer(r"(?=([245][0-5][0-9]))", padded):
        code, start = match[1], match.start()
        if code not in seen:
            before, behind = padded[start - 1], padded[start + 3]
            seen[code] = not ("." <= before <= "9") and not ("." <= behind <= "9")
    return {code for code, alone in seen.items() if alone}


def is_reply(text: str) -> bool:
    if len(text) < 3 or not text[:3].isdigit():
        return False
    reply = int(text[:3])
    if not 211 <= reply <= 557 or reply % 100 > 59:
        return False
    if reply < 300:
        return reply == 235 or (reply <= 253 and not 221 < reply < 250)
    return reply == 354 if reply < 400 else True


def is_command(text: str) -> bool:
    return len(text) >= 4 and any(command in text for command in COMMANDS)


def find_command(text: str) -> str:
    """The last SMTP command that the text names."""
    if not is_command(text):
        return ""
    found: list[str] = []
    position = 0
    for command in _FOUND_IN_ORDER:
        start = text.find(command, position)
        if start < 0:
            continue
        position = start
        name = {"STAR": "STARTTLS", "XFOR": "XFORWARD"}.get(text[start : start + 4], text[start : start + 4])
        if name[:4] not in [other[:4] for other in found]:
            found.append(name)
    return found[-1] if found else ""


def better_status(told: str, in_text: str, reply: str = "") -> str:
    """Which of two tells more: the status in its own field, or the one in the server's words."""
    if len(told) < 5:
        return in_text
    if len(in_text) < 5 or told == in_text:
        return told
    if reply[:1].isdigit() and told[0] != in_text[0]:
        if reply[0] == told[0]:
            return told
        if reply[0] == in_text[0]:
            return in_text
    return _more_exact(told, in_text)


def _more_exact(told: str, in_text: str) -> str:
    if ".0.0" in told:
        return told if ".0.0" in in_text else in_text
    if ".0" in told and ".0" not in in_text:
        return in_text
    if ".0.0" in in_text:
        return told
    if told == "4.4.7" or told.startswith("5.3."):
        return in_text
    if told == "5.1.1":
        return told if ".0" in in_text else in_text
    if told == "5.1.3" and in_text.startswith("5.7."):
        return in_text
    return told


def is_permanent(text: str) -> bool:
    code = find_status(text) or find_reply(text)
    return code.startswith("5") or " permanent " in text.lower()


def is_temporary(text: str) -> bool:
    code = find_status(text) or find_reply(text)
    return code.startswith("4") or any(word in text.lower() for word in (" temporar", " persistent"))
