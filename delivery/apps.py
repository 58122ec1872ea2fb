from django.apps import AppConfig


class DeliveryConfig(AppConfig):
    name = "delivery"

    def ready(self) -> None:
        from delivery import credentials, receivers  # noqa: F401  (importing connects and registers them)
