"""A writer: changes rows of the product all the time. `python -m tests.chaos.writer`, a process.

It creates, updates and deletes deals, in autocommit and in transactions, takes some back by
rollback or savepoint, and shares some rows with the other writers. Each save counts the row's
`views` up and gives it a name that no other save has.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.db import DatabaseError, InterfaceError, connection, transaction

import xkit_crm
from tests.chaos.journal import ROLLED_BACK, Change, Writing
from tests.crm.state import POISON

if TYPE_CHECKING:  # models can be imported only when Django is set up
    from tests.products.models import Deal

logger = logging.getLogger(__name__)

#: Rows that all writers change, under a lock of the row.
SHARED = "shared"


class TakenBack(Exception):
    """Raised inside a transaction to roll it back."""


class Writer:
    """One incarnation of a writer; the next one goes on with its rows."""

    def __init__(self, number: int, incarnation: int, seed: str, journal: Path) -> None:
        from tests.products.models import Customer, Deal

        self.name = f"w{number}.{incarnation}"
        self.owner = f"writer {number}"
        self.random = random.Random(f"{seed}/writer/{number}/{incarnation}")
        self.journal = Writing(journal)
        self.saves = 0
        self.done = 0
        self._deals = Deal.objects
        self._synced: Any = getattr(Deal, "synced", None)
        _wait_for_the_last(number)
        self.customers = list(Customer.objects.order_by("pk"))
        self.own = list(self._deals.filter(note=self.owner).values_list("pk", flat=True))
        self.shared = list(self._deals.filter(note=SHARED).values_list("pk", flat=True))

    # -- what is done, by how often it is -------------------------------------------------------

    def step(self) -> None:
        """One transaction, or one save without any."""
        works: list[tuple[int, Callable[[], None]]] = [
            (22, self.create),
            (22, self.update),
            (18, self.update_shared),
            (8, self.delete),
            (7, self.several),
            (3, self.many),
            (8, self.take_back),
            (8, self.savepoint),
            (2, self.come_and_go),
            (2, self.poison),
        ]
        work = self.random.choices([w for _, w in works], weights=[n for n, _ in works])[0]
        if not self.own and work not in (self.create, self.update_shared):
            work = self.create
        work()

    def create(self) -> None:
        deal = self._new()
        word = f" {POISON}" if self.random.random() < 0.05 else ""
        change = self._change(deal, "create", word=word)
        self._commit([change], lambda: self._save(deal))
        self.own.append(deal.pk)
        if word:
            for _ in range(3):  # what waits behind a create that is refused
                change = self._change(deal, "update")
                self._commit([change], partial(self._save, deal))

    def update(self) -> None:
        if (deal := self._load(self.random.choice(self.own))) is not None:
            change = self._change(deal, "update")
            self._commit([change], lambda: self._save(deal))

    def poison(self) -> None:
        """A name that the CRM refuses; a later save mends it."""
        if (deal := self._load(self.random.choice(self.own))) is not None:
            change = self._change(deal, "update", word=f" {POISON}")
            self._commit([change], lambda: self._save(deal))

    def delete(self) -> None:
        pk = self.random.choice(self.own)
        if (deal := self._load(pk)) is not None:
            change = Change(_row(deal), "delete", deal.views)
            self._commit([change], deal.delete)
        self.own.remove(pk)

    def update_shared(self) -> None:
        with transaction.atomic():
            deal = self._load(self.random.choice(self.shared), lock=True)
            assert deal is not None
            change = self._change(deal, "update")
            name = self.journal.begin([change])
            self._save(deal)
        self._committed(name, 1)

    def several(self) -> None:
        """Several rows in one transaction, some of them several times."""
        deals = [self._new() for _ in range(self.random.randint(1, 3))]
        old = self._load(self.random.choice(self.own))
        with transaction.atomic(), self._gathered():
            names = []
            for deal in [*deals, *([old] if old else []), *deals[:1]]:
                kind = "create" if deal._state.adding else "update"
                names.append(self.journal.begin([self._change(deal, kind)]))
                self._save(deal)
        self.own += [deal.pk for deal in deals]
        for name in names:
            self._committed(name, 1)

    def many(self) -> None:
        """Rows that are created, updated and deleted past `save()`, by querysets that capture."""
        synced = self._synced
        if synced is None:
            return self.several()
        new = [self._new() for _ in range(self.random.randint(1, 5))]
        chosen = self.random.sample(self.own, min(len(self.own), 4))
        old = list(synced.select_related("customer").filter(pk__in=chosen[1:]))
        gone = list(synced.filter(pk__in=chosen[:1]))
        with transaction.atomic():
            changes = [self._change(deal, "create") for deal in new]
            changes += [self._change(deal, "update") for deal in old]
            changes += [Change(_row(deal), "delete", deal.views) for deal in gone]
            name = self.journal.begin(changes)
            synced.bulk_create(new)
            synced.bulk_update(old, ["title", "views", "amount"])
            synced.filter(pk__in=[deal.pk for deal in gone]).delete()
        self.own += [deal.pk for deal in new]
        self.own = [pk for pk in self.own if pk not in chosen[:1]]
        return self._committed(name, len(changes))

    def _gathered(self) -> AbstractContextManager[object]:
        """Now and then, what is saved is gathered and captured together."""
        if self.random.random() < 0.6:
            return nullcontext()
        return xkit_crm.bulk()

    def take_back(self) -> None:
        """A transaction that is rolled back: of a create, an update or a delete."""
        new, old = self._new(), self._load(self.random.choice(self.own))
        changes = [self._change(new, "create", fate="rollback")]
        if old is not None:
            changes.append(self._change(old, "update", fate="rollback"))
        self.journal.begin(changes)
        try:
            with transaction.atomic(), self._gathered():
                self._save(new)
                if old is not None:
                    self._save(old)
                    if self.random.random() < 0.3:
                        old.delete()
                raise TakenBack
        except TakenBack:
            return

    def savepoint(self) -> None:
        """A save that is rolled back to a savepoint, and one of the same row that is kept."""
        deal = self._load(self.random.choice(self.own))
        if deal is None:
            return
        with transaction.atomic():
            try:
                with transaction.atomic():
                    dropped = self._change(deal, "update", fate="rollback")
                    self.journal.begin([dropped])
                    self._save(deal)
                    raise TakenBack
            except TakenBack:
                deal.views -= 1
            change = self._change(deal, "update")
            name = self.journal.begin([change])
            self._save(deal)
        self._committed(name, 1)

    def come_and_go(self) -> None:
        """A row that is created, changed and deleted by one transaction."""
        deal = self._new()
        with transaction.atomic():
            name = self.journal.begin([self._change(deal, "create")])
            self._save(deal)
            names = [name, self.journal.begin([self._change(deal, "update")])]
            self._save(deal)
            names.append(self.journal.begin([Change(_row(deal), "delete", deal.views)]))
            deal.delete()
        for each in names:
            self._committed(each, 1)

    # -- how it is done -------------------------------------------------------------------------

    def _new(self) -> Deal:
        from tests.products.models import Deal

        self.saves += 1
        row = f"{self.name}-{self.saves}"
        customer = self.random.choice(self.customers)
        return Deal(customer=customer, title=row, views=0, note=self.owner)

    def _load(self, pk: int, *, lock: bool = False) -> Deal | None:
        found = self._deals.filter(pk=pk)
        deal: Deal | None = (
            found.select_for_update() if lock else found.select_related("customer")
        ).first()
        return deal

    def _change(self, deal: Deal, kind: str, *, word: str = "", fate: str = "commit") -> Change:
        """Give the row its next version and name."""
        self.saves += 1
        row = _row(deal)
        word = f" {ROLLED_BACK}" if fate == "rollback" else word
        deal.title = f"{row}{word} {self.name}-{self.saves}"
        deal.views += 1
        deal.amount = Decimal(self.random.randint(0, 1_000_000)) / 100
        return Change(row, kind, deal.views, deal.title, fate)

    def _save(self, deal: Deal) -> None:
        deal.save()

    def _commit(self, changes: list[Change], work: Callable[[], object]) -> None:
        """In autocommit, or in a transaction around it."""
        name = self.journal.begin(changes)
        if self.random.random() < 0.5:
            work()
        else:
            with transaction.atomic():
                work()
        self._committed(name, len(changes))

    def _committed(self, name: str, changes: int) -> None:
        self.journal.committed(name)
        self.done += changes


def _wait_for_the_last(number: int) -> None:
    """The session of this writer's last incarnation may still be committing, where there is a
    server to do so."""
    waits = {
        "postgresql": "SELECT pg_advisory_lock(%s)",
        # The name is the whole server's.
        "mysql": "SELECT GET_LOCK(CONCAT(DATABASE(), '/', %s), 60)",
    }
    if statement := waits.get(connection.vendor):
        with connection.cursor() as cursor:
            cursor.execute(statement, [number])


def _row(deal: Deal) -> str:
    """The row's own word, with which all of its names begin."""
    return str(deal.title).split(" ", 1)[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.writer")
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--incarnation", type=int, required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--changes", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    options = parser.parse_args()
    django.setup()
    parent, begun = os.getppid(), time.monotonic()
    writer: Writer | None = None
    while (writer is None or writer.done < options.changes) and os.getppid() == parent:
        try:
            if writer is None:
                writer = Writer(options.number, options.incarnation, options.seed, options.journal)
                begun = time.monotonic()
            writer.step()
        except (DatabaseError, InterfaceError):
            # The database went away: what became of the last transaction is only known there.
            logger.exception("Writer %d begins again.", options.number)
            connection.close()
            if writer is not None:
                options.changes -= writer.done
                options.incarnation += 1_000
            writer = None
            time.sleep(0.2)
            continue
        ahead = writer.done / options.rate - (time.monotonic() - begun)
        if ahead > 0:
            time.sleep(min(ahead, 1.0))


if __name__ == "__main__":
    main()
