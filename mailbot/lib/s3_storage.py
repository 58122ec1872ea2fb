"""An S3-compatible store as the object store. Imported only where one is set: boto3 takes a while."""

from typing import Any

from botocore.config import Config
from storages.backends.s3 import S3Storage

# Seconds. The library's own patience (60 each, five times) would hold a request for minutes when the store does not answer.
CONNECTS_WITHIN = 3
ANSWERS_WITHIN = 20
TRIES = 2


class S3ObjectStore(S3Storage):  # type: ignore[misc]
    """django-storages with patience that fits a request. A store of one's own is addressed by path, as MinIO and others want it."""

    def get_default_settings(self) -> dict[str, Any]:
        style = "path" if self._given.get("endpoint_url") else "auto"
        patience = Config(
            connect_timeout=CONNECTS_WITHIN,
            read_timeout=ANSWERS_WITHIN,
            retries={"total_max_attempts": TRIES, "mode": "standard"},
            s3={"addressing_style": style},
        )
        return super().get_default_settings() | {"client_config": patience, "file_overwrite": True}  # type: ignore[no-any-return]

    def __init__(self, **options: Any) -> None:
        self._given = options
        super().__init__(**options)
