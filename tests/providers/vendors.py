"""A vendor's fake at work: the settings lead to it, and every request was one that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from xkit_crm.testing.fakes import FakeCRM

_Fake = TypeVar("_Fake", bound=FakeCRM)


@contextmanager
def at_work(fake: _Fake, slug: str, settings: Any) -> Iterator[_Fake]:
    with fake:
        settings.XKIT_CRM = {
            **getattr(settings, "XKIT_CRM", {}),
            "PRIVATE_HOSTS": ["127.0.0.1"],
            "PROVIDER_OPTIONS": {slug: fake.options},
        }
        yield fake
    assert not fake.violations, fake.violations
