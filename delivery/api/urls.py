from django.urls import path

from delivery.api import views

MESSAGES = "inboxes/<str:inbox_id>/messages"

urlpatterns = [
    path(MESSAGES, views.SendMessagesView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/reply", views.ReplyView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/forward", views.ForwardView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/raw", views.RawView.as_view()),
]
