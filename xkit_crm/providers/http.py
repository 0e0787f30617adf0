"""The one way to call a CRM over HTTP; a vendor's module says only what differs.

Connections are kept alive, one session a thread. Nothing is followed to another host, no answer is
read for longer or larger than it may be, and no address inside the operator's own network is called
unless `PRIVATE_HOSTS` names it. What went wrong becomes a typed error, with the vendor's own words
and whether a write may have happened.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from math import isnan
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urljoin, urlsplit

import requests
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError

from xkit_crm import logs
from xkit_crm.conf import settings
from xkit_crm.exceptions import (
    LONGEST_WAIT,
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    Problem,
    RateLimited,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.addresses import PublicOnly, require_allowed
from xkit_crm.providers.base import Access, Provider, RemoteField

logger = logging.getLogger(__name__)

#: The largest answer that is read, in bytes. A description of 2,000 fields has a few million.
MAX_ANSWER = 8 * 1024 * 1024
#: How much of an answer that can't be understood is shown, in characters.
EXCERPT = 300
#: Seconds to leave a CRM alone whose daily quota is used up and that doesn't say until when: it is
#: asked by the hour whether another day has begun.
DAY_USED_UP = 3600.0
_CHUNK = 64 * 1024
_DOTS = frozenset({".", ".."})
#: The field that customers make, so that nothing is ever made twice: a text of 36 characters,
#: unique where the CRM knows that.
KEY_FIELD = "xkit_key"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a CRM answered: the status, the headers (any case), and the JSON; None: no body; the
    text of one in several parts (`multipart/`), which only a vendor's module can read."""

    status: int
    headers: Mapping[str, str]
    body: Any = None

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def retry_after(self) -> float | None:
        """Seconds that the CRM wants to be left alone, where it says so."""
        return seconds_until(self.headers.get("Retry-After"), clock=self.headers.get("Date"))


