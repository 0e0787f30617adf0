"""The product's own admin: change a row here and see, below it, what became of it in the CRM."""

from __future__ import annotations

from django.contrib import admin

from xkit_crm.admin import CRMRecordsMixin

from .models import Contact, Document, Workspace


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin):
    list_display = ["name", "crm_connection_id"]
    search_fields = ["name"]


@admin.register(Contact)
class ContactAdmin(CRMRecordsMixin, admin.ModelAdmin):
    list_display = ["full_name", "email", "phone", "workspace"]
    list_filter = ["workspace"]
    list_select_related = ["workspace"]
    search_fields = ["full_name", "email"]
    autocomplete_fields = ["workspace"]


@admin.register(Document)
class DocumentAdmin(CRMRecordsMixin, admin.ModelAdmin):
    list_display = ["title", "status", "value", "workspace", "modified_at"]
    list_filter = ["workspace", "status"]
    list_select_related = ["workspace"]
    search_fields = ["title"]
    autocomplete_fields = ["workspace", "signer"]
