"""The webhooks of SendGrid"""

import json

from tests.delivery.hooks.cases import HookCases
from tests.fake_esp.signing import FORM, Call, form


class TestSendGrid(HookCases):
    esp = "sendgrid"
    has = ("sent", *HookCases.has)
    fidelity = "decoded"

    def mail(self, inbox: str, raw: bytes, name: str = "inbound") -> str:
        self.raw = raw
        return json.dumps({"envelope": json.dumps({"to": [inbox], "from": "ann@example.com"})})

    def signed(self, hook: str, payload: str) -> Call:
        if hook == "tracking":
            return super().signed(hook, payload)
        return Call(form({**json.loads(payload), "email": self.raw}), FORM)
