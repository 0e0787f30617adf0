"""API keys. A key is made and revoked here, never edited; its secret is shown once."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache

from xkit_crm.admin.base import XkitAdmin
from xkit_crm.models import APIKey
from xkit_crm.permissions import MANAGE_CREDENTIALS


class APIKeyForm(forms.ModelForm):
    contexts = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("One owner per line; empty: the key may use every connection."),
    )

    class Meta:
        model = APIKey
        fields = ["name"]

    def clean_contexts(self) -> list[str] | None:
        lines = [line.strip() for line in self.cleaned_data["contexts"].splitlines()]
        return [line for line in lines if line] or None


@admin.register(APIKey)
class APIKeyAdmin(XkitAdmin):
    permission = MANAGE_CREDENTIALS
    form = APIKeyForm
    list_display = ["name", "publishable_key", "live", "last_used_at", "created_at"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "publishable_key"]
    actions = ["revoke"]
    fields = ["name", "contexts"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Needed for the action; the page of one key shows it read-only.
        return obj is None and super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return ["name", "contexts"]
        return ["name", "publishable_key", "contexts", "created_at", "last_used_at", "revoked_at"]

    def save_model(self, request: HttpRequest, obj: APIKey, form: Any, change: bool) -> None:
        key, obj.secret = APIKey.objects.issue(obj.name, contexts=form.cleaned_data["contexts"])
        obj.pk, obj.publishable_key = key.pk, key.publishable_key

    @method_decorator(never_cache)
    def response_add(
        self, request: HttpRequest, obj: APIKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret in the answer itself, since messages are kept in a cookie."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, "key": obj}
        return TemplateResponse(request, "admin/xkit_crm/apikey/issued.html", context)

    @admin.display(description=_("live"), boolean=True)
    def live(self, key: APIKey) -> bool:
        return key.is_live

    @admin.action(description=_("Revoke the selected keys"), permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[APIKey]) -> None:
        for key in keys:
            key.revoke()
            self.log_change(request, key, "Revoked.")
        count = len(keys)
        message = ngettext("%d key is revoked.", "%d keys are revoked.", count) % count
        self.message_user(request, message)
