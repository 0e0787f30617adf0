"""The product's own admin site beside Django's."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from . import site

urlpatterns = [path("admin/", admin.site.urls), *site.urlpatterns]
