"""Commands about mappings: what they miss, and taking them elsewhere."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

import xkit_crm
from xkit_crm import mappings
from xkit_crm.models import Connection, EventAction, MappingVersion
from xkit_crm.providers.sandbox.models import Field, Misbehaviour, Org

pytestmark = pytest.mark.django_db


def run(*command: Any, **options: Any) -> str:
    out = StringIO()
    call_command(*command, stdout=out, no_color=True, **options)
    return out.getvalue()


def drop(connection_id: str, name: str) -> None:
    org = Org.objects.get(slug=connection_id)
    Field.objects.get(object__org=org, object__name="Opportunity", name=name).delete()


# -- xkit_check_mappings --------------------------------------------------------------------------


def test_what_is_missing_and_what_is_undecided_is_said_for_every_connection(
    sandbox: Connection,
) -> None:
    xkit_crm.connect("other", provider="sandbox")
    drop("other", "Amount")

    out = run("xkit_check_mappings")

    gone = "opportunity.deal_created.transformations.Amount: the CRM has no such field any more"
    assert f"other: missing: {gone}" in out
    assert "acme: missing" not in out
    assert "acme: undecided: opportunity.deal_created.payload.views: is not mapped" in out
    assert "other: missing" not in run("xkit_check_mappings", connection="acme")


def test_a_mapping_that_fits_is_said_to_be_complete(sandbox: Connection) -> None:
    for slug in ("opportunity", "contact"):
        mappings.put_in_force(sandbox, {slug: {"remote_object": ""}})
    assert run("xkit_check_mappings") == "acme: complete.\n"


def test_it_fails_where_something_is_missing_and_not_where_it_is_only_undecided(
    sandbox: Connection,
) -> None:
    run("xkit_check_mappings", fail=True)
    drop("acme", "Name")
    run("xkit_check_mappings")
    with pytest.raises(CommandError, match="missing, see above") as raised:
        run("xkit_check_mappings", fail=True)
    assert raised.value.returncode == 1


def test_a_crm_that_can_not_be_asked_is_said_to_be_so_and_is_no_failure(
    sandbox: Connection,
) -> None:
    Misbehaviour.objects.create(org=Org.objects.get(slug="acme"), kind="unavailable")
    out = run("xkit_check_mappings", fail=True)
    assert "acme: the CRM can't be asked about opportunity: " in out
    Connection.objects.update(provider="uninstalled")
    assert "acme: the CRM can't be asked: " in run("xkit_check_mappings", fail=True)


def test_only_connections_that_are_enabled_are_looked_at(sandbox: Connection) -> None:
    Connection.objects.update(status="disabled")
    assert run("xkit_check_mappings") == ""


@pytest.mark.parametrize(
    "command",
    [
        ["xkit_check_mappings", "--connection", "nobody"],
        ["xkit_mapping", "export", "--connection", "nobody"],
        ["xkit_mapping", "import", "--connection", "nobody", "nowhere.json"],
    ],
)
def test_a_connection_that_is_not_there_is_named(db: None, command: list[str]) -> None:
    with pytest.raises(CommandError, match="no connection 'nobody'"):
        run(*command)


# -- xkit_mapping ---------------------------------------------------------------------------------


@pytest.fixture
def exported(sandbox: Connection, tmp_path: Path) -> Path:
    path = tmp_path / "mapping.json"
    path.write_text(run("xkit_mapping", "export", "--connection", "acme"))
    return path


def test_what_was_exported_imports_to_no_change(exported: Path) -> None:
    assert list(json.loads(exported.read_text())) == ["opportunity", "contact"]
    out = run("xkit_mapping", "import", "--connection", "acme", exported)
    assert out == "Nothing to change.\n"


def test_an_import_says_what_changed_and_puts_it_in_force(exported: Path) -> None:
    EventAction.objects.filter(event__slug="deal_created").update(action="noop")
    mappings.record(Connection.objects.get())

    out = run("xkit_mapping", "import", "--connection", "acme", exported)

    assert '~ opportunity.deal_created.action: "noop" -> "create"\n' in out
    assert "In force as version" in out
    assert EventAction.objects.get(event__slug="deal_created").action == "create"
    version = MappingVersion.objects.first()
    assert version is not None
    assert version.author == "xkit_mapping import"


def test_a_dry_run_says_it_and_changes_nothing(exported: Path) -> None:
    EventAction.objects.filter(event__slug="deal_created").update(action="noop")

    out = run("xkit_mapping", "import", "--connection", "acme", exported, "--dry-run")

    assert "~ opportunity.deal_created.action" in out
    assert out.endswith("Nothing was changed: this was a dry run.\n")
    assert EventAction.objects.get(event__slug="deal_created").action == "noop"
    assert MappingVersion.objects.count() == 1


def test_a_mapping_is_taken_to_another_connection(exported: Path) -> None:
    xkit_crm.connect("other", provider="sandbox")
    EventAction.objects.filter(mapping__connection_id="other").delete()

    run("xkit_mapping", "import", "--connection", "other", exported)

    both = [mappings.in_force(Connection.objects.get(pk=pk)) for pk in ("acme", "other")]
    assert both[0] == both[1]


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_what_the_other_crm_lacks_is_said_of_an_import(exported: Path, options: list[str]) -> None:
    xkit_crm.connect("other", provider="sandbox")
    EventAction.objects.filter(mapping__connection_id="other").update(action="noop")
    drop("other", "Amount")
    out = StringIO()
    with pytest.raises(CommandError, match="missing, see above") as raised:
        command = ["xkit_mapping", "import", "--connection", "other", str(exported), *options]
        call_command(*command, stdout=out, no_color=True)
    assert raised.value.returncode == 3
    gone = "opportunity.deal_created.transformations.Amount: the CRM has no such field any more"
    assert f"other: missing: {gone}" in out.getvalue()
    assert "undecided" not in out.getvalue()
    actions = EventAction.objects.filter(mapping__connection_id="other")
    assert actions.exclude(action="noop").exists() is not bool(options)


def test_what_the_document_does_not_name_is_not_looked_at(exported: Path) -> None:
    drop("acme", "Amount")
    exported.write_text('{"contact": {}}')
    assert run("xkit_mapping", "import", "--connection", "acme", exported) == "Nothing to change.\n"


def test_an_import_for_a_crm_that_can_not_be_asked_says_so(exported: Path) -> None:
    Misbehaviour.objects.create(org=Org.objects.get(slug="acme"), kind="unavailable")
    out = run("xkit_mapping", "import", "--connection", "acme", exported)
    assert "acme: the CRM can't be asked about opportunity: " in out
    assert out.endswith("Nothing to change.\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "isn't JSON"),
        ("[]", "is not an object"),
        ('{"opportunity": {"fields": {"nope": ""}}}', "opportunity.fields.nope: the object has no"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(exported: Path, text: str, says: str) -> None:
    exported.write_text(text)
    with pytest.raises(CommandError, match=says):
        run("xkit_mapping", "import", "--connection", "acme", exported)


def test_a_file_that_is_not_there_is_named(sandbox: Connection) -> None:
    with pytest.raises(CommandError, match=r"nowhere\.json can't be read"):
        run("xkit_mapping", "import", "--connection", "acme", "nowhere.json")
