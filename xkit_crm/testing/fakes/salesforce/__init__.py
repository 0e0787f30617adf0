"""Salesforce, as far as the adapter talks to it."""

from __future__ import annotations

from xkit_crm.testing.fakes.salesforce.crm import SalesforceFake

__all__ = ["SalesforceFake"]
