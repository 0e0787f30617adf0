"""Tryton, whose JSON-RPC has ways of its own to write values, conditions and errors."""

from __future__ import annotations

from xkit_crm.providers.tryton.provider import TrytonProvider

__all__ = ["TrytonProvider"]
