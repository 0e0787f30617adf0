"""The one reader of `settings.XKIT_CRM`.

Every key is an attribute of `Settings` below, which holds its default. `conf.settings` reads them
when they are asked for, so `override_settings` works in tests, and nothing is read at import.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every key of `XKIT_CRM` with its default; `docs/settings.md` is the table of them."""

    #: How captured invocations are carried out: "immediate", "worker", "celery", "tasks" or a
    #: backend's dotted path.
    DELIVERY: str = "immediate"
    #: The backend of Django's `TASKS`, and its queue, that DELIVERY "tasks" enqueues in.
    TASKS_BACKEND: str = "default"
    TASKS_QUEUE: str = "default"
    #: Providers besides the built-in ones: slug -> dotted path of a `Provider`.
    PROVIDERS: dict[str, str] = field(default_factory=dict)
    #: What a provider is told of this site, by slug: "client_id" and "client_secret" of the
    #: registration with the vendor, "scopes", and "base_url", "authorize_url", "token_url" to go
    #: elsewhere.
    PROVIDER_OPTIONS: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Hosts inside your own network, by name, that customers may name as their CRM; plain HTTP is
    #: allowed to them.
    PRIVATE_HOSTS: tuple[str, ...] = ()
    #: Keys for credentials at rest, newest first; the last ones are only read. Empty: derived
    #: from SECRET_KEY and SECRET_KEY_FALLBACKS.
    ENCRYPTION_KEYS: tuple[str, ...] = ()
    #: Refuse API requests over plain HTTP; None: on when DEBUG is off. Loopback is excepted.
    REQUIRE_HTTPS: bool | None = None
    #: Bytes an API request's body may have.
    MAX_BODY_BYTES: int = 1_048_576
    #: How long an idempotency key is kept.
    IDEMPOTENCY_WINDOW: timedelta = timedelta(hours=24)
    #: Seconds an API request waits for its invocation before it answers 202.
    WAIT_TIMEOUT: float = 30.0
    #: What a save does whose payload violates the event's schema: "raise" or "record".
    INVALID_PAYLOAD: str = "raise"
    #: Times an invocation is tried before it fails.
    MAX_ATTEMPTS: int = 12
    #: Seconds before the first retry; doubled for each further one, with full jitter.
    RETRY_BASE: float = 2.0
    #: The longest wait between two tries.
    RETRY_MAX: timedelta = timedelta(hours=1)
    #: How long a worker may hold a lane without a sign of life.
    LANE_LEASE: timedelta = timedelta(seconds=30)
    #: Calls in a row that find a CRM unavailable before it is left alone for a while.
    BREAKER_THRESHOLD: int = 5
    #: The longest time that a CRM which is down is left alone before it is tried again.
    BREAKER_PAUSE_MAX: timedelta = timedelta(minutes=1)
    #: How long what succeeded, was skipped, deferred or superseded is kept; None: for ever.
    KEEP_SUCCEEDED: timedelta | None = timedelta(days=90)
    #: How long what failed is kept; None: for ever.
    KEEP_FAILED: timedelta | None = None
    #: How long it is kept, by the hour, how many invocations ended how; of all time: for ever.
    KEEP_TALLIES: timedelta = timedelta(days=14)
    #: Origins of the pages that may open CRM Link, such as "https://app.example.com", besides the
    #: one that it is served from.
    LINK_ORIGINS: tuple[str, ...] = ()
    #: How long after it was made a CRM Link token opens CRM Link.
    LINK_TOKEN_AGE: timedelta = timedelta(minutes=15)
    #: How long CRM Link stays open.
    LINK_SESSION_AGE: timedelta = timedelta(hours=4)
    #: Whether the `objects` that a page passes to linkCRM() are loaded as definitions, for all
    #: customers; None: when DEBUG is on.
    LINK_DEFINES: bool | None = None
    #: The CRMs that customers can choose, by slug and in this order; None: all that there are.
    LINK_CRMS: tuple[str, ...] | None = None
    #: The product's name, as CRM Link shows it.
    LINK_NAME: str = ""
    #: Seconds between looks for bindings and definitions that others changed; None: never.
    REFRESH_INTERVAL: float | None = 5.0
    #: Your endpoint that is told when a connection changes its status: {"url", "secret"}.
    WEBHOOK: dict[str, str] | None = None
    #: Whoever sends this as a bearer token may read the Prometheus metrics; empty: nobody does by
    #: a token.
    METRICS_TOKEN: str = ""
    #: Whether each connection has metrics of its own, rather than each provider.
    METRICS_CONNECTIONS: bool = False
    #: A deployment that `invoke()` calls: {"base_url", "publishable_key", "secret_key"}.
    REMOTE: dict[str, str] | None = None


NAMES = frozenset(f.name for f in fields(Settings))
SETTING = "XKIT_CRM"


@cache
def _load() -> Settings:
    given = getattr(django_settings, SETTING, None) or {}
    return Settings(**{name: value for name, value in given.items() if name in NAMES})


class _Lazy:
    """Hands every attribute on to the `Settings` in force now."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_load(), name)


def _forget(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        _load.cache_clear()


setting_changed.connect(_forget, dispatch_uid="xkit_crm.conf")

settings = _Lazy()
