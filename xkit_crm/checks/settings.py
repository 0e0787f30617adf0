"""The settings: every key known and of its type, what it names there, and fit for production."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from difflib import get_close_matches
from importlib.util import find_spec
from ipaddress import ip_address
from math import inf
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.db import router

from xkit_crm.checks.messages import error, warning
from xkit_crm.conf import NAMES, SETTING, Settings, settings
from xkit_crm.exceptions import XkitError


@register("xkit_crm")
def check_settings(**_: object) -> list[CheckMessage]:
    """Every key is known and of its type."""
    given = getattr(django_settings, SETTING, {})
    if not isinstance(given, dict):
        return [error("E001", f"{SETTING} is not a dict.", f"Set {SETTING} = {{}}.")]
    return [*_unknown_keys(given), *_wrong_values(given), *_read_elsewhere()]


def _read_elsewhere() -> Iterator[CheckMessage]:
    """A replica lags behind: what waits in front of an invocation would be overlooked."""
    from xkit_crm.models import Invocation

    written = router.db_for_write(Invocation)
    # A router may choose among replicas by chance, or by the model.
    models = apps.get_app_config("xkit_crm").get_models()
    elsewhere = {router.db_for_read(model) for model in models} - {written}
    if elsewhere:
        yield error(
            "E028",
            f"The tables of xkit_crm are written to the database {written!r} and read from "
            f"{', '.join(map(repr, sorted(elsewhere)))}: a replica lags behind, so that events "
            "would be sent in the wrong order.",
            f"Have db_for_read() of your database router give {written!r} for the app xkit_crm.",
        )


def _unknown_keys(given: dict[str, Any]) -> Iterator[CheckMessage]:
    for name in given.keys() - NAMES:
        near = get_close_matches(str(name).upper(), NAMES, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(sorted(NAMES))}."
        yield error("E002", f"{SETTING} has an unknown key {name!r}.", hint)


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
    "KEEP_TALLIES": ((timedelta,), "a timedelta"),
    "LINK_ORIGINS": ((list, tuple), "a list of origins"),
    "LINK_TOKEN_AGE": ((timedelta,), "a timedelta"),
    "LINK_SESSION_AGE": ((timedelta,), "a timedelta"),
    "LINK_DEFINES": ((bool, type(None)), "True, False or None"),
    "LINK_CRMS": ((list, tuple, type(None)), "a list of providers or None"),
    "LINK_NAME": ((str,), "a string"),
    "REFRESH_INTERVAL": ((int, float, type(None)), "a number of seconds or None"),
    "WEBHOOK": ((dict, type(None)), "a dict or None"),
    "METRICS_TOKEN": ((str,), "a string"),
    "METRICS_CONNECTIONS": ((bool,), "True or False"),
    "REMOTE": ((dict, type(None)), "a dict or None"),
}


#: What a time is at most: with more, dates would end.
_MOST = timedelta(days=3650)
#: What a value is at least: with less, nothing would be delivered, or nobody let in.
_LEAST: dict[str, float | timedelta] = {
    "MAX_BODY_BYTES": 1,
    "MAX_ATTEMPTS": 1,
    "BREAKER_THRESHOLD": 1,
    "WAIT_TIMEOUT": 0,
    "RETRY_BASE": 0,
    "REFRESH_INTERVAL": 0,
    "KEEP_SUCCEEDED": timedelta(),
    "KEEP_FAILED": timedelta(),
    **dict.fromkeys(
        (
            "IDEMPOTENCY_WINDOW",
            "RETRY_MAX",
            "LANE_LEASE",
            "BREAKER_PAUSE_MAX",
            "LINK_TOKEN_AGE",
            "LINK_SESSION_AGE",
        ),
        timedelta.resolution,  # more than nothing
    ),
}


def _wrong_values(given: dict[str, Any]) -> Iterator[CheckMessage]:
    wrong = {
        name
        for name, (types, _) in _TYPES.items()
        if name in given and not _is_one_of(given[name], types)
    }
    for name in sorted(wrong):
        yield error("E003", f"{SETTING}[{name!r}] is not {_TYPES[name][1]}.", "Correct its type.")
    yield from _out_of_range({name: given[name] for name in given if name not in wrong})
    if "LINK_ORIGINS" not in wrong:
        yield from _wrong_origins()
    if "INVALID_PAYLOAD" not in wrong and settings.INVALID_PAYLOAD not in ("raise", "record"):
        yield error(
            "E003", f'{SETTING}["INVALID_PAYLOAD"] is not "raise" or "record".', "Use one of them."
        )
    if "PRIVATE_HOSTS" not in wrong:
        yield from _wrong_hosts()
    if not wrong & {"PROVIDERS", "DELIVERY"}:
        yield from _unloadable()
    if "ENCRYPTION_KEYS" not in wrong:
        yield from _weak_keys()
    if "WEBHOOK" not in wrong and settings.WEBHOOK is not None:
        yield from _wrong_webhook(settings.WEBHOOK)
    if "REMOTE" not in wrong and settings.REMOTE is not None:
        yield from _wrong_remote(settings.REMOTE)


def _is_one_of(value: object, types: tuple[type, ...]) -> bool:
    """Python's True is an int, and no number of anything."""
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _most(least: float | timedelta) -> float | timedelta:
    if isinstance(least, timedelta):
        return _MOST
    # What is counted begins with 1, seconds begin with 0.
    return inf if least else _MOST.total_seconds()


