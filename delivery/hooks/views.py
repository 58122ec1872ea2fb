"""POST /hooks/{provider_id}/{token}/{inbound|tracking}, and the first with /mime behind it, by which Mailgun knows what to send

The token is the row's own secret; where the ESP signs its calls, the signature is checked too. The answer says to the ESP whether to call
again: 2xx never, 4xx is a mistake in what was entered there, 5xx is our trouble, and it calls again.
"""

import logging
from typing import Any

from anymail.exceptions import (  # type: ignore[import-untyped]
    AnymailAPIError,
    AnymailConfigurationError,
    AnymailWebhookValidationFailure,
)
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt

from delivery.esps.base import Hook, MissingSecret, NotForUs
from delivery.hooks.calls import NoRoom, take_call
from delivery.inbound.receive import StorageError
from delivery.provider_rows import note_call
from inboxes.models import Provider
from mailbot.lib import metrics
from mailbot.lib.crypto import CannotDecrypt
from mailbot.lib.safe_fetch import FetchFailed
from mailbot.lib.scope import acting_for_everybody

log = logging.getLogger(__name__)

HOOKS = frozenset(Hook)
RETRY_AFTER = "60"  # seconds


@csrf_exempt
def hook(request: HttpRequest, provider_id: str, token: str, kind: str) -> JsonResponse:
    with acting_for_everybody("an ESP calls with the secret of its row"):
        try:
            provider = Provider.objects.in_bulk([provider_id]).get(provider_id) if "\0" not in provider_id else None
            if provider is None or kind not in HOOKS or not constant_time_compare(provider.token, token):
                return _answer(404, "There is no provider with this address.")
            if request.method in ("GET", "HEAD"):  # some ESPs ask so whether anybody is here
                return _answer(200, "")
            if request.method != "POST":
                return _answer(405, "Call this with POST.", Allow="POST, GET, HEAD")
            return _taken(provider, Hook(kind), request)
        except (OperationalError, InterfaceError) as error:
            return _later(f"The database cannot be used: {type(error).__name__}.")


def _taken(provider: Provider, kind: Hook, request: HttpRequest) -> JsonResponse:
    try:
        taken = take_call(provider, kind, request)
    except AnymailWebhookValidationFailure as error:
        log.warning("Provider %s: a call that is not its ESP's: %s", provider.pk, error)
        return _answer(
            400, "The signature is wrong, or there is none. Enter the ESP's secret in mailbot as it stands there."
        )
    except (NotForUs, AnymailConfigurationError) as error:
        log.warning("Provider %s: its %s address is called for something else: %s", provider.pk, kind, error)
        return _answer(400, str(error))
    except (UnicodeDecodeError, ValueError, MultiPartParserError, AnymailAPIError) as error:
        log.warning("Provider %s: a call that cannot be read: %s: %s", provider.pk, type(error).__name__, error)
        return _answer(400, "This cannot be read as what the ESP sends.")
    except MissingSecret as missing:
        return _later(f"This provider has no “{missing}” yet, so nobody can say who calls. Enter it in mailbot.")
    except CannotDecrypt:
        return _later("The credentials of this provider cannot be read. Enter them again in mailbot.")
    except (NoRoom, StorageError, FetchFailed) as error:
        return _later(f"It cannot be kept now: {error}" if str(error) else "The account has no room left.")
    metrics.note_call(provider.esp, kind)
    note_call(provider, kind)
    return JsonResponse({"events": taken.events, "mails": taken.mails})


def _later(why: str) -> JsonResponse:
    log.error("A webhook is put off: %s", why)
    return _answer(503, why, **{"Retry-After": RETRY_AFTER})


def _answer(status: int, error: str, **headers: Any) -> JsonResponse:
    return JsonResponse({"error": error} if error else {}, status=status, headers=headers)
