from django.urls import path

from delivery.api import engagement, providers, views

MESSAGES = "inboxes/<str:inbox_id>/messages"

urlpatterns = [
    path("providers", providers.ProvidersView.as_view()),
    path("providers/<str:provider_id>", providers.ProviderView.as_view()),
    path("providers/<str:provider_id>/test", providers.ProviderTestView.as_view()),
    path("engagement/events", engagement.EngagementEventsView.as_view()),
    path("engagement/stats", engagement.EngagementStatsView.as_view()),
    path("engagement/messages/<str:message_id>", engagement.EngagementMessageView.as_view()),
    path(MESSAGES, views.SendMessagesView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/reply", views.ReplyView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/forward", views.ForwardView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/cancel", views.CancelView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/raw", views.RawView.as_view()),
]
