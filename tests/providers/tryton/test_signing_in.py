"""Tryton: signing in, and addresses."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.factories import ConnectionFactory
from tests.providers.tryton.conftest import PARTY, Between, party
from xkit_crm.exceptions import ConfigurationError, CRMUnauthorized, CRMUnavailable
from xkit_crm.models import Connection
from xkit_crm.providers.base import Access, RecordRef
from xkit_crm.providers.registry import provider_for
from xkit_crm.providers.tryton import TrytonProvider

pytestmark = pytest.mark.service


@pytest.mark.django_db(transaction=True)
def test_one_login_serves_whoever_comes_after(crm: Between, settings: Any) -> None:
    path = "xkit_crm.providers.tryton.TrytonProvider"
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDERS": {"tryton": path}}
    connection = ConnectionFactory.create(
        id="acme", provider="tryton", credentials=dict(crm.credentials)
    )
    for _ in range(3):
        found = provider_for(Connection.objects.get(pk=connection.pk))
        found.create(PARTY, {"name": "Ada"}, key=str(uuid4()))
    assert crm.renewals == 1
    connection.refresh_from_db()
    assert connection.credentials.keys() == {*crm.credentials, "session"}


def test_a_wrong_password_is_told_without_it(crm: Between) -> None:
    given = {**crm.credentials, "password": "not the password"}
    with pytest.raises(CRMUnauthorized) as caught:
        TrytonProvider(Access("acme", given)).describe_objects()
    assert given["password"] not in str(caught.value)
    assert len(crm.requests) == 1, "Tryton slows down who tries again"


def test_who_needs_more_than_a_password_is_told(crm: Between) -> None:
    crm.say({"id": 1, "error": ["LoginException", ["sms_code", "Code", "char"]]})
    with pytest.raises(CRMUnauthorized, match="more than"):
        TrytonProvider(Access("acme", crm.credentials)).describe_objects()


def test_a_database_that_is_not_there_is_no_record_that_is_gone(crm: Between) -> None:
    given = {**crm.credentials, "database": "other"}
    with pytest.raises(CRMUnavailable, match="no such database"):
        TrytonProvider(Access("acme", given)).get(RecordRef(PARTY, "1"), ["name"])
    assert crm.requests[-1].path == "/other/rpc/"


def test_the_address_may_be_what_the_browser_shows(crm: Between, session: str) -> None:
    given = {**crm.credentials, "url": f" {crm.url}/#crm/model/party.party ", "session": session}
    assert party(TrytonProvider(Access("acme", given)))


def test_an_address_that_is_none_is_told(crm: Between) -> None:
    with pytest.raises(ConfigurationError):
        TrytonProvider(Access("acme", {**crm.credentials, "url": "my server"})).describe_objects()


def test_the_address_of_a_record_is_that_of_the_web_client(provider: TrytonProvider) -> None:
    url = provider.record_url(RecordRef(PARTY, "7"))
    assert url == f"{provider.access.credentials['url']}/#crm/model/party.party/7"
