"""What any provider has to do to be called one.

Subclass `ProviderConformance` in a test module, and say what the CRM is like:

    class TestMyCRM(ProviderConformance):
        subject = Subject(remote_object="contacts", text="lastname", ...)

        @pytest.fixture
        def make(self) -> Make: ...  # gives a new adapter of one connection at each call

What a CRM has not (a batch call, workflows, a way to be told to misbehave) is left out of the
subject, and its tests skip and say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.mapping.sameness import same
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import (
    Criterion,
    Draft,
    Edit,
    Operator,
    Provider,
    RecordRef,
    RemoteType,
    outcome_of,
)
from xkit_crm.testing.fakes import FakeCRM, Misbehaviour

#: Makes an adapter, each time anew, as each worker does.
Make = Callable[[], Provider]

UNICODE = "Zażółć gęślą jaźń — 客户 — \u202bلقاء\u202c — 🦀 \"quoted\" 'single' <b>&amp;</b> \\ %20"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the suite has to know of a CRM."""

    #: An object to write to, and a text field of it that is searched.
    remote_object: str
    text: str
    #: A whole record, by field, as mapping gives values: one of each type that the object has.
    values: Mapping[str, Any]
    #: Other values of those that can be changed.
    changes: Mapping[str, Any]
    #: What makes a record that the CRM refuses, and the field that it finds at fault; nothing: it
    #: refuses none.
    refused: Mapping[str, Any] = field(default_factory=dict)
    at_fault: str = ""
    #: The fewest values of a record.
    least: Mapping[str, Any] = field(default_factory=dict)
    #: A field that holds long texts.
    long_text: str = ""
    #: An id that no record has.
    no_such_id: str = "999999999"
    #: A workflow, its inputs, and whether it is about a record.
    workflow: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    about_a_record: bool = True
    #: Whether a search finds what was written a moment ago.
    finds_at_once: bool = True
    #: Whether it can search for a part of a text.
    finds_parts: bool = True


