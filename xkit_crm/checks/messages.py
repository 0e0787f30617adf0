"""What a check says: an id, what is wrong, and what to do."""

from __future__ import annotations

from django.core.checks import Error, Warning  # noqa: A004


def warning(number: str, message: str, hint: str) -> Warning:
    return Warning(message, hint=hint, id=f"xkit_crm.{number}")


def error(number: str, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"xkit_crm.{number}")
