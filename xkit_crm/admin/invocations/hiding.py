"""What somebody sees who may not see payloads: that there is something, and nothing of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from xkit_crm.admin.base import pretty
from xkit_crm.delivery.failures import without_values
from xkit_crm.exceptions import XkitError, from_dict
from xkit_crm.models import Attempt, Invocation
from xkit_crm.permissions import SEE_PAYLOADS, may
from xkit_crm.redaction import MASK


class Eyes:
    """What the user of a request gets to see of payloads."""

    def __init__(self, request: HttpRequest) -> None:
        self.may_see = may(request.user, SEE_PAYLOADS)

    def json(self, value: Any) -> SafeString | str:
        """JSON of which values are personal data."""
        if value in (None, {}, []) or self.may_see:
            return pretty(value)
        return format_html('<span class="xkit-quiet">{}</span>', hidden())

    def words(self, text: str, payloads: Iterable[Any]) -> str:
        """Words that may quote values: of these payloads, or of a row as it is by now."""
        return text if self.may_see else without_values(text, payloads, by=MASK)

    def error(
        self, error: XkitError | None, invocation: Invocation, attempts: Iterable[Attempt] = ()
    ) -> str:
        """An error of the invocation, or of one of its attempts."""
        return self.words(str(error), payloads_of(invocation, attempts)) if error else ""


def hidden() -> str:
    """What stands where a payload is."""
    return _("hidden: needs the permission “Can see payloads”")


def payloads_of(invocation: Invocation, attempts: Iterable[Attempt] = ()) -> list[Any]:
    """Everything of which an error may quote something."""
    found: list[Any] = [invocation.payload, *(s.get("payload") for s in invocation.folded or ())]
    for attempt in attempts:
        found += [attempt.sent, attempt.received]
    return found


def error_of(attempt: Attempt) -> XkitError | None:
    """What an attempt failed with."""
    return from_dict(attempt.error) if attempt.error else None
