"""What the product holds and what each customer's CRM made of it, and a customer's own page."""

from __future__ import annotations

from django import forms
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from xkit_crm.models import Connection, Invocation, RecordLink

from .models import Contact, Document, Workspace


def home(request: HttpRequest) -> HttpResponse:
    """Every workspace with its documents and contacts, and the CRM record of each."""
    links = {
        (link.content_type_id, link.object_pk): link.record_id
        for link in RecordLink.objects.only("content_type_id", "object_pk", "record_id")
    }
    document_type = ContentType.objects.get_for_model(Document).pk
    contact_type = ContentType.objects.get_for_model(Contact).pk
    connections = Connection.objects.in_bulk()
    workspaces = [
        {
            "pk": workspace.pk,
            "name": workspace.name,
            "connection": connections.get(workspace.crm_connection_id),
            "documents": [
                (document, links.get((document_type, str(document.pk))))
                for document in workspace.documents.all()
            ],
            "contacts": [
                (contact, links.get((contact_type, str(contact.pk))))
                for contact in workspace.contacts.all()
            ],
        }
        for workspace in Workspace.objects.prefetch_related("documents", "contacts")
    ]
    recent = Invocation.objects.select_related("event", "connection")[:15]
    return render(request, "documents/home.html", {"workspaces": workspaces, "invocations": recent})


class DocumentForm(forms.ModelForm):
    class Meta:
        model = Document
        fields = ["title", "status", "value"]


def connection_id_of(workspace: Workspace) -> str:
    """The id that the workspace's connection has, or will have: one for each workspace."""
    return workspace.crm_connection_id or f"workspace-{workspace.pk}"


def workspace(request: HttpRequest, pk: int) -> HttpResponse:
    """The customer's page, with the button that opens CRM Link."""
    found = get_object_or_404(Workspace, pk=pk)
    form = DocumentForm(request.POST or None, instance=Document(workspace=found))
    if form.is_valid():
        form.save()
        return redirect("workspace", pk=pk)
    connection = Connection.objects.filter(pk=connection_id_of(found)).first()
    return render(
        request,
        "documents/workspace.html",
        {
            "workspace": found,
            "connection": connection,
            "connection_id": connection_id_of(found),
            "connected": reverse("connected", args=[pk]),
            "button": "Change what happens in your CRM" if connection else "Connect your CRM",
            "form": form,
            "documents": list(found.documents.select_related("workspace").order_by("-pk")),
        },
    )


def connected(request: HttpRequest, pk: int) -> HttpResponse:
    """Where CRM Link goes when it is done: from now on the workspace's rows go to its CRM."""
    found = get_object_or_404(Workspace, pk=pk)
    known = Connection.objects.filter(pk=connection_id_of(found), context=found.context)
    if known.exists() and not found.crm_connection_id:
        found.crm_connection_id = connection_id_of(found)
        found.save()
    return redirect("workspace", pk=pk)
