"""Unisender Go. Source: https://godocs.unisender.ru/web-api-ref"""

from delivery.esps.base import Esp, Field, Hook, Tracks


class UnisenderGo(Esp):
    key = "unisender_go"
    label = "Unisender Go"
    backend = "anymail.backends.unisender_go.EmailBackend"
    tracks = frozenset(Tracks)
    fields = (
        Field("api_key", "API key"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            help="https://go1.unisender.ru/ru/transactional/api/v1/ or the one of your data centre.",
        ),
    )
    views = {Hook.TRACKING: "anymail.webhooks.unisender_go.UnisenderGoTrackingWebhookView"}
    signs_with = {Hook.TRACKING: "api_key"}
