"""System checks: wrong configuration is found by `manage.py check`, not by a customer.

Errors E001-E009 are about settings, E010-E019 about bindings; warnings W001 and up about what works
and will surprise, W011 and up about bindings and mappings that don't fit the definitions in the
database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from difflib import get_close_matches
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.db import connections, models, router

from xkit_crm.conf import NAMES, SETTING, settings
from xkit_crm.exceptions import XkitError

if TYPE_CHECKING:
    from xkit_crm.sync.bindings import Binding


@register("xkit_crm")
def check_settings(**_: object) -> list[CheckMessage]:
    """Every key is known and of its type."""
    given = getattr(django_settings, SETTING, {})
    if not isinstance(given, dict):
        return [_error("E001", f"{SETTING} is not a dict.", f"Set {SETTING} = {{}}.")]
    return [*_unknown_keys(given), *_wrong_values(given)]


def _unknown_keys(given: dict[str, Any]) -> Iterator[CheckMessage]:
    for name in given.keys() - NAMES:
        near = get_close_matches(str(name).upper(), NAMES, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(sorted(NAMES))}."
        yield _error("E002", f"{SETTING} has an unknown key {name!r}.", hint)


_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "DELIVERY": ((str,), "a string"),
    "TASKS_BACKEND": ((str,), "the alias of a backend"),
    "TASKS_QUEUE": ((str,), "the name of a queue"),
    "PROVIDERS": ((dict,), "a dict of slug: dotted path"),
    "PROVIDER_OPTIONS": ((dict,), "a dict of slug: dict"),
    "PRIVATE_HOSTS": ((list, tuple), "a list of host names"),
    "ENCRYPTION_KEYS": ((list, tuple), "a list of strings"),
    "REQUIRE_HTTPS": ((bool, type(None)), "True, False or None"),
    "MAX_BODY_BYTES": ((int,), "a number of bytes"),
    "IDEMPOTENCY_WINDOW": ((timedelta,), "a timedelta"),
    "WAIT_TIMEOUT": ((int, float), "a number of seconds"),
    "INVALID_PAYLOAD": ((str,), '"raise" or "record"'),
    "MAX_ATTEMPTS": ((int,), "a whole number"),
    "RETRY_BASE": ((int, float), "a number of seconds"),
    "RETRY_MAX": ((timedelta,), "a timedelta"),
    "LANE_LEASE": ((timedelta,), "a timedelta"),
    "BREAKER_THRESHOLD": ((int,), "a whole number"),
    "BREAKER_PAUSE_MAX": ((timedelta,), "a timedelta"),
    "KEEP_SUCCEEDED": ((timedelta, type(None)), "a timedelta or None"),
    "KEEP_FAILED": ((timedelta, type(None)), "a timedelta or None"),
    "LINK_ORIGINS": ((list, tuple), "a list of origins"),
    "LINK_TOKEN_AGE": ((timedelta,), "a timedelta"),
    "LINK_SESSION_AGE": ((timedelta,), "a timedelta"),
    "LINK_DEFINES": ((bool, type(None)), "True, False or None"),
    "LINK_CRMS": ((list, tuple, type(None)), "a list of providers or None"),
    "LINK_NAME": ((str,), "a string"),
    "REFRESH_INTERVAL": ((int, float, type(None)), "a number of seconds or None"),
    "WEBHOOK": ((dict, type(None)), "a dict or None"),
    "REMOTE": ((dict, type(None)), "a dict or None"),
}


def _wrong_values(given: dict[str, Any]) -> Iterator[CheckMessage]:
    wrong = {
        name
        for name, (types, _) in _TYPES.items()
        if name in given and not isinstance(given[name], types)
    }
    for name in sorted(wrong):
        yield _error("E003", f"{SETTING}[{name!r}] is not {_TYPES[name][1]}.", "Correct its type.")
    if "INVALID_PAYLOAD" not in wrong and settings.INVALID_PAYLOAD not in ("raise", "record"):
        yield _error(
            "E003", f'{SETTING}["INVALID_PAYLOAD"] is not "raise" or "record".', "Use one of them."
        )
    if "PRIVATE_HOSTS" not in wrong:
        yield from _wrong_hosts()
    if not wrong & {"PROVIDERS", "DELIVERY"}:
        yield from _unloadable()
    if "ENCRYPTION_KEYS" not in wrong:
        for key in settings.ENCRYPTION_KEYS:
            if not isinstance(key, str) or len(key) < 32:
                yield _error(
                    "E006",
                    f'A key of {SETTING}["ENCRYPTION_KEYS"] is shorter than 32 characters.',
                    "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
                )
    if "WEBHOOK" not in wrong and settings.WEBHOOK is not None:
        yield from _wrong_webhook(settings.WEBHOOK)
    remote = None if "REMOTE" in wrong else settings.REMOTE
    if remote is not None and set(remote) != {"base_url", "publishable_key", "secret_key"}:
        yield _error(
            "E007",
            f'{SETTING}["REMOTE"] does not have exactly base_url, publishable_key and secret_key.',
            "Give all three, or None to work in this deployment.",
        )


def _wrong_webhook(webhook: dict[str, Any]) -> Iterator[CheckMessage]:
    from xkit_crm.notifications import signing_key

    where = f'{SETTING}["WEBHOOK"]'
    if set(webhook) != {"url", "secret"}:
        yield _error(
            "E009",
            f"{where} does not have exactly url and secret.",
            "Give both, or None to tell nobody.",
        )
        return
    if not _is_url(webhook["url"]):
        yield _error(
            "E009", f"The url of {where} is none.", "It begins with https:// (or http://)."
        )
    try:
        is_long = len(signing_key(webhook["secret"])) >= 24
    except (AttributeError, ValueError):
        is_long = False
    if not is_long:
        yield _error(
            "E009",
            f"The secret of {where} is shorter than 24 characters, or whsec_ and no base64 of 24 "
            "bytes.",
            "Make one with: python -c 'import base64, secrets; "
            'print("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())\'',
        )


def _is_url(said: object) -> bool:
    """Whether it is a whole address of HTTP."""
    try:
        parts = urlsplit(said) if isinstance(said, str) else None
        return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _wrong_hosts() -> Iterator[CheckMessage]:
    for host in settings.PRIVATE_HOSTS:
        if not _is_host(host):
            yield _error(
                "E003",
                f'{SETTING}["PRIVATE_HOSTS"] has {host!r}, which is no name or address.',
                "Name the host alone, such as erp.internal or 10.0.0.1, without https:// and port.",
            )


def _is_host(said: object) -> bool:
    """Whether it is the name or the address of a host, and no more."""
    if not isinstance(said, str):
        return False
    try:
        ip_address(said)
    except ValueError:
        return re.fullmatch(r"[\w.-]+", said) is not None
    return True


def _unloadable() -> Iterator[CheckMessage]:
    from xkit_crm.delivery.backends import backend, missing_extra
    from xkit_crm.providers.registry import available, provider_class

    try:
        backend()
    except XkitError as error:
        yield _error("E016" if missing_extra() else "E004", error.message, error.hint)
    for slug in available():
        if slug == "sandbox" and slug not in settings.PROVIDERS:
            continue  # an app of its own: installed or not, as the product likes
        try:
            provider_class(slug)
        except XkitError as error:
            yield _error("E005", error.message, error.hint)
    if isinstance(settings.PROVIDER_OPTIONS, dict):
        yield from _wrong_options()
        if isinstance(settings.LINK_CRMS, list | tuple):
            yield from _not_connectable()


#: What every provider can be told; some know more, which they name in `option_names`.
_OPTIONS = ("client_id", "client_secret", "scopes", "base_url", "authorize_url", "token_url")


def _wrong_options() -> Iterator[CheckMessage]:
    for slug, options in settings.PROVIDER_OPTIONS.items():
        where = f"{SETTING}['PROVIDER_OPTIONS'][{slug!r}]"
        if message := _no_provider("PROVIDER_OPTIONS", slug):
            yield message
        elif not isinstance(options, dict):
            yield _error("E008", f"{where} is not a dict.", f"Options are {', '.join(_OPTIONS)}.")
        else:
            yield from _unknown_options(where, slug, options)
            yield from _wrong_option_values(where, options)


def _unknown_options(where: str, slug: str, options: dict[str, Any]) -> Iterator[CheckMessage]:
    own = _own_options(slug)
    if own is None:
        return
    known = (*_OPTIONS, *own)
    for name in options:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
            yield _error("E008", f"{where} has an unknown option {name!r}.", hint)


def _own_options(slug: str) -> tuple[str, ...] | None:
    """The options that only this provider has; None where nobody says which they are."""
    from xkit_crm.providers.registry import provider_class

    try:
        return getattr(provider_class(slug), "option_names", None)
    except XkitError:
        return None  # told already


def _wrong_option_values(where: str, options: dict[str, Any]) -> Iterator[CheckMessage]:
    for name in _OPTIONS:
        value = options.get(name)
        if not value:
            continue  # as good as left out
        if name == "scopes":
            is_fit, wanted = isinstance(value, list | tuple), "a list of strings"
        elif name.endswith("_url"):
            is_fit, wanted = _is_url(value), "an address that begins with https://"
        else:
            is_fit, wanted = isinstance(value, str), "a string"
        if not is_fit:
            yield _error("E008", f"{where}[{name!r}] can't be used.", f"Give {wanted}.")
    if options.get("client_id") and not options.get("client_secret"):
        yield _error("E008", f"{where} has a client_id and no client_secret.", "Give both.")
    elif options.get("client_id") and find_spec("authlib") is None:
        yield _error(
            "E008",
            f"{where} is for signing in, and Authlib is not installed.",
            "Install it with: pip install 'xkit_crm[oauth]'",
        )


def _not_connectable() -> Iterator[CheckMessage]:
    """A CRM of `LINK_CRMS` that customers aren't offered, since it needs more than its name."""
    from xkit_crm.providers.registry import is_ready

    for slug in settings.LINK_CRMS:
        if message := _no_provider("LINK_CRMS", slug):
            yield message
            continue
        if not isinstance(settings.PROVIDER_OPTIONS.get(slug, {}), dict):
            continue  # told already
        try:
            if is_ready(slug):
                continue
        except XkitError:
            continue  # told already
        yield _warning(
            "W020",
            f'{SETTING}["LINK_CRMS"] names {slug!r}, which can\'t be connected here, so customers '
            "are not offered it.",
            "Add xkit_crm.providers.sandbox to INSTALLED_APPS."
            if slug == "sandbox"
            else "Register with the vendor, and put client_id and client_secret into "
            f"{SETTING}['PROVIDER_OPTIONS'][{slug!r}].",
        )


