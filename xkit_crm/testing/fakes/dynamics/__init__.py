"""Dataverse, as far as the adapter of Dynamics 365 talks to it."""

from __future__ import annotations

from xkit_crm.testing.fakes.dynamics.crm import DynamicsFake
from xkit_crm.testing.fakes.dynamics.objects import WELCOME

__all__ = ["WELCOME", "DynamicsFake"]
