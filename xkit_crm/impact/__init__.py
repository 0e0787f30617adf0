"""Whom a change of the definitions concerns, and how: told before it is made.

`of` takes what changes and asks the database for whoever may be concerned. What it means for them
is told by plain functions over data, in `bindings.py` and `mappings.py`. `reviewing.py` and the
admin's previews call this.
"""

from __future__ import annotations

from xkit_crm.impact.asking import of
from xkit_crm.impact.effects import Effect, Severity

__all__ = ["Effect", "Severity", "of"]
