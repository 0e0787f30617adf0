"""What a change does to somebody, and how many of them there are."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

#: How many are named.
EXAMPLES = 5


class Severity(enum.IntEnum):
    """How bad it is; the worst is the greatest."""

    SAFE = 0
    #: It goes on, and somebody has to look at their mapping.
    REMAP = 1
    #: Something is refused, or no longer reaches the CRM.
    BREAKS = 2

    @property
    def label(self) -> str:
        return str({0: _("safe"), 1: _("needs re-mapping"), 2: _("breaks")}[self])


class Whom(enum.StrEnum):
    """Whom it concerns."""

    BINDING = "binding"
    CONNECTION = "connection"
    WAITING = "waiting"
    CALLER = "caller"


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a change means for one of them: at `path`, with `what` as a sentence."""

    severity: Severity
    path: str
    whom: Whom
    what: str


@dataclass(frozen=True, slots=True)
class Effect(Consequence):
    """The same consequence for all whom it concerns: `count` of them, of whom some are named."""

    count: int
    examples: tuple[str, ...] = ()

    @property
    def who(self) -> str:
        """How many it concerns, in words; empty where nobody here does."""
        match self.whom:
            case Whom.BINDING:
                return ngettext("%d binding", "%d bindings", self.count) % self.count
            case Whom.CONNECTION:
                return ngettext("%d connection", "%d connections", self.count) % self.count
            case Whom.WAITING:
                return ngettext("%d invocation", "%d invocations", self.count) % self.count
            case _:
                return ""

    @property
    def left_out(self) -> int:
        """How many are not named."""
        return self.count - len(self.examples)


@dataclass(slots=True)
class Tally:
    """Counts whom each consequence concerns, and keeps the names of the first."""

    found: dict[Consequence, list[str]] = field(default_factory=dict)
    counts: dict[Consequence, int] = field(default_factory=dict)

    def add(self, consequence: Consequence, name: str = "") -> None:
        self.counts[consequence] = self.counts.get(consequence, 0) + 1
        names = self.found.setdefault(consequence, [])
        if name and len(names) < EXAMPLES:
            names.append(name)

    def effects(self) -> Iterator[Effect]:
        """The worst first."""
        for one in sorted(self.counts, key=lambda one: (-one.severity, one.path, one.whom)):
            names = tuple(self.found[one])
            yield Effect(one.severity, one.path, one.whom, one.what, self.counts[one], names)
