"""The webhooks of Unisender Go"""

import re

from tests.delivery.hooks.cases import HookCases
from tests.fake_esp.signing import Call


class TestUnisenderGo(HookCases):
    esp = "unisender_go"
    has = ("sent", *HookCases.has)
    takes_mail = False

    def unsigned(self, made: Call) -> Call | None:
        return Call(re.sub(rb'"auth": "[0-9a-f]+",', b"", made.body))
