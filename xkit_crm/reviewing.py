"""Nothing that concerns others is changed unseen: what changes is shown first, then done as shown.

The admin makes every change inside of `reviewed`, whichever way it comes about: by its forms, by
restoring a version, by importing a document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import router, transaction

from xkit_crm import impact, states
from xkit_crm.differences import Change
from xkit_crm.impact import Effect, Severity
from xkit_crm.models import CRMObject
from xkit_crm.states import Edit
from xkit_crm.sync import following


@dataclass(frozen=True, slots=True)
class Review:
    """What is changed, path by path, and what that does to whom."""

    changes: tuple[Change, ...]
    effects: tuple[Effect, ...]

    @classmethod
    def of(cls, edits: Sequence[Edit]) -> Review:
        changes = (change for edit in edits for change in states.changes(edit))
        return cls(tuple(changes), tuple(impact.of(edits)))

    @property
    def severity(self) -> Severity:
        """The worst of it."""
        return max((effect.severity for effect in self.effects), default=Severity.SAFE)

    @property
    def token(self) -> str:
        """What it is told by: the same only for the same changes with the same consequences. For
        how many is left out, or what is delivered meanwhile would make it another."""
        told = [(e.severity, e.path, e.whom, e.what) for e in self.effects]
        return hashlib.sha256(repr((self.changes, told)).encode()).hexdigest()


class Unreviewed(Exception):
    """Nothing was changed, since nobody has seen yet what it does."""

    def __init__(self, review: Review) -> None:
        super().__init__("What this changes was not reviewed.")
        self.review = review


@contextmanager
def reviewed(token: str, *, always: bool = False) -> Iterator[None]:
    """Change definitions in here. What isn't safe, or with `always` whatever is changed, is only
    done where `token` is the one of the review of exactly this; otherwise all of it is taken back
    and `Unreviewed` raised."""
    try:
        with transaction.atomic(using=router.db_for_write(CRMObject)):
            before = states.now()
            yield
            edits = states.edits(before, states.now())
            review = Review.of(edits)
            asks = always or review.severity > Severity.SAFE
            if edits and asks and token != review.token:
                raise Unreviewed(review)
    except Exception:
        following.read_again()
        raise
