"""Pipedrive, as far as the adapter talks to it."""

from __future__ import annotations

from xkit_crm.testing.fakes.pipedrive.crm import PipedriveFake
from xkit_crm.testing.fakes.pipedrive.objects import code_of

__all__ = ["PipedriveFake", "code_of"]
