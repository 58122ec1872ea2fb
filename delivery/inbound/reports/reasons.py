"""Why a mail came back, by what the server said, the status and the command that it answered."""

from dataclasses import dataclass

from delivery.inbound.reports.codes import REASON_OF, find_reply, find_status, is_temporary, reason_of
from delivery.inbound.reports.phrases import tells
from delivery.inbound.reports.receivers import what_receiver_means

HARD = frozenset({"userunknown", "hostunknown", "hasmoved"})
# Guesses of a dialect that are looked at again.
UNSURE = frozenset(
    "undefined onhold systemerror securityerror expired suspend networkerror hostunknown userunknown".split()
)
_BEFORE_DATA = ("CONN", "EHLO", "HELO", "MAIL", "RCPT")
_FIRST = (
    "mailboxfull mesgtoobig exceedlimit suspend hasmoved norelaying authfailure userunknown filtered requireptr notcompliantrfc"
    " badreputation rejected hostunknown spamdetected speeding toomanyconn blocked"
).split()
_SECOND = (
    "mailboxfull authfailure badreputation speeding spamdetected virusdetected policyviolation norelaying systemerror networkerror"
    " suspend contenterror systemfull notaccept expired securityerror mailererror"
).split()
_OTHER_THAN_UNKNOWN = ("norelaying", "blocked", "mailboxfull", "hasmoved", "rejected", "notaccept")
_NEEDS_STATUS = frozenset({"authfailure", "exceedlimit", "mailboxfull", "spamdetected", "speeding", "suspend"})


@dataclass(slots=True)
class Case:
    """One recipient's failure. `said`: the diagnosis in small letters; `host`: of the recipient; `rhost`: who said it."""

    reason: str = ""
    status: str = ""
    reply: str = ""
    command: str = ""
    spec: str = ""
    action: str = ""
    diagnosis: str = ""
    rhost: str = ""
    host: str = ""

    @property
    def said(self) -> str:
        return self.diagnosis.lower()


def decide(case: Case) -> str:
    """A reason for the case: the dialect's where it is sure, else what the receiving host means by these words, else what anybody would."""
    if case.reason and case.reason not in UNSURE:
        return case.reason
    return what_receiver_means(case) or _decide(case) or case.reason or "undefined"


def is_hard(reason: str, status: str, diagnosis: str) -> bool:
    """Whether the address itself is wrong, so that nothing should be sent there again."""
    if reason != "notaccept":
        return reason in HARD
    told = f"{status} {diagnosis}"
    code = find_status(told) or find_reply(told)
    return len(told) < 4 or code.startswith("5") or not is_temporary(told)


def _decide(case: Case) -> str:
    if case.status.startswith("2."):
        return "delivered"
    said = case.said
    if case.spec in ("SMTP", "") and (reason := next((name for name in _FIRST if _is(name, case, said)), "")):
        return reason
    reason = case.reason or _by_code_and_words(case, said)
    if reason and reason != "undefined":
        return reason
    if case.action == "delayed":
        return "expired"
    if tells("vacation", said):
        return "vacation"
    return "onhold" if said else "undefined"


def _is(reason: str, case: Case, said: str) -> bool:
    if reason in _NEEDS_STATUS and not case.status:
        return False
    rule = _RULES.get(reason)
    if rule:
        return rule(case, said)
    return (reason_of(case.status) == reason and reason in _BY_STATUS) or tells(reason, said)


_BY_STATUS = frozenset({"authfailure", "blocked", "exceedlimit", "mailboxfull", "requireptr", "toomanyconn"})


def _is_mesgtoobig(case: Case, said: str) -> bool:
    meant = reason_of(case.status)
    return meant == "mesgtoobig" or (meant != "exceedlimit" and tells("mesgtoobig", said))


def _is_suspend(case: Case, said: str) -> bool:
    return case.reason == "suspend" or case.reply == "525" or tells("suspend", said)


def _is_norelaying(case: Case, said: str) -> bool:
    if case.reason in ("securityerror", "systemerror", "undefined") or case.command in ("CONN", "EHLO", "HELO"):
        return False
    return tells("norelaying", said)


def _is_userunknown(case: Case, said: str) -> bool:
    if case.reason == "userunknown":
        return True
    meant = reason_of(case.status)
    if meant == "userunknown":
        return not any(tells(other, said) for other in _OTHER_THAN_UNKNOWN)
    return meant != "suspend" and case.command == "RCPT" and tells("userunknown", said)


def _is_filtered(case: Case, said: str) -> bool:
    meant = reason_of(case.status)
    if meant == "suspend" or (meant != "filtered" and case.command in _BEFORE_DATA):
        return False
    return tells("filtered", said) or tells("userunknown", said)


def _is_rejected(case: Case, said: str) -> bool:
    meant = reason_of(case.status) or "undefined"
    if meant == "rejected":
        return True
    listens = case.command == "MAIL" or (
        meant != "userunknown"
        if case.command == "DATA"
        else meant in ("onhold", "undefined", "securityerror", "systemerror")
    )
    return listens and tells("rejected", said)


def _is_hostunknown(case: Case, said: str) -> bool:
    if case.reason == "hostunknown":
        return True
    if reason_of(case.status) == "hostunknown":
        return not tells("networkerror", said)
    return tells("hostunknown", said)


def _is_spamdetected(case: Case, said: str) -> bool:
    if reason_of(case.status) == "spamdetected":
        return True
    return case.command not in _BEFORE_DATA and tells("spamdetected", said)


_RULES = {
    "mesgtoobig": _is_mesgtoobig,
    "suspend": _is_suspend,
    "norelaying": _is_norelaying,
    "userunknown": _is_userunknown,
    "filtered": _is_filtered,
    "rejected": _is_rejected,
    "hostunknown": _is_hostunknown,
    "spamdetected": _is_spamdetected,
}


def _by_code_and_words(case: Case, said: str) -> str:
    """The status as it is registered, unless it says little: then the words, and at last whatever there is."""
    meant = reason_of(case.status)
    if meant and meant not in UNSURE and case.spec == "SMTP":
        return meant
    if reason := next((name for name in _SECOND if tells(name, said)), "") or meant:
        return reason
    return _by_what_is_left(case)


def _by_what_is_left(case: Case) -> str:
    group = case.status[:3]
    if group in ("5.6", "4.6"):
        return "contenterror"
    if group in ("5.7", "4.7"):
        return "securityerror"
    if case.spec.startswith("X-UNIX"):
        return "mailererror"
    if case.reply.isdigit() and (400 < int(case.reply) < 408 or 500 < int(case.reply) < 508):
        return "syntaxerror"
    if case.action.startswith(("delayed", "expired")):
        return "expired"
    return "blocked" if case.command in ("HELO", "EHLO") else ""


REASONS = (
    frozenset(REASON_OF.values()) | set(_FIRST) | set(_SECOND) | {"onhold", "undefined", "vacation", "syntaxerror"}
)