def _out_of_range(given: dict[str, Any]) -> Iterator[CheckMessage]:
    for name in sorted(given.keys() & _LEAST.keys()):
        value, least = given[name], _LEAST[name]
        most = _most(least)
        if value is None or least <= value <= most:
            continue
        wanted = f"{least} or more"
        if isinstance(least, timedelta):
            wanted = "a timedelta of " + ("more than 0" if least else "0 or more")
        if value > most:
            wanted = f"{most} or less"
        yield error(
            "E003",
            f"{SETTING}[{name!r}] is {value!r}, which can't be.",
            f"Give {wanted}; the default is {getattr(Settings(), name)}.",
        )


def _weak_keys() -> Iterator[CheckMessage]:
    for key in settings.ENCRYPTION_KEYS:
        if not isinstance(key, str) or len(key) < 32:
            yield error(
                "E006",
                f'A key of {SETTING}["ENCRYPTION_KEYS"] is shorter than 32 characters.',
                "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )


def _wrong_remote(remote: dict[str, Any]) -> Iterator[CheckMessage]:
    where = f'{SETTING}["REMOTE"]'
    if set(remote) != {"base_url", "publishable_key", "secret_key"}:
        yield error(
            "E007",
            f"{where} does not have exactly base_url, publishable_key and secret_key.",
            "Give all three, or None to work in this deployment.",
        )
    elif not _is_url(remote["base_url"]):
        yield error(
            "E007", f"The base_url of {where} is none.", "It begins with https:// (or http://)."
        )


def _wrong_origins() -> Iterator[CheckMessage]:
    for origin in settings.LINK_ORIGINS:
        if not _is_origin(origin):
            yield error(
                "E003",
                f'{SETTING}["LINK_ORIGINS"] has {origin!r}, which no browser calls an origin.',
                "Give https:// and the host in small letters, with its port where that is another "
                "than usual, and no path or slash behind it, such as https://app.example.com.",
            )


def _is_origin(said: object) -> bool:
    """Whether it is an origin as browsers write it, which leave out the usual port."""
    if not isinstance(said, str) or not _is_url(said):
        return False
    if not re.fullmatch(r"https?://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[1-9][0-9]*)?", said):
        return False
    return not said.endswith(":443" if said.startswith("https:") else ":80")


def _wrong_webhook(webhook: dict[str, Any]) -> Iterator[CheckMessage]:
    from xkit_crm.notifications import signing_key

    where = f'{SETTING}["WEBHOOK"]'
    if set(webhook) != {"url", "secret"}:
        yield error(
            "E009",
            f"{where} does not have exactly url and secret.",
            "Give both, or None to tell nobody.",
        )
        return
    if not _is_url(webhook["url"]):
        yield error("E009", f"The url of {where} is none.", "It begins with https:// (or http://).")
    try:
        is_long = len(signing_key(webhook["secret"])) >= 24
    except (AttributeError, ValueError):
        is_long = False
    if not is_long:
        yield error(
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
            yield error(
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
    except XkitError as raised:
        yield error("E016" if missing_extra() else "E004", raised.message, raised.hint)
    for slug in available():
        if slug == "sandbox" and slug not in settings.PROVIDERS:
            continue  # an app of its own: installed or not, as the product likes
        try:
            provider_class(slug)
        except XkitError as raised:
            yield error("E005", raised.message, raised.hint)
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
            yield error("E008", f"{where} is not a dict.", f"Options are {', '.join(_OPTIONS)}.")
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
            yield error("E008", f"{where} has an unknown option {name!r}.", hint)


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
            yield error("E008", f"{where}[{name!r}] can't be used.", f"Give {wanted}.")
    if options.get("client_id") and not options.get("client_secret"):
        yield error("E008", f"{where} has a client_id and no client_secret.", "Give both.")
    elif options.get("client_id") and find_spec("authlib") is None:
        yield error(
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
        yield warning(
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
    return error("E008", f"{SETTING}[{name!r}] names {slug!r}, which is no provider.", hint)


@register("xkit_crm")
def check_celery(**_: object) -> list[CheckMessage]:
    """Celery's messages find a worker, and what is lost on the way is found."""
    from xkit_crm.delivery.backends import missing_extra

    if settings.DELIVERY != "celery" or missing_extra():
        return []
    from xkit_crm.delivery.backends import celery

    if celery.has_no_app():
        return [
            warning(
                "W017",
                "No Celery app is there, so messages would go to a broker on localhost.",
                "Import it in the __init__.py of your project, as Celery's guide for Django says.",
            )
        ]
    if celery.is_swept() is False:
        return [
            warning(
                "W016",
                "Celery beat doesn't run xkit_crm.sweep: retries and lost messages wait for ever.",
                "Put xkit_crm.delivery.backends.celery.beat_schedule() into CELERY_BEAT_SCHEDULE.",
            )
        ]
    return []


@register("xkit_crm", deploy=True)
def check_deployment(**_: object) -> list[CheckMessage]:
    """What is fine on a laptop and not in production."""
    found: list[CheckMessage] = []
    if settings.DELIVERY == "immediate":
        found.append(
            warning(
                "W001",
                "Invocations are delivered in the process that saves, which waits for the CRM.",
                f'Set {SETTING}["DELIVERY"] = "worker" and run manage.py xkit_worker.',
            )
        )
    if not settings.ENCRYPTION_KEYS:
        found.append(
            warning(
                "W002",
                "Credentials are encrypted with a key derived from SECRET_KEY.",
                f'Set {SETTING}["ENCRYPTION_KEYS"], so that each can be rotated by itself.',
            )
        )
    return found
