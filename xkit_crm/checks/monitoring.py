"""Watching: the metrics' token can't be guessed, and what the overview shows is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.core.checks import CheckMessage, register

from xkit_crm.checks.messages import error
from xkit_crm.conf import SETTING, settings

#: Characters of a token that nobody guesses.
TOKEN: Final = 24
#: The longest time that the overview shows.
SHOWN: Final = timedelta(days=7)


@register("xkit_crm")
def check_monitoring(**_: object) -> list[CheckMessage]:
    """Of the right type they are by `check_settings`."""
    found: list[CheckMessage] = []
    token, kept = settings.METRICS_TOKEN, settings.KEEP_TALLIES
    if isinstance(token, str) and 0 < len(token) < TOKEN:
        found.append(
            error(
                "E023",
                f'{SETTING}["METRICS_TOKEN"] is shorter than {TOKEN} characters.',
                "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        )
    if isinstance(kept, timedelta) and kept < SHOWN:
        found.append(
            error(
                "E003",
                f'{SETTING}["KEEP_TALLIES"] is shorter than the {SHOWN.days} days that the '
                "overview shows.",
                "Keep them as long, or leave it out: it is 14 days then.",
            )
        )
    return found
