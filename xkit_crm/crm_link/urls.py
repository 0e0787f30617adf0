"""The pages of CRM Link; mount them with `path("crm-link/", include("xkit_crm.crm_link.urls"))`."""

from __future__ import annotations

from django.urls import path

from xkit_crm.crm_link import scripts, views

app_name = "xkit_crm_link"

_OBJECT = "s/<str:sealed>/objects/<slug:slug>/"
_EVENT = f"{_OBJECT}events/<slug:event>/"

urlpatterns = [
    path("crm-link.js", scripts.classic, name="script"),
    path("crm-link.mjs", scripts.module, name="module"),
    path("start", views.start, name="start"),
    path("s/<str:sealed>/", views.overview, name="overview"),
    path("s/<str:sealed>/steps", views.steps, name="steps"),
    path("s/<str:sealed>/crms/", views.crms, name="crms"),
    path("s/<str:sealed>/crms/<slug:provider>/", views.authorise, name="authorise"),
    path("s/<str:sealed>/disconnect", views.disconnect, name="disconnect"),
    path("s/<str:sealed>/refresh", views.refresh, name="refresh"),
    path("s/<str:sealed>/review/", views.review, name="review"),
    path("s/<str:sealed>/done/", views.done, name="done"),
    path("s/<str:sealed>/versions/", views.versions, name="versions"),
    path("s/<str:sealed>/versions/<int:number>/restore", views.restore, name="restore"),
    path("s/<str:sealed>/mapping.json", views.export, name="export"),
    path("s/<str:sealed>/import", views.load, name="import"),
    path(_OBJECT, views.show_object, name="object"),
    path(f"{_OBJECT}choose/", views.choose_object, name="choose_object"),
    path(f"{_OBJECT}pick", views.pick, name="pick"),
    path(_EVENT, views.show_event, name="event"),
    path(f"{_EVENT}pick", views.pick, name="pick_for_event"),
    path(f"{_EVENT}preview/", views.preview, name="preview"),
]