class HTTPProvider(Provider):
    """A provider whose CRM is reached over HTTP."""

    #: Seconds to connect, and for all of an answer to come.
    timeout: ClassVar[tuple[float, float]] = (5.0, 30.0)
    #: Where the vendor's API is; a setting may point elsewhere, and so may the credentials.
    url: ClassVar[str] = ""
    #: What it can be told in `PROVIDER_OPTIONS` besides what every provider can.
    option_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self.options: Mapping[str, Any] = settings.PROVIDER_OPTIONS.get(self.slug, {})

    @property
    def base_url(self) -> str:
        """Where this connection's API is, without a slash at the end."""
        return str(self.options.get("base_url") or self.url).rstrip("/")

    @abstractmethod
    def authorisation(self) -> Mapping[str, str]:
        """The headers that say who calls."""

    def renew(self) -> bool:
        """Get new credentials, since these were refused; whether there are any."""
        return False

    # A create of unknown outcome is looked up by a field that holds our key, where the customer has
    # made one: no vendor has an idempotency key of its own.

    def key_field(self, remote_object: str) -> str:
        """The field of this object that holds our key: named, or called, `xkit_key`. An empty
        string where there is none."""
        for field in self.fields(remote_object).values():
            names = {field.name.casefold(), field.label.casefold().replace(" ", "_")}
            if any(name.removeprefix("x_").removesuffix("__c") == KEY_FIELD for name in names):
                return field.name
        return ""

    def finds_created(self, remote_object: str) -> bool:
        return bool(self.key_field(remote_object))

    def fields(self, remote_object: str) -> dict[str, RemoteField]:
        """The fields of an object by name, remembered."""
        return descriptions.fields(self, remote_object)

    # What a vendor says in its own way.

    def note(self, answer: Answer) -> None:
        """Learn from the headers what is left of the vendor's limits."""

    def refusal(self, answer: Answer) -> CRMError | None:
        """The typed error of an answer, where the vendor's own words say more than its status; or
        of one with a good status that tells of a failure."""
        return None

    def words(self, answer: Answer) -> tuple[str, tuple[Problem, ...]]:
        """The vendor's sentence, and its problems by remote field."""
        return _excerpt(answer.body), ()

    # What a vendor's module calls.

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        writes: bool | None = None,
    ) -> Answer:
        """Make a request and give its good answer; raises the `CRMError` that it was.

        `path` is put behind `base_url`; `body` is sent as JSON, or as it is where it is `bytes`,
        and the headers say what it is. `writes` says whether it may change something in the CRM;
        by default every method but GET does.
        """
        writes = method != "GET" if writes is None else writes
        answer = self._ask(method, path, body, params, headers, writes=writes)
        if answer.status == HTTPStatus.UNAUTHORIZED and self.renew():
            answer = self._ask(method, path, body, params, headers, writes=writes)
        if error := self.refusal(answer) or (None if answer.ok else self.error(answer)):
            # Only a server that broke on the way leaves open whether it has written.
            error.outcome_unknown = error.outcome_unknown and writes
            raise error
        return answer

    def error(self, answer: Answer) -> CRMError:
        """The typed error of an answer that is none of the good ones, by its status."""
        status, (said, problems) = answer.status, self.words(answer)
        message = f"{self.label} answered {status}: {said or _reason(status)}"
        match status:
            case 401:
                return CRMUnauthorized(message)
            case 404 | 410:
                return RemoteRecordNotFound(message)
            case 423:
                return RecordLocked(message, retry_after=answer.retry_after)
            case 429:
                return RateLimited(message, retry_after=answer.retry_after)
            case 503:
                return CRMUnavailable(message, retry_after=answer.retry_after)
            case 400 | 403 | 405 | 409 | 412 | 413 | 422:
                return RejectedByCRM(message, errors=problems)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return CRMUnavailable(message, retry_after=answer.retry_after, outcome_unknown=True)
        return CRMError(message)

    def _ask(
        self,
        method: str,
        path: str,
        body: Any,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        *,
        writes: bool,
    ) -> Answer:
        url = f"{self.base_url}{path}"
        if _DOTS & {unquote(part) for part in path.partition("?")[0].split("/")}:
            # It would lead to another place of the API; no vendor has such ids or names.
            raise RemoteRecordNotFound(f"{self.label} has nothing named so.")
        self.usage.requests += 1
        began = time.monotonic()
        try:
            answer = request(
                method,
                url,
                body=body,
                params=params,
                headers={**self.authorisation(), **(headers or {})},
                timeout=self.timeout,
            )
        except CRMError as error:
            error.message = f"{self.label}: {error.message}"
            error.outcome_unknown = error.outcome_unknown and writes
            raise
        logger.debug(
            "%s %s: %s in %.0f ms.",
            method,
            url.partition("?")[0],
            answer.status,
            (time.monotonic() - began) * 1000,
            extra=logs.of(self.access.connection_id),
        )
        try:
            self.note(answer)
        except Exception as raised:  # noqa: BLE001 - it was answered, whatever its headers say
            logger.warning("%s: headers that make no sense: %r", self.label, raised)
        return answer


def part(text: str) -> str:
    """A name or an id as it stands between two slashes of a path."""
    return quote(text, safe="")


# -- one request ----------------------------------------------------------------------------------


def request(
    method: str,
    url: str,
    *,
    body: Any = None,
    form: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: tuple[float, float] = HTTPProvider.timeout,
) -> Answer:
    """Ask, and give the answer whatever its status; `body` goes as JSON (`bytes`: as they are),
    `form` as a form.

    Raises `ConfigurationError` for an address that may not be called, `CRMUnavailable` where no
    whole answer came, and `CRMError` for one that is none. `outcome_unknown` is set where the
    request may have arrived.
    """
    require_allowed(url)
    _require_sendable(headers or {})
    connect, patience = timeout
    until = time.monotonic() + connect + patience
    data = body if body is None or isinstance(body, bytes) else _encoded(body)
    typed = {"Content-Type": "application/json"} if data is not None else {}
    try:
        with _session().request(
            method,
            url,
            data=data if form is None else form,
            params=params,
            headers={"Accept": "application/json", **typed, **(headers or {})},
            timeout=timeout,
            allow_redirects=False,
            stream=True,
            proxies=get_environ_proxies(url),
        ) as response:
            content = _read(response, until)
    except requests.exceptions.SSLError as error:
        raise CRMUnavailable(
            "its certificate can't be trusted, so nothing was sent.",
            hint="Correct its address, or its certificate.",
        ) from error
    except (requests.exceptions.InvalidURL, LocationParseError) as error:
        raise ConfigurationError(f"{urlsplit(url).hostname} is no address of a CRM.") from error
    except requests.exceptions.RequestException as error:
        raise CRMUnavailable(
            f"no answer: {type(error).__name__}.", outcome_unknown=not _never_arrived(error)
        ) from error
    except ValueError as error:  # requests looks where a redirect leads, though it isn't followed
        raise CRMError("it redirects to what is no address.") from error
    except HTTPError as error:  # while it was read
        raise CRMUnavailable(
            f"its answer broke off: {type(error).__name__}.", outcome_unknown=True
        ) from error
    return _answer(response, content)


