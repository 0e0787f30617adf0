"""Fields such as other packages bring along."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.text import slugify


class AutoSlugField(models.SlugField):
    """Follows the title: set as the row is saved."""

    def pre_save(self, instance: Any, add: bool) -> str:
        slug = slugify(instance.title)
        setattr(instance, self.attname, slug)
        return slug


class LastModifiedField(models.DateTimeField):
    """As `auto_now`, but by its own hand."""

    def pre_save(self, instance: Any, add: bool) -> Any:
        now = timezone.now()
        setattr(instance, self.attname, now)
        return now


class CommaListField(models.TextField):
    """A list of texts, kept as one text."""

    def from_db_value(self, value: str | None, *_: object) -> list[str] | None:
        return None if value is None else value.split(",")

    def get_prep_value(self, value: Any) -> Any:
        return ",".join(value) if isinstance(value, list) else value


class Vector:
    """Numbers that are compared one by one, as numpy does it: the answer has no truth."""

    def __init__(self, numbers: Iterable[Any]) -> None:
        self.numbers = list(numbers)

    def __iter__(self) -> Any:
        return iter(self.numbers)

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, Vector):
            return NotImplemented
        return Vector(one == two for one, two in zip(self.numbers, other.numbers, strict=True))

    def __bool__(self) -> bool:
        raise ValueError("The truth value of more than one number is ambiguous.")

    __hash__ = None  # type: ignore[assignment]


class VectorField(models.TextField):
    def from_db_value(self, value: str | None, *_: object) -> Vector | None:
        return None if value is None else Vector(float(one) for one in value.split(","))

    def get_prep_value(self, value: Any) -> Any:
        return ",".join(map(str, value)) if isinstance(value, Vector) else value
