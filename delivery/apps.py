from django.apps import AppConfig


class DeliveryConfig(AppConfig):
    name = "delivery"

    def ready(self) -> None:
        from delivery import credentials, receivers  # noqa: F401  (importing connects and registers them)
        from delivery.esps import ESPS
        from inboxes.carriers import Carrier, register

        for key, esp in ESPS.items():
            register(key, Carrier(esp.label, esp.signs))
