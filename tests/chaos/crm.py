"""With `--capture triggers`: deals are left to the triggers of their table, by every process."""

from __future__ import annotations

import xkit_crm
from tests.products.crm import DealSync
from tests.products.models import Deal
from xkit_crm.sync.triggers import capture_triggers

TRIGGERS = capture_triggers()
# As a product's `Meta.triggers` would.
Deal._meta.triggers = TRIGGERS  # type: ignore[attr-defined]

xkit_crm.unregister(Deal)


@xkit_crm.register(Deal)
class DealByTriggersSync(DealSync):
    by_triggers = True
