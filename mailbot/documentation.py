"""The API, described by itself: `/v1/openapi.json` for programs, `/docs/` for people.

A part of the composition root: it knows all routes, those beside Django too.
"""

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_resolver, path
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from mailbot.api.renderers import dumps
from mailbot.api.schema import described
from threads.api.wait import WaitOperation

# Answered by mailbot.asgi, before Django sees them.
BESIDE_DJANGO = [path("v1/inboxes/<str:inbox_id>/messages/wait", WaitOperation.as_view())]
# Swagger UI draws its arrows from data: URLs; everything else is as strict as the console.
POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"


@cache
def openapi_json() -> bytes:
    """Made at the first request, since most processes are never asked: the routes do not change while one runs."""
    from mailbot.api.openapi import openapi  # loads drf-spectacular, which no other request needs

    return dumps(openapi([*get_resolver().url_patterns, *BESIDE_DJANGO]))


class OpenApiView(APIView):
    """GET /openapi.json"""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @described("This document", name="get_openapi")
    def get(self, request: Request) -> HttpResponse:
        """The API as an OpenAPI 3.1 document. It needs no key."""
        answer = HttpResponse(openapi_json(), content_type="application/json")
        answer["Cache-Control"] = "public, max-age=300"
        answer["Access-Control-Allow-Origin"] = "*"  # it is public, and tools in a browser read it from elsewhere
        return answer


def docs(request: HttpRequest) -> HttpResponse:
    """The page for people. Its assets are our own server's, and no script is inline."""
    answer = render(request, "documentation.html")
    answer["Content-Security-Policy"] = POLICY
    return answer
