"""Flows: the sandbox CRM's native workflows, which a customer defines as rows.

A flow runs in one transaction: all of its steps or none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from xkit_crm.exceptions import Problem, RejectedByCRM
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox.models import Flow, FlowStep, Org, Record
from xkit_crm.providers.sandbox.records import create_record, update_record

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


def run_flow(
    org: Org, name: str, inputs: Mapping[str, Any], ref: RecordRef | None
) -> Record | None:
    """Run every step; gives the record of the step that is marked as the result."""
    flow = Flow.objects.filter(org=org, name=name, active=True).first()
    if flow is None:
        raise RejectedByCRM(f"This CRM has no active flow {name!r}.")
    _require_inputs(flow, inputs)
    context = {**inputs, **({"record": str(ref)} if ref else {})}
    result: Record | None = None
    with transaction.atomic():
        for step in flow.steps.all():
            record = _run_step(org, step, context, ref)
            context[f"step {step.position}"] = record.record_id
            if step.is_result:
                result = record
    return result


def _require_inputs(flow: Flow, inputs: Mapping[str, Any]) -> None:
    known = {entry["name"]: entry for entry in flow.inputs}
    problems = [
        Problem(name, "the flow has no such input.") for name in inputs if name not in known
    ]
    problems += [
        Problem(name, "the flow needs this input.")
        for name, entry in known.items()
        if entry.get("required") and inputs.get(name) in (None, "")
    ]
    if problems:
        raise RejectedByCRM(f"The flow {flow.label} can't be run.", errors=problems)


def _run_step(
    org: Org, step: FlowStep, context: Mapping[str, Any], ref: RecordRef | None
) -> Record:
    values = {
        name: _filled_in(value, context)
        for name, value in step.values.items()
        if _is_given(value, context)
    }
    if step.action == FlowStep.Action.CREATE:
        return create_record(org, step.object_name, values)
    if ref is None:
        raise RejectedByCRM(f"Step {step.position} updates a record, and the flow runs on none.")
    return update_record(org, ref, values)


def _is_given(value: Any, context: Mapping[str, Any]) -> bool:
    """Whether a step writes the field: not where it is all an input that was left out."""
    whole = _whole(value)
    return whole is None or whole in context


def _filled_in(value: Any, context: Mapping[str, Any]) -> Any:
    """The value with its placeholders filled in; one that is all of it keeps its type."""
    if isinstance(value, list):
        return [_filled_in(item, context) for item in value if _is_given(item, context)]
    if not isinstance(value, str):
        return value
    if (whole := _whole(value)) is not None:
        return context[whole]
    return _PLACEHOLDER.sub(
        lambda found: str(context[found[1]]) if context.get(found[1]) is not None else "", value
    )


def _whole(value: Any) -> str | None:
    """The name in a text that is all placeholder."""
    found = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None
