"""The paths of the HTTP contract; mount them with `path("api/v1/", include("xkit_crm.api.urls"))`.

Connection and record ids may hold any character, and a server hands `%2F` on as `/`: so they match
greedily, and what follows them tells where they end.
"""

from __future__ import annotations

from django.urls import re_path

from xkit_crm.api import views
from xkit_crm.api.documentation import OpenAPIDocument

app_name = "xkit_crm_api"

_OBJECT = r"crm/(?P<connection>.+)/objects/(?P<crm_object>[^/]+)"
_EVENT = r"events/(?P<event>[^/]+)"
_RECORD = r"(?P<record>.+)"
_UUID = r"(?P<uuid>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"

urlpatterns = [
    re_path(r"^schema$", OpenAPIDocument.as_view(), name="schema"),
    re_path(rf"^{_OBJECT}/{_EVENT}/preview$", views.Preview.as_view(), name="preview"),
    re_path(
        rf"^{_OBJECT}/{_RECORD}/{_EVENT}/preview$",
        views.PreviewOnRecord.as_view(),
        name="preview_on_record",
    ),
    re_path(rf"^{_OBJECT}/{_EVENT}$", views.Invoke.as_view(), name="invoke"),
    re_path(
        rf"^{_OBJECT}/{_RECORD}/{_EVENT}$",
        views.InvokeOnRecord.as_view(),
        name="invoke_on_record",
    ),
    re_path(rf"^{_OBJECT}/{_RECORD}$", views.ReadRecord.as_view(), name="record"),
    re_path(r"^crm/link-tokens$", views.LinkTokens.as_view(), name="link_tokens"),
    re_path(r"^crm/connections$", views.Connections.as_view(), name="connections"),
    re_path(
        rf"^crm/(?P<connection>.+)/invocations/{_UUID}$",
        views.ReadInvocation.as_view(),
        name="invocation",
    ),
    re_path(
        r"^crm/(?P<connection>.+)/invocations$", views.Invocations.as_view(), name="invocations"
    ),
    re_path(
        r"^crm/connections/(?P<connection>.+)$",
        views.ReadConnection.as_view(),
        name="connection",
    ),
    re_path(r"", views.NoSuchPath.as_view()),
]
