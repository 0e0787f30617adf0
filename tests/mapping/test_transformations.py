"""Which actions are actions, and how their stored JSON is read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm.mapping.completeness import missing
from xkit_crm.mapping.resolving import criteria, needs_current, resolve, sources
from xkit_crm.mapping.transformations import (
    MISSING,
    ActionType,
    Kind,
    WriteMode,
    check_action,
    check_object_map,
    parse_action,
    parse_object_map,
    reader,
    unknown_keys,
)
from xkit_crm.providers.base import Operator, RemoteField, RemoteType

STAGES = {"signed": "Closed Won"}
ROWS: list[dict[str, Any]] = [
    {"field": "Name", "kind": "template", "template": "Contract {name} ({owner.email})"},
    {"field": "Stage", "kind": "value_map", "key": "status", "values": STAGES, "fallback": "Open"},
    {"field": "Notes", "kind": "static", "value": None, "mode": "on_create"},
    {"field": "CloseDate", "kind": "date", "key": "closes_at", "mode": "when_empty"},
    {"field": "Amount", "kind": "default", "key": "amount", "value": False},
    {"field": "Owner", "kind": "direct", "key": "owner.id", "operator": "contains"},
    {"field": "Tags", "kind": "empty"},
]
SEED = {"action": "create", "remote_object": "Deal", "transformations": ROWS}


def problems(**row: Any) -> dict[str, str]:
    """What is said of one transformation, by keyword."""
    found = check_action({"action": "create", "transformations": [row]})
    return {problem.path.removeprefix("transformations[0]."): problem.error for problem in found}


# -- checking --------------------------------------------------------------------------------------


def test_an_action_with_every_kind_mode_and_operator_has_no_problem() -> None:
    assert check_action(SEED) == []


@pytest.mark.parametrize("action", list(ActionType))
def test_an_action_needs_nothing_but_its_name_and_a_workflow_its_own(action: str) -> None:
    workflow = {"workflow": "Onboard"} if action == "workflow" else {}

    assert check_action({"action": str(action), **workflow}) == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("create", "an.action: is not an object"),
        ({}, "action: must be one of create, update, delete, workflow, search, noop"),
        ({"action": ["create"]}, "action: must be one of create"),
        ({"action": "workflow"}, "workflow: is needed to run one"),
        ({"action": "noop", "remote_object": 5}, "remote_object: is not a string"),
        ({"action": "workflow", "workflow": ["x"]}, "workflow: is not a string"),
        ({"action": "noop", "transformations": {"a": 1}}, "transformations: is not a list"),
        ({"action": "noop", "transformations": [5]}, "transformations[0]: is not an object"),
    ],
)
def test_what_is_wrong_with_an_action_is_told_with_its_path(data: Any, problem: str) -> None:
    [found] = check_action(data, path="an.action")

    assert str(found).startswith(problem)


@pytest.mark.parametrize(
    ("keyword", "rows"),
    [
        ("field", [{"field": name, "kind": "empty"} for name in (None, "", 5)]),
        ("kind", [{"kind": kind} for kind in (None, "eval", ["direct"], {})]),
        ("key", [{"kind": "date", "key": key} for key in (None, "a..b", "a b", "{a}", ["a"])]),
        ("value", [{"kind": "static"}, {"kind": "default", "key": "a"}]),
        ("values", [{"kind": "value_map", "key": "a", "values": v} for v in (None, ["x"])]),
        ("template", [{"kind": "template", "template": text} for text in (None, "", ["{a}"])]),
        ("mode", [{"kind": "empty", "mode": mode} for mode in ("sometimes", ["always"])]),
        ("operator", [{"kind": "empty", "operator": "<"}]),
        ("limit", [{"kind": "empty", "limit": 5}]),
    ],
)
def test_what_is_wrong_with_a_transformation_is_told_by_keyword(
    keyword: str, rows: list[dict[str, Any]]
) -> None:
    assert [list(problems(**{"field": "A", **row})) for row in rows] == [[keyword]] * len(rows)


def test_every_problem_is_told_at_once() -> None:
    rows = [{"field": "", "kind": "direct"}, {"field": "A", "kind": "?"}]
    paths = [p.path for p in check_action({"action": "?", "transformations": rows})]

    assert paths == ["action", *[f"transformations[{p}" for p in ("0].field", "0].key", "1].kind")]]


def test_a_field_is_written_once_but_may_be_searched_twice() -> None:
    rows = [{"field": "Name", "kind": "static", "value": value} for value in ("a", "b")]

    [problem] = check_action({"action": "update", "transformations": rows})
    assert str(problem) == "transformations[1].field: Name is written twice"
    assert check_action({"action": "search", "transformations": rows}) == []


@pytest.mark.parametrize("template", ["{name", "{{{name}} {", "name}", "{a{b}"])
def test_a_template_has_no_single_brace(template: str) -> None:
    assert "for a brace" in problems(field="A", kind="template", template=template)["template"]


@pytest.mark.parametrize(
    "placeholder",
    ["{}", "{0}", "{n!r:>10}", "{n:>10}", "{n!r}", "{n[0]}", "{n()}", "{1 + 1}", "{n.}", "{größe}"],
)
def test_a_placeholder_is_a_payload_key_and_nothing_else(placeholder: str) -> None:
    error = problems(field="A", kind="template", template=f"Hi {placeholder}")["template"]

    assert error == f"{placeholder} names no payload key"


# -- reading ---------------------------------------------------------------------------------------


def test_an_action_is_read_from_its_json() -> None:
    action = parse_action(SEED)

    assert (action.action, action.remote_object) == (ActionType.CREATE, "Deal")
    assert [t.kind for t in action.transformations] == [row["kind"] for row in ROWS]
    _, stage, notes, close_date, _, owner, _ = action.transformations
    assert (stage.values, stage.fallback, stage.mode) == (STAGES, "Open", WriteMode.ALWAYS)
    assert (notes.mode, close_date.mode) == (WriteMode.ON_CREATE, WriteMode.WHEN_EMPTY)
    assert (notes.operator, owner.operator) == (Operator.EQUALS, Operator.CONTAINS)


def test_a_path_reads_what_is_there_and_tells_null_from_missing() -> None:
    payload = {"name": "Ada", "owner": {"phone": None, "at": {"city": "Rome"}}, "tags": ["a"]}

    there = {"name": "Ada", "owner.phone": None, "owner.at.city": "Rome", "tags": ["a"]}
    assert {path: reader(path)(payload) for path in there} == there
    for path in ("gone", "gone.below", "owner.gone", "owner.phone.x", "name.upper", "tags.0"):
        assert reader(path)(payload) is MISSING


def test_what_is_not_mapped_is_left_out_of_an_object_mapping() -> None:
    fields = {"name": "Name", "email": "", "tags": {"City": "City__c", "Zip": None}}
    read = parse_object_map({"remote_object": "Contact", "fields": fields})

    assert read.remote_object == "Contact"
    assert read.fields == {"name": "Name", "tags": {"City": "City__c"}}
    assert parse_object_map({}).fields == {}


# -- for anything ----------------------------------------------------------------------------------

_paths = st.sampled_from(["a", "b", "a.b", "__class__"]) | strategies.keys
_keywords: dict[str, st.SearchStrategy[Any]] = {
    "key": _paths,
    "value": strategies.any_json,
    "values": st.dictionaries(st.text(max_size=3), strategies.any_json, max_size=3),
    "template": st.lists(_paths.map("{{{}}} {{{{".format) | st.just("}}"), min_size=1).map("".join),
}
_choices: dict[str, st.SearchStrategy[Any]] = {
    "mode": st.sampled_from([*WriteMode, None]),
    "operator": st.sampled_from([*Operator, None]),
    "fallback": strategies.any_json,
}
_broken = st.fixed_dictionaries(
    {"field": strategies.texts, "kind": st.sampled_from(list(Kind)) | strategies.any_json},
    optional={name: value | strategies.any_json for name, value in (_keywords | _choices).items()},
)


@st.composite
def _sound(draw: st.DrawFn) -> dict[str, Any]:
    """A sound action on a field of each type; what a kind has no use for is any JSON."""
    rows = []
    for name in draw(st.lists(st.sampled_from([str(t) for t in RemoteType]), unique=True)):
        example = draw(st.sampled_from(ROWS))
        used = {keyword: _keywords[keyword] for keyword in _keywords if keyword in example}
        spare = {keyword: strategies.any_json for keyword in _keywords if keyword not in example}
        row = draw(st.fixed_dictionaries(used, optional=spare | _choices))
        rows.append({"field": name, "kind": example["kind"], **row})
    action = draw(st.sampled_from([str(action) for action in ActionType]))
    return {"action": action, "workflow": "W", "remote_object": "Deal", "transformations": rows}


@given(strategies.any_json | st.builds(lambda *rows: {"transformations": rows}, _broken, _broken))
def test_any_json_can_be_checked(data: Any) -> None:
    assert all(problem.error for problem in check_action(data))


@given(
    _sound(),
    st.dictionaries(st.sampled_from(["a", "b"]) | strategies.keys, strategies.any_json),
    st.dictionaries(st.sampled_from(list(RemoteType)), strategies.any_json),
    st.booleans(),
)
def test_a_sound_action_applies_to_any_payload(
    data: dict[str, Any], payload: dict[str, Any], current: dict[str, Any], creating: bool
) -> None:
    assert check_action(data) == []
    action = parse_action(data)
    fields = {str(kind): RemoteField(kind, kind, kind) for kind in RemoteType}
    fed = {row["field"] for row in data["transformations"] if row["kind"] != "empty"}

    values = resolve(action, payload, fields=fields, creating=creating, current=current)
    assert values.keys() <= fed
    assert {criterion.field for criterion in criteria(action, payload, fields=fields)} <= fed
    assert sources(action).keys() <= fed
    # A fixed value may be none that its field ever takes; nothing else is wrong with it.
    fixed = {t.field for t in action.transformations if t.kind in ("static", "default")}
    wrong = {problem.path for problem in missing(action, event_type="create", fields=fields)}
    assert {p for p in wrong if p.startswith("t")} <= {f"transformations.{f}" for f in fixed}
    known = {name: current.get(name) for name in needs_current(action)}
    again = resolve(action, payload, fields=fields, creating=creating, current=known)
    assert repr(again) == repr(values)


@pytest.mark.parametrize(
    "fields", [{}, {"name": "Name"}, {"name": None}, {"tags": {"Stage": "StageName", "x": None}}]
)
def test_what_feeds_the_fields_is_a_remote_field_or_several(fields: dict[str, Any]) -> None:
    assert check_object_map(fields) == []


@pytest.mark.parametrize(
    ("fields", "path"),
    [([1], "fields"), ({"name": 1}, "fields.name"), ({"tags": {"x": [1]}}, "fields.tags.x")],
)
def test_what_feeds_the_fields_wrongly_is_told_with_its_path(fields: Any, path: str) -> None:
    assert [problem.path for problem in check_object_map(fields)] == [path]


@pytest.mark.parametrize(
    ("row", "unknown"),
    [
        ({"kind": "direct", "key": "name"}, []),
        ({"kind": "direct", "key": "nmae"}, ["nmae"]),
        ({"kind": "direct", "key": "owner.email"}, []),
        ({"kind": "direct", "key": "owner.phone"}, ["owner.phone"]),
        ({"kind": "direct", "key": "tags.whatever"}, []),
        ({"kind": "template", "template": "{{{name}}} of { owner.emial }"}, ["owner.emial"]),
        ({"kind": "static", "value": "{nmae}", "key": "nmae"}, []),
    ],
)
def test_payload_keys_that_the_event_does_not_have_are_told(
    row: dict[str, Any], unknown: list[str]
) -> None:
    schema = {
        "name": {"type": "string"},
        "owner": {"type": "object", "properties": {"email": {"type": "string"}}},
        "tags": {"type": "object"},
    }
    data = {"action": "create", "transformations": [{"field": "Name"} | row]}
    told = [problem.error.rpartition(" ")[2] for problem in unknown_keys(data, schema)]
    assert told == unknown
