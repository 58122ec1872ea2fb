"""Answers that no person wrote: out of office, vacation, "we got your mail" (RFC 3834, and what was in use before it)."""

from delivery.inbound.reports.addresses import first_address
from delivery.inbound.reports.entries import Entry, Reading
from delivery.inbound.reports.text import Mail, swept

_NOT_FROM = ("root@", "postmaster@", "mailer-daemon@")
_NOT_TITLED = ("security information for", "mail failure -")
_SIGNS = {
    "auto-submitted": ("auto-generated", "auto-replied", "auto-notified"),
    "precedence": ("auto_reply",),
    "subject": ("auto:", "auto response:", "automatic reply:", "out of office:", "out of the office:"),
    "x-apple-action": ("vacation",),
}
_TITLES = (
    *("autoreply:", "auto-reply:", "auto reply:", "automatische antwort:", "abwesenheitsnotiz", "abwesend:"),
    *(
        "réponse automatique",
        "respuesta automática",
        "absence du bureau",
        "fuera de la oficina:",
        "risposta automatica:",
    ),
    *(
        "automatisch antwoord:",
        "autosvar:",
        "resposta automática:",
        "odpowiedź automatyczna:",
        "автоответ:",
        "自動返信",
        "自動応答",
    ),
)
_PRESENT = ("x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-reply", "x-mail-autoreply", "x-vacation")
MAX_LINES = 5


def is_auto_reply(mail: Mail) -> bool:
    """Whether the header says that a program wrote this mail in answer to another."""
    sender, subject = mail["from"].lower(), mail["subject"].lower()
    if any(name in sender for name in _NOT_FROM) or "root@" in mail["to"].lower():
        return False
    if any(title in subject for title in _NOT_TITLED):
        return False
    if any(value in mail[name].lower() for name, values in _SIGNS.items() for value in values):
        return True
    if subject.startswith(_TITLES):
        return True
    return any(name in mail.head and mail[name].lower() not in ("no", "false") for name in _PRESENT)


def vacation(mail: Mail) -> Reading | None:
    """The same as a report of the one who is away, with the first lines of what he says."""
    sender = mail["from"] or mail["return-path"]
    if not is_auto_reply(mail) or not sender:
        return None
    entry = Entry(recipient=first_address(sender), reason="vacation")
    entry.diagnosis = swept(" ".join(_first_lines(mail.body))) or mail["subject"]
    return Reading([entry])


def _first_lines(body: str) -> list[str]:
    lines = [line for line in body.split("\n")[:200] if " " in line]
    return [line for line in lines if not line.startswith(("Content-Type", "Content-Transfer"))][:MAX_LINES]
