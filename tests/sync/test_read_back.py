"""What the database computes as it writes a row is read back, so that it is told and remembered."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import F

from tests.products.models import Deal
from tests.sync.test_capture import fired

pytestmark = pytest.mark.django_db


def test_what_is_computed_is_told_and_known(deal: Deal) -> None:
    deal.views = F("views") + 3
    deal.save()
    assert deal.views == 3
    deal.save()
    assert [payload["views"] for _, payload in fired()] == [3]


def test_an_expression_that_update_fields_leaves_out_is_still_to_be_saved(deal: Deal) -> None:
    deal.title, deal.views = "Renamed", F("views") + 1
    deal.save(update_fields=["title"])
    deal.save()
    assert Deal.objects.get().views == 1
    told = [(payload["name"], payload["views"]) for _, payload in fired()]
    assert told == [("Renamed", 0), ("Renamed", 1)]


class Replica:
    """Deals are read from a replica that has none of them yet."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "other" if model is Deal else None

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, *rows: Any, **hints: Any) -> bool:
        return True


@pytest.mark.django_db(databases=["default", "other"])
def test_it_is_read_where_it_was_written(deal: Deal, settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.sync.test_read_back.Replica"]
    deal.views = F("views") + 3
    deal.save()
    assert [payload["views"] for _, payload in fired()] == [3]
