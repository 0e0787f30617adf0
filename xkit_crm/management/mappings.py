"""What the commands about mappings share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xkit_crm.exceptions import CRMError, Problem, XkitError
from xkit_crm.management.base import XkitCommand
from xkit_crm.mappings import State
from xkit_crm.models import Connection


class MappingCommand(XkitCommand):
    """A command that tells what mappings miss of their CRMs."""

    def tell_missing(
        self, connection: Connection, found: Mapping[str, State | CRMError], *, undecided: bool
    ) -> int:
        """Gives how many things are missing."""
        missing = 0
        for slug, state in found.items():
            if isinstance(state, CRMError):
                self.say_that_it_is_silent(connection, state, slug)
                continue
            missing += len(state.missing)
            for line in _lines(slug, state.missing):
                self.stdout.write(self.style.ERROR(f"{connection}: missing: {line}"))
            for line in _lines(slug, state.undecided) if undecided else ():
                self.stdout.write(f"{connection}: undecided: {line}")
        return missing

    def say_that_it_is_silent(
        self, connection: Connection, error: XkitError, slug: str = ""
    ) -> None:
        about = f" about {slug}" if slug else ""
        told = f"{connection}: the CRM can't be asked{about}: {error.message}"
        self.stdout.write(self.style.WARNING(told))


def _lines(slug: str, problems: tuple[Problem, ...]) -> Iterator[str]:
    for problem in problems:
        yield f"{slug}.{problem.path}: {problem.error}"
