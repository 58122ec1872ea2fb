"""Hosts of recipients whose words have a meaning of their own, known by the name of the server that spoke, or the recipient's domain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from delivery.inbound.reports import receiver_codes as codes
from delivery.inbound.reports import receiver_words as words
from delivery.inbound.reports.codes import is_reply, is_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from delivery.inbound.reports.reasons import Case

_AUP = re.compile(r"AUP#([0-9A-Z]+)")
_AUP_NUMBER = re.compile(r"AUP#[-A-Za-z]{0,20}(\d{4})")
_FRENCH = re.compile(r"\b(?:LPN|LPNAAA|OFR|OUK)(?:_([0-9]{3})|[0-9]{3}[-_]([0-9]{3}))\b", re.IGNORECASE)


def what_receiver_means(case: Case) -> str:
    """The reason in this host's own sense; nothing when the host is none of them, or says what it has no table for."""
    if not case.diagnosis:
        return ""
    rhost, domain = case.rhost.lower(), case.host.lower()
    for names, meaning in _RECEIVERS:
        if (rhost and rhost.endswith(names)) or (domain and any(name.endswith(domain) for name in names)):
            return meaning(case)
    return ""


def _by_words(table: words.Words, said: str) -> str:
    return next((reason for reason, phrases in table.items() if any(phrase in said for phrase in phrases)), "")


def _worded(table: words.Words) -> Callable[[Case], str]:
    return lambda case: _by_words(table, case.said)


def _cox(case: Case) -> str:
    match = _AUP.search(case.diagnosis)
    return (words.COX_CODES.get(match[1], "") if match else "") or _by_words(words.COX, case.said)


def _france(case: Case) -> str:
    if match := _FRENCH.search(case.diagnosis):
        return words.FRANCE_CODES.get(match[1] or match[2], "undefined")
    return _by_words(words.FRANCE, case.said)


def _godaddy(case: Case) -> str:
    code = case.diagnosis.partition(" IB")[2][:3]
    return words.GODADDY_CODES.get(f"IB{code}", "") or _by_words(words.GODADDY, case.said)


def _google(case: Case) -> str:
    if not is_reply(case.reply) or not is_status(case.status):
        return ""
    reply, status, said = case.reply[1:], case.status[2:], case.said
    for reason, rows in codes.GOOGLE.items():
        if any(words in said and code[0].endswith(reply) and code[1].endswith(status) for *code, words in rows):
            return reason
    return ""


def _iua(case: Case) -> str:
    if case.reason:
        return case.reason
    match = re.search(r"\.i\.ua/err/(\d{1,2})", case.said)
    return words.IUA_CODES.get(match[1], "") if match else ""


def _microsoft(case: Case) -> str:
    if not is_status(case.status):
        return ""
    said = case.said
    for reason, rows in codes.MICROSOFT.items():
        if any(_is_in(case.status, wanted) and words in said for wanted, words in rows):
            return reason
    return ""


def _is_in(status: str, wanted: str) -> bool:
    group, dash, last = wanted.partition("-")
    if not dash:
        return status == wanted
    group, _, first = group.rpartition(".")
    return status.startswith(f"{group}.") and int(first) <= int(status.rpartition(".")[2]) <= int(last)


def _mimecast(case: Case) -> str:
    said = case.said
    for reason, rows in codes.MIMECAST.items():
        if is_reply(case.reply) and any(case.reply == reply and words in said for reply, words in rows):
            return reason
    return ""


def _docomo(case: Case) -> str:
    if case.status in ("5.1.1", "5.0.911"):
        return "userunknown"
    if case.status == "5.2.0":
        return "filtered"
    if reason := _by_words(words.DOCOMO, case.said):
        return reason
    return {"RCPT": "userunknown", "DATA": "rejected"}.get(case.command, "") if case.status == "5.0.0" else ""


def _spectrum(case: Case) -> str:
    match = _AUP_NUMBER.search(case.diagnosis)
    number = int(match[1]) if match else 0
    return next((reason for first, last, reason in words.SPECTRUM_CODES if first <= number <= last), "")


_RECEIVERS: tuple[tuple[tuple[str, ...], Callable[[Case], str]], ...] = (
    ((".mail.icloud.com", ".apple.com", ".me.com"), _worded(words.APPLE)),
    (("cox.net",), _cox),
    ((".laposte.net", ".orange.fr", ".wanadoo.fr"), _france),
    (("smtp.secureserver.net", "mailstore1.secureserver.net"), _godaddy),
    (("aspmx.l.google.com", "gmail-smtp-in.l.google.com"), _google),
    ((".email.ua",), _iua),
    ((".ezweb.ne.jp", "msmx.au.com"), _worded(words.KDDI)),
    ((".prod.outlook.com", ".protection.outlook.com"), _microsoft),
    ((".mimecast.com",), _mimecast),
    (("mfsmax.docomo.ne.jp",), _docomo),
    (("charter.net",), _spectrum),
    ((".qq.com",), _worded(words.TENCENT)),
    ((".yahoodns.net",), _worded(words.YAHOO)),
)
