"""What is offered of a model: paths by what they give, and none that nobody should read."""

from __future__ import annotations

from typing import Any

from tests.products.models import BigDeal, Deal
from xkit_crm.sync import kinds, readable


def test_a_key_is_offered_what_fits_it(definitions: None) -> None:
    paths = readable.paths_of(Deal)

    def fitting(**description: Any) -> set[str]:
        return {one.path for one in paths if one.kind.fits(description)}

    assert {"title", "note", "customer.name", "owner.email", "owner.username"} <= fitting(
        type="string"
    )
    assert not {"views", "amount", "tags"} & fitting(type="string")
    assert {"amount", "views", "customer"} <= fitting(type="number")
    assert "amount" not in fitting(type="integer")
    assert fitting(type="string", format="datetime") == {
        "modified_at",
        "owner.last_login",
        "owner.date_joined",
    }
    assert fitting(type="string", format="date") == set()
    assert {"owner.email", "title"} <= fitting(type="string", format="email")
    assert "tags" in fitting(type="array") & fitting(type="object")
    assert fitting(type="boolean") == {"owner.is_superuser", "owner.is_staff", "owner.is_active"}


def test_computed_values_are_offered_by_what_they_say_to_return() -> None:
    from example_project.documents.models import Document

    paths = {one.path: one for one in readable.paths_of(Document)}
    assert paths["workspace.context"].kind == kinds.Kind("string")
    assert paths["get_status_display"].kind == kinds.Kind("string")
    assert paths["status"].choices[1] == ("sent", "Sent")
    assert not any(path.startswith("get_next_by") for path in paths)


def test_nobody_is_offered_hashes_or_many_rows_or_what_is_inherited_twice() -> None:
    paths = [one.path for one in readable.paths_of(BigDeal)]
    assert "owner.password" not in paths
    assert not any("hash" in path for path in paths)
    assert "customer.deals" not in paths
    assert {"title", "discount"} <= set(paths)
    assert not any(path.startswith(("deal_ptr", "bigdeal")) for path in paths)
