"""Who may do what in the admin: four permissions, beside Django's `view_<model>` for looking.

The models declare them (`Meta.permissions`) and have no `add_`, `change_` and `delete_` of their
own, so that a role is a few ticks. Asked by `admin/` and by the panels on a product's own pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

#: Make and change CRM objects, events and model bindings.
DEFINE = "xkit_crm.define"
#: Repair: replay, skip, pause, go live, change a customer's mapping, link rows to records.
OPERATE = "xkit_crm.operate"
#: Read payloads, and what was sent to and received from a CRM: customers' personal data.
SEE_PAYLOADS = "xkit_crm.see_payloads"
#: Make and delete connections and API keys, and replace credentials.
MANAGE_CREDENTIALS = "xkit_crm.manage_credentials"


def may(user: AbstractBaseUser | AnonymousUser | None, permission: str) -> bool:
    """Whether the user is active and has the permission (superusers have all)."""
    has_perm = getattr(user, "has_perm", None)
    return bool(has_perm and has_perm(permission))
