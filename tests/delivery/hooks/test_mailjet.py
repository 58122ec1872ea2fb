"""The webhooks of Mailjet"""

from tests.delivery.hooks.cases import HookCases


class TestMailjet(HookCases):
    esp = "mailjet"
    has = ("delivered", "bounced", "complained", "opened", "clicked")
    is_signed = False
    fidelity = "rebuilt"
