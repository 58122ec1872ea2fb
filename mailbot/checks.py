"""System checks: bad configuration is named at start, with what to do, and never found by the first request."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import connection

from mailbot.lib.dns import Zone, nameserver


@register()
def check_secret_key(**_: Any) -> list[CheckMessage]:
    if settings.SECRET_KEY_IS_SET:
        return []
    hint = f"Set MAILBOT_SECRET_KEY (or MAILBOT_SECRET_KEY_FILE), or make {settings.VAR} writable so that one can be kept there."
    return [Error("There is no secret key.", hint=hint, id="mailbot.E001")]


@register()
def check_wakeups(**_: Any) -> list[CheckMessage]:
    if settings.REDIS_URL or connection.vendor == "sqlite":
        return []
    hint = (
        "Set REDIS_URL too: without Redis, wake-ups between processes go through the SQLite file, which is not there."
    )
    return [Error("DATABASE_URL is set and REDIS_URL is not.", hint=hint, id="mailbot.E002")]


@register()
def check_encryption_keys(**_: Any) -> list[CheckMessage]:
    if settings.ENCRYPTION_KEYS and all(settings.ENCRYPTION_KEYS):
        return []
    hint = (
        "Set MAILBOT_ENCRYPTION_KEY (or MAILBOT_ENCRYPTION_KEY_FILE), or make"
        f" {settings.VAR} writable so that one can be kept there."
    )
    return [Error("There is no key to encrypt credentials with.", hint=hint, id="mailbot.E004")]


@register()
def check_smtp_tls(**_: Any) -> list[CheckMessage]:
    if bool(settings.SMTP_TLS_CERTIFICATE) == bool(settings.SMTP_TLS_KEY):
        return []
    hint = "Set both MAILBOT_SMTP_TLS_CERTIFICATE and MAILBOT_SMTP_TLS_KEY (PEM files), or neither."
    return [Error("STARTTLS needs a certificate and its key; only one is set.", hint=hint, id="mailbot.E003")]


@register()
def check_dns(**_: Any) -> list[CheckMessage]:
    try:
        if settings.DNS_ZONE_FILE:
            Zone.read(Path(settings.DNS_ZONE_FILE).read_text(encoding="utf-8"))
        for address in settings.DNS_SERVERS:
            nameserver(address)
    except (OSError, ValueError) as error:
        hint = "MAILBOT_DNS_ZONE_FILE is a zone file (RFC 1035), MAILBOT_DNS_SERVERS are addresses such as 192.0.2.53 or 127.0.0.1:5353."
        return [Error(f"DNS cannot be asked as it is set: {error}", hint=hint, id="mailbot.E005")]
    return []
