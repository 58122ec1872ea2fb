"""The webhooks of Mandrill"""

from tests.delivery.hooks.cases import HookCases
from tests.fake_esp.signing import Call


class TestMandrill(HookCases):
    esp = "mandrill"
    has = ("sent", "deferred", "bounced", "complained", "opened", "clicked")
    fidelity = "decoded"
    good = "opened"

    def forged(self, made: Call) -> Call | None:
        changed = made.body.replace(b"ann%40example.com", b"bob%40example.com")
        return Call(changed, made.content_type, made.headers)
