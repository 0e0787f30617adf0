"""One page: what the product holds, and what each customer's CRM made of it."""

from __future__ import annotations

from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

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
