from django.apps import AppConfig


class DeliveryConfig(AppConfig):
    name = "delivery"

    def ready(self) -> None:
        from audit.export_sources import Part, register_head_sizes
        from audit.export_sources import register as register_part
        from delivery import credentials, receivers  # noqa: F401  (importing connects and registers them)
        from delivery.erasing.certificate import head_sizes_of
        from delivery.esps import ESPS
        from delivery.mail_export import Mails
        from inboxes.carriers import Carrier, register

        for key, esp in ESPS.items():
            register(key, Carrier(esp.label, esp.signs))
        register_head_sizes(head_sizes_of)
        register_part("messages", Part("Messages, byte for byte", Mails()))
