from django.urls import path

from inboxes.api.api_keys import ApiKeysView, ApiKeyView
from inboxes.api.audit_exports import ExportDownloadView, ExportsView, ExportView
from inboxes.api.audit_log import InboxAuditEntryView, InboxAuditLogView, InboxAuditStreamView, InboxAuditVerifyView
from inboxes.api.domains import DomainsView, DomainView, RotateKeyView, VerifyDomainView, ZoneFileView
from inboxes.api.holds import HoldsView, HoldView, ReleaseHoldView
from inboxes.api.lists import ListCheckView, ListEntryView, ListView
from inboxes.api.retention_classes import ClassesView, ClassView
from inboxes.api.usage import UsageView
from inboxes.api.views import InboxesView, InboxView, PauseView, ResumeView

urlpatterns = [
    path("audit-log", InboxAuditLogView.as_view()),
    path("audit-log/verify", InboxAuditVerifyView.as_view()),
    path("audit-log/export", InboxAuditStreamView.as_view()),
    path("audit-log/exports", ExportsView.as_view()),
    path("audit-log/exports/<str:export_id>", ExportView.as_view()),
    path("audit-log/exports/<str:export_id>/download", ExportDownloadView.as_view()),
    path("audit-log/<str:entry_id>", InboxAuditEntryView.as_view()),
    path("inboxes", InboxesView.as_view()),
    path("inboxes/<str:inbox_id>", InboxView.as_view()),
    path("inboxes/<str:inbox_id>/pause", PauseView.as_view()),
    path("inboxes/<str:inbox_id>/resume", ResumeView.as_view()),
    path("api-keys", ApiKeysView.as_view()),
    path("api-keys/<str:key_id>", ApiKeyView.as_view()),
    path("domains", DomainsView.as_view()),
    path("domains/<str:domain_id>", DomainView.as_view()),
    path("domains/<str:domain_id>/verify", VerifyDomainView.as_view()),
    path("domains/<str:domain_id>/rotate-key", RotateKeyView.as_view()),
    path("domains/<str:domain_id>/zone-file", ZoneFileView.as_view()),
    path("holds", HoldsView.as_view()),
    path("holds/<str:hold_id>", HoldView.as_view()),
    path("holds/<str:hold_id>/release", ReleaseHoldView.as_view()),
    path("retention-classes", ClassesView.as_view()),
    path("retention-classes/<str:retention_class_id>", ClassView.as_view()),
    path("lists/check", ListCheckView.as_view()),
    path("lists/<str:direction>/<str:effect>", ListView.as_view()),
    path("lists/<str:direction>/<str:effect>/<str:rule_id>", ListEntryView.as_view()),
    path("usage", UsageView.as_view()),
]
