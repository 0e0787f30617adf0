"""Rows of several tables: each table's row has its own key, and is told of by that one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import xkit_crm
from tests.products.models import Book, Edition, Publication
from tests.sync.marking import installed
from xkit_crm.exceptions import AlreadyLinked
from xkit_crm.models import Connection, Invocation, MarkedRow, RecordLink
from xkit_crm.panel import records_of
from xkit_crm.sync.existing import _require_free
from xkit_crm.sync.reconcile import reconcile
from xkit_crm.sync.resync import resync
from xkit_crm.sync.taking_in import take_in

pytestmark = pytest.mark.django_db


class PublicationSync(xkit_crm.ModelSync):
    crm_object = "opportunity"
    on_create = "deal_created"
    on_update = "deal_updated"
    on_delete = "deal_deleted"
    payload = {"name": "headline"}

    def get_connections(self, publication: Publication) -> list[str]:
        return ["acme"]


@pytest.fixture(autouse=True)
def _bound() -> Iterator[None]:
    xkit_crm.register(Publication)(PublicationSync)
    yield
    xkit_crm.unregister(Publication)


@pytest.fixture
def stranger(sandbox: Connection) -> Publication:
    """Another's row, whose key is the book's as a product, or the edition's number."""
    with xkit_crm.muted():
        made = Publication.objects.create(headline="A stranger's")
        Publication.objects.create(headline="Another's")
    return made


@pytest.fixture
def book(stranger: Publication) -> Book:
    """A row that nobody was told of."""
    with xkit_crm.muted():
        made = Book.objects.create(product_id=stranger.pk, name="Book", headline="A book")
    assert made.pk == stranger.pk != made.publication_id
    return made


def told() -> list[tuple[str, str | None]]:
    """Event and row of every invocation."""
    return list(Invocation.objects.order_by("id").values_list("event__slug", "object_pk"))


def test_a_row_with_two_parents_is_told_of_by_the_key_of_the_bound_one(
    stranger: Publication,
) -> None:
    book = Book.objects.create(product_id=stranger.pk, name="Book", headline="A book")
    key = str(book.publication_id)
    book.headline = "Renamed"
    book.save()
    book.delete()
    assert told() == [("deal_created", key), ("deal_updated", key), ("deal_deleted", key)]


def test_a_row_whose_key_is_not_its_parents_is_told_of_by_its_parents(
    stranger: Publication,
) -> None:
    edition = Edition.objects.create(number=str(stranger.pk), headline="An edition")
    assert told() == [("deal_created", str(edition.publication_id))]


def test_an_event_by_hand_is_about_the_bound_row(book: Book) -> None:
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"}, instance=book, wait=False)
    assert told() == [("deal_created", str(book.publication_id))]


def test_a_link_is_that_of_the_bound_row(book: Book, stranger: Publication) -> None:
    link = xkit_crm.link(book, "acme", "Opportunity:1")
    assert link.object_pk == str(book.publication_id)
    assert list(xkit_crm.links(book)) == [link]
    assert list(xkit_crm.links(stranger)) == []


def test_a_strangers_record_is_not_free_for_a_row_with_the_same_key_elsewhere(
    book: Book, stranger: Publication, sandbox: Connection
) -> None:
    xkit_crm.link(stranger, sandbox, "Opportunity:1")
    xkit_crm.link(book, sandbox, "Opportunity:2")
    with pytest.raises(AlreadyLinked):
        _require_free(book, sandbox, "Opportunity:1")
    _require_free(book, sandbox, "Opportunity:2")


def test_rows_are_synced_now_and_reconciled_by_the_key_of_the_bound_one(book: Book) -> None:
    assert resync(Book.objects.all()).queued == 1
    assert told() == [("deal_created", str(book.publication_id))]
    Invocation.objects.all().delete()
    xkit_crm.link(book, "acme", "Opportunity:1")
    reconcile([Publication])
    assert told() == [("deal_updated", str(book.publication_id))]


@pytest.mark.postgresql
def test_a_marked_row_is_told_of_by_the_key_of_the_bound_one(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    with installed(Book, patch=monkeypatch):
        MarkedRow.objects.create(model="products.book", object_pk=str(book.pk))
        assert take_in() == 1
        assert told() == [("deal_created", str(book.publication_id))]


@pytest.mark.postgresql
def test_a_marked_row_that_is_gone_says_nothing_of_another_with_its_key(
    book: Book, stranger: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    xkit_crm.link(stranger, "acme", "Opportunity:1")
    with xkit_crm.muted():
        book.delete()
    with installed(Book, patch=monkeypatch):
        MarkedRow.objects.create(model="products.book", object_pk=str(stranger.pk))
        take_in()
    assert told() == []


def test_what_is_erased_is_the_rows_own(book: Book, stranger: Publication) -> None:
    xkit_crm.link(stranger, "acme", "Opportunity:1")
    RecordLink.objects.update(delivered={"name": "x"})
    assert xkit_crm.erase(book).links == 0
    assert xkit_crm.erase(stranger).links == 1


def test_a_panel_shows_the_records_of_the_row_in_each_of_its_tables(
    book: Book, stranger: Publication
) -> None:
    xkit_crm.link(stranger, "acme", "Opportunity:1")
    link = xkit_crm.link(book, "acme", "Opportunity:2")
    (place,) = records_of(book).places
    assert place.link == link
