"""In which order dialects are tried: those that the subject speaks for, then all."""

from collections.abc import Callable

from delivery.inbound.reports.automatic import vacation
from delivery.inbound.reports.dialects import (
    appliances,
    carriers,
    exim_family,
    mail_servers,
    microsoft,
    of_fields,
    web_mail,
)
from delivery.inbound.reports.dialects.generic import rfc3464
from delivery.inbound.reports.dialects.notifications import amazon_sns
from delivery.inbound.reports.entries import Reading
from delivery.inbound.reports.text import Mail

Dialect = Callable[[Mail], Reading | None]

DIALECTS: dict[str, Dialect] = {
    "MailRu": exim_family.mail_ru,
    "Yandex": of_fields.yandex,
    "Exim": exim_family.exim,
    "Sendmail": mail_servers.sendmail,
    "Aol": of_fields.aol,
    "Office365": microsoft.office_365,
    "Exchange2007": microsoft.exchange_2007,
    "Exchange2003": microsoft.exchange_2003,
    "AmazonWorkMail": of_fields.amazon_workmail,
    "AmazonSNS": amazon_sns,
    "AmazonSES": of_fields.amazon_ses,
    "Barracuda": of_fields.barracuda,
    "InterScanMSS": appliances.interscan,
    "KDDI": carriers.kddi,
    "SurfControl": appliances.surfcontrol,
    "Verizon": carriers.verizon,
    "ApacheJames": mail_servers.apache_james,
    "X2": appliances.x2,
    "X5": of_fields.x5,
    "FML": appliances.fml,
    "Postfix": mail_servers.postfix,
    "GoogleWorkspace": web_mail.google_workspace,
    "Yahoo": web_mail.yahoo,
    "Outlook": of_fields.outlook,
    "GMX": web_mail.gmx,
    "MessagingServer": appliances.messaging_server,
    "EinsUndEins": web_mail.einsundeins,
    "Domino": appliances.domino,
    "Notes": appliances.notes,
    "Qmail": mail_servers.qmail,
    "Courier": of_fields.courier,
    "OpenSMTPD": mail_servers.opensmtpd,
    "Zoho": web_mail.zoho,
    "MessageLabs": of_fields.message_labs,
    "MXLogic": exim_family.mx_logic,
    "MailFoundry": appliances.mailfoundry,
    "McAfee": of_fields.mcafee,
    "V5sendmail": mail_servers.sendmail5,
    "MFILTER": appliances.mfilter,
    "SendGrid": of_fields.sendgrid,
    "ReceivingSES": of_fields.receiving_ses,
    "Amavis": of_fields.amavis,
    "PowerMTA": of_fields.powermta,
    "GoogleGroups": web_mail.google_groups,
    "Gmail": web_mail.gmail,
    "EZweb": carriers.ezweb,
    "IMailServer": appliances.imail,
    "MailMarshalSMTP": appliances.mailmarshal,
    "Activehunter": appliances.activehunter,
    "Bigfoot": of_fields.bigfoot,
    "Biglobe": carriers.biglobe,
    "Facebook": of_fields.facebook,
    "X4": mail_servers.x4,
    "X1": appliances.x1,
    "X3": appliances.x3,
    "X6": appliances.x6,
    "DragonFly": mail_servers.dragonfly,
    "RFC3464": rfc3464,
    "RFC3834": vacation,
}
_BY_TITLE = {
    "auto": "RFC3834",
    "auto-reply": "RFC3834",
    "automatic-reply": "RFC3834",
    "aws-notification": "AmazonSNS AmazonSES",
    "delivery-failure": "Domino X2",
    "delivery-notification": "MessagingServer",
    "delivery-report": "PowerMTA",
    "delivery-status": (
        "GoogleWorkspace GoogleGroups Outlook McAfee OpenSMTPD AmazonSNS AmazonSES AmazonWorkMail ReceivingSES Gmail X3"
    ),
    "failed-delivery": "X2",
    "failure-delivery": "X2",
    "failure-notice": "Yahoo Qmail MFILTER Activehunter X4",
    "loop-alert": "FML",
    "mail-delivery": "Exim DragonFly MailRu GMX EinsUndEins Zoho MessageLabs MXLogic",
    "mail-could": "InterScanMSS",
    "mail-failure": "Exim",
    "mail-not": "X4",
    "mail-system": "EZweb",
    "message-delivery": "MailFoundry",
    "message-frozen": "Exim",
    "message-you": "Barracuda",
    "não-entregue": "Office365",
    "non-recapitabile": "Exchange2007",
    "non-remis": "Exchange2007",
    "notice": "Courier",
    "onbestelbaar": "Office365",
    "permanent-delivery": "X4",
    "postmaster-notify": "Sendmail",
    "returned-mail": "Sendmail Aol V5sendmail Bigfoot Biglobe X1",
    "sorry-your": "Facebook",
    "there-was": "X6",
    "undeliverable": "Office365 Exchange2007 Aol Exchange2003",
    "undeliverable-mail": "Amavis MailMarshalSMTP IMailServer",
    "undeliverable-message": "Notes Verizon",
    "undelivered-mail": "Postfix Aol SendGrid Zoho",
    "warning": "Sendmail Exim",
}
_LAST = ("DragonFly", "RFC3464", "RFC3834")


def order_for(subject: str) -> list[str]:
    """Names of dialects, the likeliest first. DragonFly is spoken only under a subject that speaks for it."""
    likely = _BY_TITLE.get(_title(subject), "").split()
    return list(dict.fromkeys([*likely, *(name for name in DIALECTS if name not in _LAST), "RFC3464", "RFC3834"]))


def _title(subject: str) -> str:
    """The first word where it ends in a colon, else the first two."""
    words = subject.lower().translate(str.maketrans("_[]", "   ")).split()
    if not words:
        return ""
    title = " ".join(words).partition(":")[0] if ":" in words[0] else "-".join(words[:2])
    return title.translate(str.maketrans("", "", ':",*'))
