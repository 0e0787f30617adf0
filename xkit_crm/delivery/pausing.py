"""Why a lane is paused, by what was learned of its CRM. For whoever shows one."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from xkit_crm.conf import settings
from xkit_crm.delivery import rate
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models import Lane
from xkit_crm.providers.base import Limits
from xkit_crm.providers.registry import provider_class


class Pause(models.TextChoices):
    """In this order: the first that is true."""

    DOWN = "down", _("the CRM doesn't answer")
    QUOTA = "quota", _("the daily quota is used up, but for the reserve")
    LIMIT = "limit", _("the CRM's rate limit is reached")
    ASKED = "asked", _("the CRM asked for it")


def why(lane: Lane, *, now: datetime) -> Pause:
    """What paused it."""
    gauge, connection = gauge_of(lane), lane.connection
    if gauge.failures >= settings.BREAKER_THRESHOLD:
        return Pause.DOWN
    if rate.until_quota(gauge, reserve=connection.quota_reserve, now=now):
        return Pause.QUOTA
    tokens = rate.available(gauge, limits_of(connection.provider), now=now)
    return Pause.LIMIT if tokens is not None and tokens < 1 else Pause.ASKED


def gauge_of(lane: Lane) -> rate.Gauge:
    """What was learned of its CRM."""
    return rate.Gauge(**{name: getattr(lane, name) for name in rate.COLUMNS})


def limits_of(provider: str) -> Limits:
    """What its CRM allows; nothing is known where it is not installed any more."""
    try:
        return provider_class(provider).limits
    except ConfigurationError:
        return Limits()
