"""Tally: how many invocations came to a state, and how many tries there were, in a while.

The log says what became of each invocation; this says how many, so that nobody has to count the
log. `delivery/tallies.py` writes it in the transaction that it counts, `delivery/rollup.py` puts
what is older together, `overview/` and `metrics.py` read it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from xkit_crm.models.attempt import Outcome
from xkit_crm.models.invocation import InvocationStatus

#: When what is counted "of all time" is said to have been.
EVER_SINCE = datetime(1970, 1, 1, tzinfo=UTC)


class Span(models.IntegerChoices):
    """What a tally is of. Each thing that was counted is in one of the first three, and in the last
    as soon as it is in the third."""

    FRESH = 0, _("just now")
    MINUTE = 1, _("a minute")
    HOUR = 2, _("an hour")
    EVER = 3, _("all time")


class TallyQuerySet(models.QuerySet["Tally"]):
    def of_all(self) -> Self:
        """Of all connections: what is rolled up already, and what isn't yet."""
        return self.filter(Q(connection_id="") | Q(span=Span.FRESH))

    def of(self, connection_ids: list[str]) -> Self:
        """Of these connections."""
        return self.filter(connection_id__in=connection_ids)

    def ever(self) -> Self:
        """Of all time: each thing that was counted once."""
        return self.filter(span__in=[Span.FRESH, Span.MINUTE, Span.EVER])

    def since(self, start: datetime) -> Self:
        """Of the minutes and hours that began at `start` or later."""
        return self.filter(span__in=[Span.FRESH, Span.MINUTE, Span.HOUR], at__gte=start)


class Tally(models.Model):
    """`count` invocations, or tries, that are alike in all the rest.

    Several rows may say the same of the same minute: what counts is their sum. So whoever counts
    only inserts, waits for nobody, and rolling up may be done by anybody at any time.
    """

    span = models.PositiveSmallIntegerField(
        _("span"), choices=Span.choices, default=Span.FRESH, db_default=Span.FRESH
    )
    at = models.DateTimeField(_("at"), help_text=_("When the minute or hour began."))
    #: Not a foreign key: it outlives its connection. "" is all connections of the provider.
    connection_id = models.CharField(_("connection"), max_length=255, blank=True)
    provider = models.CharField(_("provider"), max_length=100, blank=True)
    #: What they came to; pending: a try after which it waits on; "": a try that changed nothing.
    status = models.CharField(
        _("status"), max_length=10, choices=InvocationStatus.choices, blank=True
    )
    #: Of the try by which they came to it; "": without one.
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices, blank=True)
    code = models.CharField(_("error code"), max_length=50, blank=True)
    #: From the save to the CRM it took at most 2 to the power of this, in milliseconds. Only what
    #: went to the CRM and well.
    bucket = models.PositiveSmallIntegerField(_("bucket"), null=True, blank=True)
    #: They left this status, to be carried out again or to be left.
    reopened = models.BooleanField(_("reopened"), default=False, db_default=False)
    count = models.PositiveBigIntegerField(_("count"))
    #: The sum of what the bucket is about.
    milliseconds = models.PositiveBigIntegerField(_("milliseconds"), default=0, db_default=0)

    objects: ClassVar[TallyQuerySet] = TallyQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")
        default_permissions = ()
        indexes = [
            models.Index(fields=["span", "connection_id", "at"], name="xkit_tally_span_idx"),
            # Which connections have failures, of many that have none.
            models.Index(
                fields=["span", "at", "connection_id"],
                condition=Q(status__in=["failed", "unknown"]),
                name="xkit_tally_failed_idx",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.count} x {self.status or self.outcome} at {self.at:%Y-%m-%d %H:%M}"