class ProviderConformance:
    """The suite. `make` is a fixture of the subclass, and so is `crm` where it has a fake."""

    subject: ClassVar[Subject]

    @pytest.fixture
    def fake(self, request: pytest.FixtureRequest) -> FakeCRM:
        """The fake behind the adapter, where there is a fixture `crm`."""
        try:
            found: FakeCRM = request.getfixturevalue("crm")
        except pytest.FixtureLookupError:
            pytest.skip("it can't be told to misbehave")
        return found

    @pytest.fixture
    def provider(self, make: Make) -> Provider:
        return make()

    # -- describing ---------------------------------------------------------------------------

    def test_it_describes_its_objects(self, provider: Provider) -> None:
        found = provider.describe_objects()
        names = [one.name for one in found]
        assert self.subject.remote_object in names
        assert len(set(names)) == len(names)
        assert all(one.label for one in found)

    def test_it_describes_fields(self, provider: Provider) -> None:
        found = {one.name: one for one in provider.describe_fields(self.subject.remote_object)}
        assert len(found) == len(provider.describe_fields(self.subject.remote_object))
        assert found.keys() >= self.subject.values.keys() | self.subject.changes.keys()
        assert all(one.label for one in found.values())
        assert all(found[name].createable for name in self.subject.values)
        assert all(found[name].updateable for name in self.subject.changes)
        for one in found.values():
            picks = one.type in (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST)
            assert picks or not one.choices
            assert one.type is RemoteType.REFERENCE or not one.references

    def test_an_object_that_is_not_there_has_no_fields(self, provider: Provider) -> None:
        with pytest.raises(CRMError):
            provider.describe_fields("no_such_object")

    # -- one record ---------------------------------------------------------------------------

    def test_what_is_created_is_read_back_in_every_type(self, provider: Provider) -> None:
        ref = self._create(provider, **self.subject.values)
        assert ref.remote_object == self.subject.remote_object
        self._assert_holds(provider, ref, self.subject.values)

    def test_an_update_changes_what_it_names_and_nothing_else(self, provider: Provider) -> None:
        ref = self._create(provider, **self.subject.values)
        provider.update(ref, self.subject.changes)
        self._assert_holds(provider, ref, {**self.subject.values, **self.subject.changes})

    def test_a_deleted_record_is_gone_for_good(self, provider: Provider) -> None:
        ref = self._create(provider)
        provider.delete(ref)
        with pytest.raises(RemoteRecordNotFound):
            provider.get(ref, [self.subject.text])
        with pytest.raises(RemoteRecordNotFound):
            provider.update(ref, self.subject.changes)
        # Some say that it is gone, to others it's all the same.
        with suppress(RemoteRecordNotFound):
            provider.delete(ref)

    def test_a_record_that_never_was_is_not_found(self, provider: Provider) -> None:
        ref = RecordRef(self.subject.remote_object, self.subject.no_such_id)
        with pytest.raises(RemoteRecordNotFound):
            provider.get(ref, [self.subject.text])
        with pytest.raises(RemoteRecordNotFound):
            provider.update(ref, self.subject.changes)
        with suppress(RemoteRecordNotFound):
            provider.delete(ref)

    def test_what_the_crm_refuses_names_the_field(self, provider: Provider) -> None:
        if not self.subject.refused:
            pytest.skip("it refuses nothing")
        with pytest.raises(RejectedByCRM) as caught:
            self._create(provider, **self.subject.refused)
        assert self.subject.at_fault in [problem.path for problem in caught.value.errors]
        assert not caught.value.outcome_unknown

    def test_texts_of_every_script_come_back_as_they_were(self, provider: Provider) -> None:
        ref = self._create(provider, **{self.subject.text: UNICODE})
        self._assert_holds(provider, ref, {self.subject.text: UNICODE})

    def test_a_text_of_100_kb_is_kept_whole_or_refused(self, provider: Provider) -> None:
        if not self.subject.long_text:
            pytest.skip("it has no field for long texts")
        text = "Ein langer Text. " * 6000
        try:
            ref = self._create(provider, **{self.subject.long_text: text})
        except RejectedByCRM:
            return
        self._assert_holds(provider, ref, {self.subject.long_text: text})

    def test_what_was_merged_away_leads_to_what_was_kept_or_is_gone(
        self, provider: Provider, fake: FakeCRM
    ) -> None:
        kept, merged = self._create(provider), self._create(provider)
        if not fake.merge(self.subject.remote_object, kept.crm_id, merged.crm_id):
            pytest.skip("its records can't be merged")
        with suppress(RemoteRecordNotFound):
            provider.update(merged, self.subject.changes)
            self._assert_holds(provider, kept, self.subject.changes)
        with suppress(RemoteRecordNotFound):
            provider.get(merged, [self.subject.text])
        provider.get(kept, [self.subject.text])

    def test_a_record_has_an_address_for_people(self, provider: Provider) -> None:
        ref = self._create(provider)
        url = provider.record_url(ref)
        assert not url or url.startswith(("https://", "http://", "/"))

    # -- searching ----------------------------------------------------------------------------

    def test_records_are_found_by_what_they_hold(self, provider: Provider) -> None:
        name = self._unique()
        ref = self._create(provider, **{self.subject.text: name})
        self._create(provider, **{self.subject.text: self._unique()})
        equal = [Criterion(self.subject.text, Operator.EQUALS, name)]
        assert self._search(provider, equal) == [ref]
        if self.subject.finds_parts:
            part = [Criterion(self.subject.text, Operator.CONTAINS, name[:-4])]
            assert self._search(provider, part) == [ref]
        none = [Criterion(self.subject.text, Operator.EQUALS, self._unique())]
        assert self._search(provider, none) == []

    def test_a_search_gives_the_values_and_no_more_than_asked_for(self, provider: Provider) -> None:
        name = self._unique()
        for _ in range(3):
            self._create(provider, **{self.subject.text: name})
        found = provider.search(
            self.subject.remote_object,
            [Criterion(self.subject.text, Operator.EQUALS, name)],
            [self.subject.text],
            limit=2,
        )
        assert [record.values[self.subject.text] for record in found] == [name, name]

    def test_what_was_created_with_a_key_is_found_by_it(self, provider: Provider) -> None:
        self._need_finding(provider)
        key, other = str(uuid4()), str(uuid4())
        ref = self._create(provider, key=key)
        remote_object = self.subject.remote_object
        assert provider.find_created(remote_object, key=key) == ref
        assert provider.find_created(remote_object, key=other) is None
        assert list(provider.find_created_many(remote_object, [other, key])) == [None, ref]

    # -- many at once -------------------------------------------------------------------------

    def test_a_full_batch_is_one_call(self, provider: Provider) -> None:
        size = self._need_batches(provider)
        drafts = [self._draft() for _ in range(size)]
        descriptions.fields(provider, self.subject.remote_object)
        before = provider.usage.requests
        made = provider.create_many(self.subject.remote_object, drafts)
        assert provider.usage.requests == before + 1
        refs = [self._ref(one) for one in made]
        assert len(set(refs)) == size
        names = [draft.values[self.subject.text] for draft in drafts]
        assert self._texts(provider, refs) == names
        changed = [Edit(ref, {self.subject.text: f"{n} now"}) for n, ref in enumerate(refs)]
        assert list(provider.update_many(changed)) == [None] * size
        assert self._texts(provider, refs) == [f"{n} now" for n in range(size)]
        assert list(provider.delete_many(refs)) == [None] * size
        gone = provider.get_many(refs[:3], [self.subject.text])
        assert all(isinstance(one, RemoteRecordNotFound) for one in gone)

    def test_a_refused_record_spoils_no_other(self, provider: Provider) -> None:
        self._need_batches(provider)
        if not self.subject.refused:
            pytest.skip("it refuses nothing")
        drafts = [self._draft(), self._draft(**self.subject.refused), self._draft()]
        answers = outcome_of(provider.create_many, self.subject.remote_object, drafts)
        if isinstance(answers, RejectedByCRM):
            # All were refused for one of them: then none may have been made.
            assert not answers.outcome_unknown
            for name in (drafts[n].values[self.subject.text] for n in (0, 2)):
                equal = [Criterion(self.subject.text, Operator.EQUALS, name)]
                assert not self.subject.finds_at_once or self._search(provider, equal) == []
            return
        assert isinstance(answers[1], RejectedByCRM)
        assert self.subject.at_fault in [problem.path for problem in answers[1].errors]
        refs = [self._ref(answers[0]), self._ref(answers[2])]
        names = [drafts[n].values[self.subject.text] for n in (0, 2)]
        assert self._texts(provider, refs) == names

    def test_a_record_that_is_gone_spoils_no_other(self, provider: Provider) -> None:
        self._need_batches(provider)
        refs = [self._create(provider) for _ in range(3)]
        provider.delete(refs[1])
        answers = list(provider.update_many([Edit(r, self.subject.changes) for r in refs]))
        assert isinstance(answers[1], RemoteRecordNotFound)
        assert (answers[0], answers[2]) == (None, None)
        self._assert_holds(provider, refs[2], self.subject.changes)
        read = provider.get_many(refs, [self.subject.text])
        assert isinstance(read[1], RemoteRecordNotFound)
        assert [one.ref for one in (read[0], read[2]) if not isinstance(one, XkitError)] == [
            refs[0],
            refs[2],
        ]
        deleted = provider.delete_many(refs)
        assert deleted[1] is None or isinstance(deleted[1], RemoteRecordNotFound)
        assert (deleted[0], deleted[2]) == (None, None)

    # -- workflows ----------------------------------------------------------------------------

    def test_a_workflow_is_listed_and_run(self, provider: Provider) -> None:
        if not self.subject.workflow:
            pytest.skip("it has no workflows that can be started")
        listed = {workflow.name: workflow for workflow in provider.list_workflows()}
        assert self.subject.workflow in listed
        fields = {one.name for one in listed[self.subject.workflow].inputs}
        assert fields >= self.subject.inputs.keys()
        ref = self._create(provider) if self.subject.about_a_record else None
        provider.run_workflow(self.subject.workflow, self.subject.inputs, key=str(uuid4()), ref=ref)

    def test_a_workflow_that_is_not_there_is_refused(self, provider: Provider) -> None:
        with pytest.raises(CRMError):
            provider.run_workflow("no_such_workflow", {}, key=str(uuid4()), ref=None)

    # -- when things go wrong -----------------------------------------------------------------

    def test_too_many_requests_say_when_to_come_back(
        self, provider: Provider, fake: FakeCRM
    ) -> None:
        self._describe(provider)
        fake.misbehave(Misbehaviour.RATE_LIMIT)
        with pytest.raises(RateLimited) as caught:
            self._create(provider)
        assert caught.value.retry_after is None or caught.value.retry_after >= 0
        assert not caught.value.outcome_unknown
        self._create(provider)

    def test_a_token_that_has_ended_is_renewed_or_told(
        self, provider: Provider, fake: FakeCRM
    ) -> None:
        ref = self._create(provider)
        fake.expire()
        before = fake.renewals
        if "refresh_token" not in provider.access.credentials:
            with pytest.raises(CRMUnauthorized) as caught:
                provider.get(ref, [self.subject.text])
            self._assert_tells_no_secret(provider, caught.value)
            return
        provider.get(ref, [self.subject.text])
        assert fake.renewals == before + 1

    @pytest.mark.parametrize("how", [Misbehaviour.LOST, Misbehaviour.TRUNCATED])
    def test_a_write_without_an_answer_is_in_doubt(
        self, provider: Provider, fake: FakeCRM, how: Misbehaviour
    ) -> None:
        key = str(uuid4())
        self._describe(provider)
        fake.misbehave(how)
        with pytest.raises(CRMUnavailable) as caught:
            self._create(provider, key=key)
        assert caught.value.outcome_unknown
        self._assert_tells_no_secret(provider, caught.value)
        if provider.finds_created(self.subject.remote_object):
            assert provider.find_created(self.subject.remote_object, key=key) is not None

    @pytest.mark.parametrize(
        "how",
        [
            Misbehaviour.UNAVAILABLE,
            Misbehaviour.HTML,
            Misbehaviour.REDIRECT,
            Misbehaviour.HUGE,
            Misbehaviour.DEAF,
        ],
    )
    def test_an_answer_that_is_none_is_told_as_it_is(
        self, provider: Provider, fake: FakeCRM, how: Misbehaviour
    ) -> None:
        ref = self._create(provider)
        fake.misbehave(how)
        with pytest.raises(CRMError) as caught:
            provider.get(ref, [self.subject.text])
        assert not isinstance(caught.value, RemoteRecordNotFound | CRMUnauthorized)
        assert not caught.value.outcome_unknown, "reading changes nothing"
        self._assert_tells_no_secret(provider, caught.value)
        provider.get(ref, [self.subject.text])

    # -- what the tests share -----------------------------------------------------------------

    def _unique(self) -> str:
        return f"Conformance {uuid4().hex[:12]}"

    def _values(self, **values: Any) -> dict[str, Any]:
        return {self.subject.text: self._unique(), **self.subject.least, **values}

    def _draft(self, **values: Any) -> Draft:
        return Draft(self._values(**values), str(uuid4()))

    def _create(self, provider: Provider, *, key: str | None = None, **values: Any) -> RecordRef:
        return provider.create(
            self.subject.remote_object, self._values(**values), key=key or str(uuid4())
        )

    def _search(self, provider: Provider, criteria: Sequence[Criterion]) -> list[RecordRef]:
        found = provider.search(self.subject.remote_object, criteria, [self.subject.text], limit=10)
        return [record.ref for record in found]

    def _assert_holds(self, provider: Provider, ref: RecordRef, values: Mapping[str, Any]) -> None:
        held = provider.get(ref, list(values)).values
        assert {n: held[n] for n, value in values.items() if not same(held[n], value)} == {}

    def _texts(self, provider: Provider, refs: Sequence[RecordRef]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(refs), provider.batch_size):
            some = refs[start : start + provider.batch_size]
            found += provider.get_many(some, [self.subject.text])
        return [
            one if isinstance(one, XkitError) else one.values[self.subject.text] for one in found
        ]

    def _ref(self, answer: RecordRef | XkitError) -> RecordRef:
        if isinstance(answer, XkitError):
            raise answer
        return answer

    def _describe(self, provider: Provider) -> None:
        descriptions.fields(provider, self.subject.remote_object)

    def _need_batches(self, provider: Provider) -> int:
        if provider.batch_size == 1:
            pytest.skip("it takes one record a call")
        return provider.batch_size

    def _need_finding(self, provider: Provider) -> None:
        if not provider.finds_created(self.subject.remote_object):
            pytest.skip("it can't be asked for what was created")

    def _assert_tells_no_secret(self, provider: Provider, error: XkitError) -> None:
        said = f"{error} {error.as_dict()}"
        for secret in map(str, provider.access.credentials.values()):
            assert len(secret) < 8 or secret not in said or secret.startswith("http")
