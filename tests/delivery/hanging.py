"""A sandbox CRM whose answer never comes when it is told so."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox.provider import SandboxProvider

#: Names a file: while it exists, the next create is written, and then hangs.
TOLD = "XKIT_TEST_HANG"


class HangingProvider(SandboxProvider):
    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        ref = super().create(remote_object, values, key=key)
        told = Path(os.environ[TOLD])
        if told.exists():
            told.unlink()
            time.sleep(120)
        return ref
