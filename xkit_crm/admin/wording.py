"""What came of something, in words that several pages share."""

from __future__ import annotations

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from xkit_crm.sync.findings import State
from xkit_crm.sync.resync import Resync

#: Why nothing was queued.
_LEFT = {
    State.ON_ITS_WAY: gettext_lazy("on its way already"),
    State.HANDED_OVER: gettext_lazy(
        "left to the CRM's workflow, which didn't say what it made: link it to its record"
    ),
    State.STRAYED: gettext_lazy("linked in a CRM that it doesn't go to any more"),
    State.LEFT_OUT: gettext_lazy("doesn't meet the binding's condition"),
    State.INVALID: gettext_lazy("can't be written"),
    State.OPTED_OUT: gettext_lazy("the customer wants nothing done"),
    State.UNDECIDED: gettext_lazy("the customer has not decided what is done"),
    State.NOT_ENABLED: gettext_lazy("no CRM connected, or its connection is not enabled"),
}


def became(result: Resync, *, with_values: bool) -> str:
    """What became of rows that were to be synced. With values it quotes what is wrong with some."""
    queued = ngettext("%d event is queued.", "%d events are queued.", result.queued)
    told = [queued % result.queued if result.queued else _("Nothing is queued.")]
    left = [(count, str(_LEFT.get(state, state))) for state, count in result.left.items()]
    if result.unbound:
        left.append((result.unbound, _("no event is bound for it")))
    if not result.queued and not left:
        left.append((1, _("it goes to no CRM")))
    told += [
        f"{count} × {reason}." if count > 1 else f"{capfirst(reason)}." for count, reason in left
    ]
    if with_values:
        told += [f"{one.pk}: {one.detail}." for one in result.details[:5] if one.detail]
    return " ".join(told)
