from django.urls import path

from delivery.api import compliance, engagement, erasures, providers, retention, simulate, suppressions, views

MESSAGES = "inboxes/<str:inbox_id>/messages"

urlpatterns = [
    path("providers", providers.ProvidersView.as_view()),
    path("providers/<str:provider_id>", providers.ProviderView.as_view()),
    path("providers/<str:provider_id>/test", providers.ProviderTestView.as_view()),
    path("compliance/check", compliance.ComplianceCheckView.as_view()),
    path("compliance/readiness/<str:inbox_id>", compliance.ReadinessView.as_view()),
    path("simulate/received", simulate.ReceivedView.as_view()),
    path("simulate/late", simulate.LateView.as_view()),
    path("simulate/doubled", simulate.DoubledView.as_view()),
    path("simulate/<str:event>", simulate.NewsView.as_view()),
    path("suppressions", suppressions.SuppressionsView.as_view()),
    path("suppressions/check", suppressions.SuppressionCheckView.as_view()),
    path("suppressions/import", suppressions.SuppressionImportView.as_view()),
    path("suppressions/export", suppressions.SuppressionExportView.as_view()),
    path("suppressions/<str:suppression_id>", suppressions.SuppressionView.as_view()),
    path("erasures", erasures.ErasuresView.as_view()),
    path("erasures/<str:erasure_id>", erasures.ErasureView.as_view()),
    path("erasures/<str:erasure_id>/certificate", erasures.ErasureCertificateView.as_view()),
    path("engagement/events", engagement.EngagementEventsView.as_view()),
    path("engagement/stats", engagement.EngagementStatsView.as_view()),
    path("engagement/messages/<str:message_id>", engagement.EngagementMessageView.as_view()),
    path("inboxes/<str:inbox_id>/retention", retention.InboxRetentionView.as_view()),
    path(MESSAGES, views.SendMessagesView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/reply", views.ReplyView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/forward", views.ForwardView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/cancel", views.CancelView.as_view()),
    path(f"{MESSAGES}/<str:message_id>/raw", views.RawView.as_view()),
]
