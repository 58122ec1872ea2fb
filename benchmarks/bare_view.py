"""What `benchmarks.api` measures the list of messages against: a view of Django REST framework that shows the same rows by `.values()`.

It knows no key, no account, no attachments, no total; served with the options of the Procfile and rendered by the same renderer. It
reads JSON as Django does, and not by mailbot's own columns: what makes those faster would otherwise make mailbot look slower.
"""

from django.db.models import JSONField
from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from mailbot.lib.json_columns import JSONColumn
from mailbot.lib.scope import act_for_everybody_outside_of_requests
from threads.models import Message

# No middleware says here for whom a request acts: everything does, once and for all, for everybody.
act_for_everybody_outside_of_requests()
JSONColumn.from_db_value = JSONField.from_db_value  # type: ignore[method-assign]


class BareView(APIView):
    def get(self, request: Request, inbox_id: str) -> Response:
        return Response({"data": list(Message.objects.filter(inbox_id=inbox_id).order_by("-sequence").values()[:50])})


def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


urlpatterns = [path("healthz", healthz), path("bare/<str:inbox_id>", BareView.as_view())]
