"""The provider of `docs/adding-a-crm.md`, as it stands there, at a CRM over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crm.control import CRMControl, running_crm
from xkit_crm.providers.base import Access
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject

PAGE = Path(__file__).parent.parent.parent / "docs" / "adding-a-crm.md"
SOURCE, SUITE = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[:2]
TAUGHT: dict[str, Any] = {"__name__": "rolodex"}
exec(compile(SOURCE, str(PAGE), "exec"), TAUGHT)  # noqa: S102 - it is ours


@pytest.fixture(scope="module")
def rolodex() -> Iterator[CRMControl]:
    with running_crm() as crm:
        yield crm


def test_it_is_short_enough_to_be_written_in_a_day() -> None:
    assert len(SOURCE.splitlines()) < 150


class TestRolodex(ProviderConformance):
    subject = eval(re.search(r"Subject\(.*?\n    \)", SUITE, re.DOTALL)[0], {"Subject": Subject})  # type: ignore[index]  # noqa: S307

    @pytest.fixture
    def make(self, rolodex: CRMControl, settings: Any) -> Make:
        settings.XKIT_CRM = {
            **getattr(settings, "XKIT_CRM", {}),
            "PRIVATE_HOSTS": ["127.0.0.1", "localhost"],
        }
        rolodex.forget()
        return lambda: TAUGHT["RolodexProvider"](Access("acme", rolodex.credentials("acme")))
