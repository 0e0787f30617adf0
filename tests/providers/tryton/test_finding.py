"""Tryton: finding what was made or merged, and what is searched for."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.providers.tryton.conftest import OPPORTUNITY, PARTY, Between, asked, party
from xkit_crm.exceptions import CRMUnavailable, RemoteRecordNotFound
from xkit_crm.providers.base import Criterion, Draft, Operator, RecordRef
from xkit_crm.providers.tryton import TrytonProvider
from xkit_crm.testing.fakes import Misbehaviour

pytestmark = pytest.mark.service


@pytest.mark.parametrize("number", ["abc", "0", "-1", "1 OR 1=1", str(2**31), "9" * 40, "१"])
def test_an_id_that_none_has_is_not_found_and_not_sent(
    provider: TrytonProvider, crm: Between, number: str
) -> None:
    ref = RecordRef(OPPORTUNITY, number)
    for do in (
        lambda: provider.get(ref, ["number"]),
        lambda: provider.update(ref, {"comment": "x"}),
        lambda: provider.delete(ref),
    ):
        with pytest.raises(RemoteRecordNotFound):
            do()
    assert asked(crm, ".write") == asked(crm, ".delete") == []


@pytest.mark.parametrize("remote_object", [PARTY, OPPORTUNITY])
def test_a_batch_that_was_made_without_an_answer_is_found_by_its_keys(
    provider: TrytonProvider, crm: Between, remote_object: str
) -> None:
    text = "name" if remote_object == PARTY else "description"
    drafts = [Draft({text: f"Lost {n}"}, str(uuid4())) for n in range(3)]
    provider.fields(remote_object)
    crm.misbehave(Misbehaviour.LOST)
    with pytest.raises(CRMUnavailable) as caught:
        provider.create_many(remote_object, drafts)
    assert caught.value.outcome_unknown
    found = provider.find_created_many(remote_object, [*(one.key for one in drafts), "none"])
    assert found[3] is None
    read = provider.get_many([ref for ref in found if ref], [text])
    assert [getattr(one, "values", one) for one in read] == [one.values for one in drafts]


def test_a_record_that_was_put_away_is_found_by_its_key(provider: TrytonProvider) -> None:
    key = str(uuid4())
    ref = provider.create(PARTY, {"name": "Ada"}, key=key)
    provider.update(ref, {"active": False})
    assert provider.find_created(PARTY, key=key) == ref


def test_what_has_no_place_for_a_key_says_so(provider: TrytonProvider) -> None:
    assert provider.finds_created(PARTY)
    assert provider.finds_created(OPPORTUNITY)
    assert provider.finds_created("sale.sale")
    assert not provider.finds_created("party.address")


def test_a_chain_of_merged_parties_is_followed(provider: TrytonProvider, crm: Between) -> None:
    first, second, third = (party(provider) for _ in range(3))
    crm.merge(PARTY, second.crm_id, first.crm_id)
    crm.merge(PARTY, third.crm_id, second.crm_id)
    provider.update(first, {"name": "Byron"})
    assert provider.get(third, ["name"]).values == {"name": "Byron"}
    assert provider.get(second, ["name"]).values == {"name": "Byron"}
    assert provider.get(first, ["name"]).ref == third


def test_a_text_that_is_searched_for_is_no_pattern(provider: TrytonProvider) -> None:
    tag = uuid4().hex
    name = rf"{tag} 100% of_it \ 'quoted'"
    ref = party(provider, name=name)
    party(provider, name=name.replace("%", "0 %").replace("_", "-"))
    for operator in (Operator.EQUALS, Operator.CONTAINS):
        found = provider.search(PARTY, [Criterion("name", operator, name)], [], limit=9)
        assert [one.ref for one in found] == [ref]


def test_a_party_is_found_by_any_of_its_emails(provider: TrytonProvider) -> None:
    address = f"{uuid4().hex}@example.com"
    ref = party(provider, email="first@example.com")
    values = {"party": ref.crm_id, "type": "email", "value": address}
    provider.create("party.contact_mechanism", values, key="k")
    for operator, text in [(Operator.EQUALS, address), (Operator.CONTAINS, address[:20])]:
        found = provider.search(PARTY, [Criterion("email", operator, text)], ["email"], limit=9)
        assert [one.ref for one in found] == [ref]
    assert provider.search(PARTY, [Criterion("phone", Operator.EQUALS, address)], [], limit=9) == []


def test_the_newest_is_found_first(provider: TrytonProvider) -> None:
    name = uuid4().hex
    refs = [party(provider, name=name) for _ in range(3)]
    found = provider.search(PARTY, [Criterion("name", Operator.EQUALS, name)], [], limit=2)
    assert [one.ref for one in found] == [refs[2], refs[1]]