def _no_provider(name: str, slug: object) -> CheckMessage | None:
    from xkit_crm.providers.registry import available

    known = available()
    if isinstance(slug, str) and slug in known:
        return None
    near = get_close_matches(str(slug), known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
    return _error("E008", f"{SETTING}[{name!r}] names {slug!r}, which is no provider.", hint)


@register("xkit_crm")
def check_celery(**_: object) -> list[CheckMessage]:
    """Celery's messages find a worker, and what is lost on the way is found."""
    from xkit_crm.delivery.backends import missing_extra

    if settings.DELIVERY != "celery" or missing_extra():
        return []
    from xkit_crm.delivery.backends import celery

    if celery.has_no_app():
        return [
            _warning(
                "W017",
                "No Celery app is there, so messages would go to a broker on localhost.",
                "Import it in the __init__.py of your project, as Celery's guide for Django says.",
            )
        ]
    if celery.is_swept() is False:
        return [
            _warning(
                "W016",
                "Celery beat doesn't run xkit_crm.sweep: retries and lost messages wait for ever.",
                "Put xkit_crm.delivery.backends.celery.beat_schedule() into CELERY_BEAT_SCHEDULE.",
            )
        ]
    return []


@register("xkit_crm")
def check_bindings(**_: object) -> list[CheckMessage]:
    """Every binding from code can work."""
    from xkit_crm.models import Invocation
    from xkit_crm.sync.bindings import ModelSync, registered
    from xkit_crm.sync.payloads import path_problem

    found: list[CheckMessage] = []
    for binding in registered():
        sync = getattr(binding.get_connections, "__self__", None)
        if getattr(type(sync), "get_connections", None) is ModelSync.get_connections:
            found.append(
                _error(
                    "E010",
                    f"{binding.origin} doesn't say which connections a row goes to.",
                    "Define get_connections(self, instance).",
                )
            )
        for key, path in binding.paths.items():
            if problem := path_problem(path, binding.model):
                found.append(
                    _error(
                        "E013",
                        f"{binding.origin} can't fill {key}: {problem}.",
                        f"Correct the path {path!r}.",
                    )
                )
        if _database(binding.model) != router.db_for_write(Invocation):
            found.append(
                _warning(
                    "W003",
                    f"{binding.model._meta.label} is stored in another database than the outbox, "
                    "so its events can't be captured in the same transaction.",
                    "Route the xkit_crm app to the database of the bound models. Until then a "
                    "crash between the two commits loses an event.",
                )
            )
    for model in dict.fromkeys(binding.model for binding in registered()):
        found += _not_captured_set_wise(model)
    return found


def _not_captured_set_wise(model: type[models.Model]) -> Iterator[CheckMessage]:
    """Bulk operations go past Django's own hooks, so they fire by the model's manager only."""
    from xkit_crm.sync.querysets import SyncedQuerySet

    if model.__module__.startswith("django."):
        return  # whose managers nobody can change
    if not isinstance(model._default_manager.get_queryset(), SyncedQuerySet):
        yield _warning(
            "W018",
            f"bulk_create(), bulk_update() and update() of {model._meta.label} fire nothing.",
            "Add objects = xkit_crm.SyncedManager() to the model, or let its queryset inherit from "
            "xkit_crm.SyncedQuerySet. Where nothing of the kind is done to it, silence this check.",
        )


@register(Tags.database)
def check_definitions(*, databases: Any = None, **_: object) -> list[CheckMessage]:
    """Every binding names events that are defined (only with `check --database`).

    Warnings, not errors: `migrate` runs these checks too, and a deployment migrates before it
    loads the definitions that its new code needs.
    """
    from xkit_crm import catalogue
    from xkit_crm.models import CRMObject
    from xkit_crm.sync.bindings import MOMENTS, registered

    database = router.db_for_read(CRMObject)
    if database not in (databases or ()) or not _is_migrated(database, CRMObject):
        return []
    found: list[CheckMessage] = []
    for binding in registered():
        found += _keys_of_no_event(binding)
        for moment, wanted in MOMENTS.items():
            slug = getattr(binding, moment)
            if not slug or catalogue.is_switched_off(binding.crm_object, slug):
                continue
            try:
                event = catalogue.event(binding.crm_object, slug)
            except XkitError as error:
                found.append(_warning("W011", f"{binding.origin}: {error.message}", error.hint))
                continue
            if event.type != wanted:
                found.append(
                    _warning(
                        "W014",
                        f"{binding.origin}: {slug} is {event.type}, so it can't be {moment}.",
                        f"Name an event of type {wanted}.",
                    )
                )
            required = {k for k, d in event.payload_schema.items() if d.get("required")}
            if absent := sorted(required - {key for key, _ in binding.payload}):
                found.append(
                    _warning(
                        "W012",
                        f"{binding.origin} doesn't fill what {slug} requires: {', '.join(absent)}.",
                        "Add the keys to its payload.",
                    )
                )
    return found


def _keys_of_no_event(binding: Binding) -> Iterator[CheckMessage]:
    """A misspelt payload key is in the schema of no event, so it would never be sent."""
    from xkit_crm import catalogue
    from xkit_crm.sync.bindings import MOMENTS

    crm_object = catalogue.objects().get(binding.crm_object)
    slugs = [slug for moment in MOMENTS if (slug := getattr(binding, moment))]
    if crm_object is None or not all(slug in crm_object.events for slug in slugs):
        return  # told otherwise, or switched off
    known = {key for slug in slugs for key in crm_object.events[slug].payload_schema}
    for key, _ in binding.payload:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            yield _warning(
                "W015",
                f"{binding.origin}: the payload key {key} is in none of its events.",
                f"Did you mean {near[0]}?" if near else "Take it out, or add it to a schema.",
            )


@register(Tags.database)
def check_mappings(*, databases: Any = None, **_: object) -> list[CheckMessage]:
    """Every customer has decided what the product defines (only with `check --database`).

    What the database alone tells: no CRM is called, so that a deployment never waits for one.
    `xkit_check_mappings` asks the CRMs too.
    """
    from xkit_crm.models import EventAction

    database = router.db_for_read(EventAction)
    if database not in (databases or ()) or not _is_migrated(database, EventAction):
        return []
    found: dict[str, set[str]] = {}
    for connection_id, problem in _undecided():
        found.setdefault(problem, set()).add(connection_id)
    return [
        _warning(
            "W019",
            f"{problem} in {len(ids)} connection(s): {', '.join(sorted(ids)[:5])}"
            + (", …" if len(ids) > 5 else "."),
            "manage.py xkit_check_mappings says what each of them misses.",
        )
        for problem, ids in sorted(found.items())
    ]


def _undecided() -> Iterator[tuple[str, str]]:
    """Connection ids, and what is undecided there. Two queries."""
    from xkit_crm import catalogue
    from xkit_crm.mapping.transformations import check_action, unknown_keys
    from xkit_crm.models import EventAction, ObjectMapping
    from xkit_crm.models.connection import ConnectionStatus

    events = {
        event.id: event
        for crm_object in catalogue.objects().values()
        for event in crm_object.events.values()
    }
    decided: dict[int, set[int]] = {}
    actions = EventAction.objects.filter(mapping__connection__status=ConnectionStatus.ENABLED)
    for mapping_id, connection_id, event_id, action, rows in actions.values_list(
        "mapping_id", "mapping__connection_id", "event_id", "action", "transformations"
    ).iterator():
        decided.setdefault(mapping_id, set()).add(event_id)
        data = {"action": action, "workflow": "-", "transformations": rows}
        if (event := events.get(event_id)) is None or action == "noop" or check_action(data):
            continue
        for problem in unknown_keys(data, event.payload_schema):
            yield connection_id, f"{event.crm_object}.{event.slug}: {problem.error}"
    mapped = ObjectMapping.objects.filter(connection__status=ConnectionStatus.ENABLED)
    for mapping_id, connection_id, slug in (
        mapped.exclude(remote_object="")
        .values_list("pk", "connection_id", "crm_object__slug")
        .iterator()
    ):
        crm_object = catalogue.objects().get(slug)
        for event in crm_object.events.values() if crm_object else ():
            if event.id not in decided.get(mapping_id, ()):
                yield connection_id, f"{slug}.{event.slug} has no action"


@register("xkit_crm", deploy=True)
def check_deployment(**_: object) -> list[CheckMessage]:
    """What is fine on a laptop and not in production."""
    found: list[CheckMessage] = []
    if settings.DELIVERY == "immediate":
        found.append(
            _warning(
                "W001",
                "Invocations are delivered in the process that saves, which waits for the CRM.",
                f'Set {SETTING}["DELIVERY"] = "worker" and run manage.py xkit_worker.',
            )
        )
    if not settings.ENCRYPTION_KEYS:
        found.append(
            _warning(
                "W002",
                "Credentials are encrypted with a key derived from SECRET_KEY.",
                f'Set {SETTING}["ENCRYPTION_KEYS"], so that each can be rotated by itself.',
            )
        )
    return found


def _is_migrated(database: str, model: type[models.Model]) -> bool:
    """Whether the table is there: the first `migrate` runs these checks before it makes it."""
    return model._meta.db_table in connections[database].introspection.table_names()


def _database(model: type[models.Model]) -> str:
    return str(router.db_for_write(model))


def _warning(number: str, message: str, hint: str) -> Warning:
    return Warning(message, hint=hint, id=f"xkit_crm.{number}")


def _error(number: str, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"xkit_crm.{number}")
