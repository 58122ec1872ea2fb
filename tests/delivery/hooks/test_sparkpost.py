"""The webhooks of SparkPost"""

from tests.delivery.hooks.cases import HookCases


class TestSparkPost(HookCases):
    esp = "sparkpost"
    has = ("sent", *HookCases.has)
    is_signed = False