def _encoded(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _require_sendable(headers: Mapping[str, str]) -> None:
    """Raise `CRMUnauthorized` for headers that can't be: credentials copied with a line break or a
    character that none has."""
    try:
        is_sendable = all(
            value.isprintable() and value.encode("latin-1") for value in headers.values()
        )
    except UnicodeEncodeError:
        is_sendable = False
    if not is_sendable:
        raise CRMUnauthorized(
            "the credentials hold a character that can't be sent.",
            hint="Copy them again, without blanks or line breaks around them.",
        )


def _answer(response: requests.Response, content: bytes) -> Answer:
    status = response.status_code
    if 300 <= status < 400:
        raise CRMError(
            f"it redirects to {_host_of(response)}, which is not followed.",
            hint="Correct the CRM's address; a proxy or a login page may stand before it.",
        )
    if not content.strip():
        return Answer(status, response.headers)
    if response.headers.get("Content-Type", "").lower().startswith("multipart/"):
        return Answer(status, response.headers, content.decode(errors="replace"))
    try:
        return Answer(status, response.headers, json.loads(content))
    except (ValueError, RecursionError):
        said = " ".join(content[: 4 * EXCERPT].decode(errors="replace").split())
    if status >= HTTPStatus.BAD_REQUEST:  # the status tells enough
        return Answer(status, response.headers, said[:EXCERPT])
    raise CRMUnavailable(
        f"its answer is no JSON: {said[:EXCERPT]}",
        hint="A page for people, such as one about maintenance, or an answer that was cut off.",
        outcome_unknown=True,
    )


def _host_of(response: requests.Response) -> str:
    """Where a redirect leads; the rest of its address may hold anything."""
    try:
        there = urlsplit(urljoin(response.url, response.headers.get("Location", ""))).hostname
    except ValueError:
        there = None
    return there or "nowhere"


def _read(response: requests.Response, until: float) -> bytes:
    """The content, unless there is too much of it or it takes too long."""
    parts, size = [], 0
    # What is there, rather than wait until a whole chunk is: it may come byte by byte.
    while part := response.raw.read1(_CHUNK, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER:
            raise CRMError(
                f"its answer is larger than {MAX_ANSWER // 1024**2} MB.", outcome_unknown=True
            )
        if time.monotonic() > until:
            raise CRMUnavailable("its answer takes too long.", outcome_unknown=True)
    return b"".join(parts)


def _never_arrived(error: requests.exceptions.RequestException) -> bool:
    """Whether no connection was made, so that nothing can have been written."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    # requests wraps what urllib3 gave up on, which names its reason.
    gave_up = error.args[0] if error.args else None
    return isinstance(getattr(gave_up, "reason", None), NewConnectionError)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an unknown status"


def _excerpt(body: Any) -> str:
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
    return text[:EXCERPT]


def seconds_until(said: str | None, *, clock: str | None = None) -> float | None:
    """What `Retry-After` says, seconds or a date: a day at most, whatever a CRM may say.

    A date is by the CRM's own clock, which may differ from ours: `clock` is what its answer says
    of that (`Date`).
    """
    if not said:
        return None
    try:
        seconds = float(said)
    except ValueError:
        moment = _date(said)
        if moment is None:
            return None
        seconds = (moment - (_date(clock) or datetime.now(UTC))).total_seconds()
    return None if isnan(seconds) else min(max(seconds, 0.0), LONGEST_WAIT)


def _date(said: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(said or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_local = threading.local()


def _session() -> requests.Session:
    """This thread's own, with its connections kept alive; a forked process makes a new one."""
    if getattr(_local, "pid", None) != os.getpid():
        session = requests.Session()
        session.trust_env = False  # no .netrc; proxies are asked for with each request
        # It serves many customers: what one's CRM wants to be remembered is no other's.
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            session.mount(scheme, PublicOnly())
        _local.session, _local.pid = session, os.getpid()
    found: requests.Session = _local.session
    return found
