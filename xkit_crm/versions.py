"""The history of definitions: what was changed since somebody looked, and going back.

`models/definition_version.py` keeps it; the admin shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import models, router, transaction
from django.utils.translation import gettext as _

from xkit_crm.differences import Change, differences, same
from xkit_crm.exceptions import DefinitionInvalid, Problem
from xkit_crm.models import CRMObject, DefinitionVersion, EventDefinition, ModelBinding
from xkit_crm.models.definition_version import Document, Kind, Versioned, changed_by

#: How many versions are gone back through for who changed what.
_SEARCHED = 50

_MODELS: dict[str, type[Versioned]] = {
    Kind.OBJECT: CRMObject,
    Kind.EVENT: EventDefinition,
    Kind.BINDING: ModelBinding,
}


@dataclass(frozen=True, slots=True)
class Overtaken:
    """What others changed since somebody looked at a row, and who they were."""

    authors: tuple[str, ...]
    changes: tuple[Change, ...]


def since(row: Versioned, seen: Document) -> Overtaken | None:
    """What others changed of a row since it said what was `seen`; None where it still says so."""
    document = row.as_document()
    if same(document, seen):
        return None
    authors: dict[str, None] = {}
    for version in DefinitionVersion.objects.of(row)[:_SEARCHED]:
        if same(version.document, seen):
            break
        authors.setdefault(version.author or version.reason)
    return Overtaken(tuple(filter(None, authors)), tuple(differences("", seen, document)))


def changes(version: DefinitionVersion, earlier: DefinitionVersion | None) -> Iterator[Change]:
    """What a version changed; `earlier` is the one before it."""
    old = earlier.document if earlier else None
    if version.document is None or old is None:
        yield Change("-" if version.document is None else "+", version.name, old, version.document)
    else:
        yield from differences(version.name, old, version.document)


def earlier(versions: list[DefinitionVersion]) -> dict[int, DefinitionVersion]:
    """The version before each of these, by the id of the later one. One query."""
    wanted = models.Q(pk__in=[])
    for version in versions:
        wanted |= models.Q(kind=version.kind, row_id=version.row_id, number=version.number - 1)
    found = {(v.kind, v.row_id, v.number): v for v in DefinitionVersion.objects.filter(wanted)}
    before = ((v.pk, found.get((v.kind, v.row_id, v.number - 1))) for v in versions)
    return {pk: version for pk, version in before if version is not None}


def is_in_force(version: DefinitionVersion) -> bool:
    """Whether the row still says what it said in this version."""
    row = _MODELS[version.kind]._default_manager.filter(pk=version.row_id).first()
    return same(row.as_document() if row else None, version.document)


def restore(version: DefinitionVersion) -> Versioned:
    """Make a row what it was in this version, and make it anew where it was deleted; gives the row.

    Raises `DefinitionInvalid` where it can't be so any more: others need it to be what it is, its
    name is taken, or what it speaks of is gone.
    """
    model = _MODELS[version.kind]
    if version.document is None:
        raise _refused(version, [Problem("", _("it was deleted then"))])
    with (
        transaction.atomic(using=router.db_for_write(model)),
        changed_by(reason=f"version {version.number} restored"),
    ):
        row = model._default_manager.filter(pk=version.row_id).first()
        if row is None:
            row = model()
            row.pk = version.row_id
            if isinstance(row, EventDefinition):
                row.crm_object = _found(version, CRMObject, slug=version.name.split(".", 1)[0])
        for name, value in version.document.items():
            _put(version, row, name, value)
        try:
            row.full_clean()
        except ValidationError as error:
            problems = [Problem(k, m) for k, said in error.message_dict.items() for m in said]
            raise _refused(version, problems) from error
        row.save()
    return row


def _put(version: DefinitionVersion, row: Versioned, name: str, value: Any) -> None:
    """Set a field of the row to what its document says; what is no field any more is left out."""
    field: Any = next((f for f in row._meta.concrete_fields if f.name == name), None)
    if field is None:
        return
    if value is not None and field.related_model is ContentType:
        label = dict(zip(("app_label", "model"), value.split(".", 1), strict=True))
        value = _found(version, ContentType, **label)
    elif value is not None and field.related_model is EventDefinition:
        of = (version.document or {})["crm_object"]
        value = _found(version, EventDefinition, slug=value, crm_object__slug=of)
    elif value is not None and field.is_relation:
        value = _found(version, field.related_model, slug=value)
    setattr(row, name, value)


def _found(version: DefinitionVersion, kind: type[models.Model], /, **named: str) -> Any:
    try:
        return kind._default_manager.get(**named)
    except ObjectDoesNotExist:
        what = {"kind": kind._meta.verbose_name, "name": ".".join(reversed(named.values()))}
        gone = Problem("", _("%(kind)s %(name)s is gone") % what)
        raise _refused(version, [gone]) from None


def _refused(version: DefinitionVersion, problems: list[Problem]) -> DefinitionInvalid:
    return DefinitionInvalid(
        _("%(version)s can't be restored; nothing was changed.") % {"version": version},
        hint=_("Mend what is named, or change the definition by hand."),
        errors=problems,
    )
