"""What the product tells its customers' CRMs. Found by xkit_crm like `admin.py` by the admin."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

import xkit_crm

from .models import Contact, Document


@xkit_crm.register(Document)
class DocumentSync(xkit_crm.ModelSync):
    crm_object = "opportunity"
    on_create = "create_opportunity"
    on_update = "document_updated"
    on_delete = "document_deleted"
    payload = {
        "name": "title",
        "status": "status",
        "amount": "value",
        "signer_email": "signer.email",
        "updated_at": "modified_at",
    }

    def get_connections(self, document: Document) -> list[str]:
        return [document.workspace.crm_connection_id]


@xkit_crm.register(Contact)
class ContactSync(xkit_crm.ModelSync):
    crm_object = "contact"
    on_create = "create_contact"
    on_update = "contact_updated"
    on_delete = "contact_deleted"
    payload = {"name": "full_name", "email": "email", "phone": "phone"}
    watch = ["full_name", "email", "phone"]

    def get_deleted_at(self, contact: Contact) -> datetime:
        return timezone.now()

    def get_connections(self, contact: Contact) -> list[str]:
        return [contact.workspace.crm_connection_id]
