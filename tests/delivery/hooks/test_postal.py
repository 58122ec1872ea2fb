"""The webhooks of Postal"""

from tests.delivery.hooks.cases import HookCases


class TestPostal(HookCases):
    esp = "postal"
    has = ("delivered", "deferred", "bounced", "clicked")
    knows_by_its_id = True
