"""Zoho CRM, as far as the adapter talks to it."""

from __future__ import annotations

from xkit_crm.testing.fakes.zoho.crm import ZohoFake

__all__ = ["ZohoFake"]
