"""Composition root of HTTP: which paths there are, and whose they are."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import include, path, re_path
from django.views.defaults import page_not_found, server_error

from delivery.engagement.views import link, pixel
from delivery.hooks.views import hook
from delivery.unsubscribe_page import unsubscribe_page
from mailbot.api import errors
from mailbot.documentation import OpenApiView, docs
from mailbot.health import readyz
from mailbot.metrics import metrics


def healthz(request: HttpRequest) -> JsonResponse:
    """Whether this process is up. It asks nothing of the database: a restart would not mend that one."""
    return JsonResponse({"status": "ok"})


def home(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect("/admin/")


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/v1/")


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return errors.path_not_found(request) if _is_api(request) else page_not_found(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    return errors.server_error(request) if _is_api(request) else server_error(request)


urlpatterns = [
    path("", home),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
    path("admin/", admin.site.urls),
    path("docs/", docs),
    path("v1/openapi.json", OpenApiView.as_view()),
    path("v1/", include("inboxes.api.urls")),
    path("v1/", include("threads.api.urls")),
    path("v1/", include("delivery.api.urls")),
    path("u/<str:token>", unsubscribe_page),
    path("hooks/<str:provider_id>/<str:token>/<str:kind>", hook),
    path("hooks/<str:provider_id>/<str:token>/<str:kind>/mime", hook),
    path("t/o/<str:token>.gif", pixel),
    path("t/c/<str:token>", link),
    re_path(r"^v1/.*$", errors.path_not_found),
]
