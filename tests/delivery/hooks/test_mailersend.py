"""The webhooks of MailerSend"""

from tests.delivery.hooks.cases import HookCases


class TestMailerSend(HookCases):
    esp = "mailersend"
    has = ("sent", "delivered", "bounced", "complained", "opened", "clicked")
    fidelity = "decoded"
    knows_by_its_id = True
