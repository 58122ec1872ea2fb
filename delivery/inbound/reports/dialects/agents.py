"""What the programs say that put mail into mailboxes: Dovecot, mail.local, procmail, maildrop, vpopmail, vmailmgr."""

from typing import NamedTuple

from delivery.inbound.reports.text import Mail, aligned

_SIGNS = {
    "dovecot": ("Your message to ", " was automatically rejected:"),
    "mail.local": ("mail.local: ",),
    "procmail": ("procmail: ",),
    "maildrop": ("maildrop: ",),
    "vpopmail": ("vdelivermail: ",),
    "vmailmgr": ("vdeliver: ",),
}
_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "dovecot": {
        "userunknown": ("mailbox doesn't exist: ",),
        "mailboxfull": ("quota exceeded", "not enough disk space"),
    },
    "mail.local": {
        "userunknown": (
            *(": unknown user:", ": user unknown", ": invalid mailbox path", ": user missing home directory"),
        ),
        "mailboxfull": ("disc quota exceeded", "mailbox full or quota exceeded"),
        "systemerror": ("temporary file write error",),
    },
    "procmail": {
        "mailboxfull": ("quota exceeded while writing",),
        "systemfull": ("no space left to finish writing",),
    },
    "maildrop": {
        "userunknown": ("invalid user specified.", "cannot find system user"),
        "mailboxfull": ("maildir over quota.",),
    },
    "vpopmail": {
        "userunknown": ("sorry, no mailbox here by that name.",),
        "filtered": ("account is locked email bounced", "user does not exist, but will deliver to "),
        "mailboxfull": ("domain is over quota", "user is over quota"),
    },
    "vmailmgr": {
        "userunknown": (
            "invalid or unknown base user or domain",
            "invalid or unknown virtual user",
            "user name does not refer to a virtual user",
        ),
        "mailboxfull": ("delivery failed due to system quota violation",),
    },
}


class Said(NamedTuple):
    name: str
    reason: str
    said: str


def what_agent_says(mail: Mail) -> Said | None:
    if not mail["from"].lower().startswith(("mail delivery subsystem", "mailer-daemon", "postmaster")):
        return None
    name = next((name for name, signs in _SIGNS.items() if aligned(mail.body, signs)), "")
    if not name:
        return None
    lines = mail.body.split("\n")
    for reason, phrases in _WORDS[name].items():
        for line in lines:
            if any(phrase in line.lower() for phrase in phrases):
                return Said(name, reason, line)
    return Said(name, "", "")
