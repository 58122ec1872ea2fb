from django.urls import path

from threads.api import views
from threads.api.leases import ClaimView, HandOffView, ReleaseView
from threads.api.search import AccountSearchView, InboxSearchView

MESSAGE = "inboxes/<str:inbox_id>/messages/<str:message_id>"
THREAD = "inboxes/<str:inbox_id>/threads/<str:thread_id>"

urlpatterns = [
    path("inboxes/<str:inbox_id>/messages/search", InboxSearchView.as_view()),  # before a message of that id
    path(MESSAGE, views.MessageView.as_view()),
    path(f"{MESSAGE}/explain", views.ExplainView.as_view()),
    path(f"{MESSAGE}/labels", views.LabelsView.as_view()),
    path(f"{MESSAGE}/attachments/<str:attachment_id>", views.AttachmentView.as_view()),
    path("inboxes/<str:inbox_id>/threads", views.ThreadsView.as_view()),
    path(THREAD, views.ThreadView.as_view()),
    path(f"{THREAD}/events", views.ThreadEventsView.as_view()),
    path(f"{THREAD}/claim", ClaimView.as_view()),
    path(f"{THREAD}/release", ReleaseView.as_view()),
    path(f"{THREAD}/handoff", HandOffView.as_view()),
    path("events", views.EventsView.as_view()),
    path("search", AccountSearchView.as_view()),
]
