"""System checks: wrong configuration is found by `manage.py check`, not by a customer.

Errors E001-E009 are about settings, E010-E019 about bindings, E020 and up about watching; warnings
W001 and up about what works and will surprise, W011 and up about bindings and mappings that don't
fit the definitions in the database.
"""

from __future__ import annotations

from xkit_crm.checks import bindings, monitoring, settings

__all__ = ["bindings", "monitoring", "settings"]
