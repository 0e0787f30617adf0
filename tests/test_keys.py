"""Secrets: API keys are stored as digests, credentials encrypted, and keys rotate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import ConnectionFactory
from xkit_crm import crypto
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models import APIKey, Connection

pytestmark = pytest.mark.django_db
OLD, NEW = "old-key-" * 5, "new-key-" * 5


def test_the_secret_is_not_stored() -> None:
    key, secret = APIKey.objects.issue("backend")
    stored = str(APIKey.objects.filter(pk=key.pk).values().get())
    assert secret not in stored
    assert secret.removeprefix("xsk_") not in stored


def test_a_key_is_checked_with_one_query(django_assert_num_queries) -> None:
    key, secret = APIKey.objects.issue("backend")
    assert APIKey.objects.authenticate(key.publishable_key, secret) == key
    with django_assert_num_queries(1):
        assert APIKey.objects.authenticate(key.publishable_key, secret) == key


@pytest.mark.parametrize(("seconds_later", "noted"), [(30, False), (61, True)])
def test_the_last_use_is_noted_once_a_minute(time_machine, seconds_later: int, noted: bool) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    later = first + timedelta(seconds=seconds_later)
    time_machine.move_to(first, tick=False)
    key, secret = APIKey.objects.issue("backend")
    APIKey.objects.authenticate(key.publishable_key, secret)
    time_machine.move_to(later, tick=False)
    APIKey.objects.authenticate(key.publishable_key, secret)
    key.refresh_from_db()
    assert key.last_used_at == (later if noted else first)


def test_secrets_hold_while_the_key_behind_them_rotates(settings) -> None:
    settings.XKIT_CRM = {"ENCRYPTION_KEYS": [OLD]}
    key, secret = APIKey.objects.issue("backend")
    settings.XKIT_CRM = {"ENCRYPTION_KEYS": [NEW, OLD]}
    assert APIKey.objects.authenticate(key.publishable_key, secret) == key
    settings.XKIT_CRM = {"ENCRYPTION_KEYS": [NEW]}
    assert APIKey.objects.authenticate(key.publishable_key, secret) is None


def test_credentials_are_encrypted_and_shown_nowhere() -> None:
    connection = ConnectionFactory.create(credentials={"token": "very-secret"})
    stored = Connection.objects.filter(pk=connection.pk).values().get()
    assert "very-secret" not in str(stored)
    assert "very-secret" not in repr(connection)
    assert Connection.objects.get(pk=connection.pk).credentials == {"token": "very-secret"}


def test_credentials_hold_while_the_key_rotates(settings) -> None:
    settings.XKIT_CRM = {"ENCRYPTION_KEYS": [OLD]}
    cipher = crypto.encrypt("text")
    settings.XKIT_CRM = {"ENCRYPTION_KEYS": [NEW, OLD]}
    assert crypto.decrypt(cipher) == "text"
    settings.XKIT_CRM = {"ENCRYPTION_KEYS": [NEW]}
    with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS"):
        crypto.decrypt(cipher)


def test_secret_key_and_its_fallbacks_serve_where_no_keys_are_set(settings) -> None:
    settings.SECRET_KEY = "first"
    cipher = crypto.encrypt("text")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "second", ["first"]
    assert crypto.decrypt(cipher) == "text"
