"""The pages of CRM Link; mount them with `path("crm-link/", include("xkit_crm.crm_link.urls"))`."""

from __future__ import annotations

from django.urls import path

from xkit_crm.crm_link import scripts
from xkit_crm.crm_link.views import (
    coming_in,
    confirming,
    connecting,
    deciding,
    signing_in,
    versions,
)

app_name = "xkit_crm_link"

_OBJECT = "s/<str:sealed>/objects/<slug:slug>/"
_EVENT = f"{_OBJECT}events/<slug:event>/"

urlpatterns = [
    path("crm-link.js", scripts.script, {"name": "crm-link.js"}, name="script"),
    path("crm-link.mjs", scripts.script, {"name": "crm-link.mjs"}, name="module"),
    path("start", coming_in.start, name="start"),
    path("s/<str:sealed>/", deciding.overview, name="overview"),
    path("s/<str:sealed>/steps", deciding.show_steps, name="steps"),
    path("s/<str:sealed>/crms/", connecting.crms, name="crms"),
    path("s/<str:sealed>/crms/<slug:provider>/", connecting.authorise, name="authorise"),
    path("s/<str:sealed>/crms/<slug:provider>/leave", signing_in.leave, name="leave"),
    path("s/<str:sealed>/crms/<slug:provider>/arrived", signing_in.arrived, name="arrived"),
    path("oauth/callback", signing_in.callback, name="callback"),
    path("s/<str:sealed>/disconnect", connecting.disconnect, name="disconnect"),
    path("s/<str:sealed>/refresh", connecting.refresh, name="refresh"),
    path("s/<str:sealed>/review/", confirming.review, name="review"),
    path("s/<str:sealed>/done/", confirming.done, name="done"),
    path("s/<str:sealed>/versions/", versions.show_versions, name="versions"),
    path("s/<str:sealed>/versions/<int:number>/restore", versions.restore, name="restore"),
    path("s/<str:sealed>/mapping.json", versions.export, name="export"),
    path("s/<str:sealed>/import", versions.load, name="import"),
    path(_OBJECT, deciding.show_object, name="object"),
    path(f"{_OBJECT}choose/", deciding.choose_object, name="choose_object"),
    path(f"{_OBJECT}pick", deciding.pick, name="pick"),
    path(_EVENT, deciding.show_event, name="event"),
    path(f"{_EVENT}pick", deciding.pick, name="pick_for_event"),
    path(f"{_EVENT}preview/", confirming.preview, name="preview"),
]
