"""Which representation is answered: the only one that there is."""

from collections.abc import Iterable
from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer


class AlwaysTheSame(DefaultContentNegotiation):
    """Accept is not looked at (RFC 9110 12.5.1 allows it): a path has one representation, and a client that asks for the type of a raw
    mail or a picture must get that, and not a 406 because errors are JSON."""

    def select_renderer(
        self, request: Any, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type
