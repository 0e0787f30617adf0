"""Every error the package raises on purpose, in one tree.

An `XkitError` says what went wrong, where (`errors`, each with its path) and what to do (`hint`).
`code` and `status` are those of the HTTP contract, so the API answers an error without knowing
which one it is, and `XkitClient` turns an answer back into the same class with `from_dict`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


def _(text: str) -> str:
    """Mark a text for translation where it is shown: this is read before there are settings."""
    return text


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `path` such as `payload.updated_at`, and what is wrong with it."""

    path: str
    error: str

    def __str__(self) -> str:
        # A CRM's words may begin with it.
        is_told = self.error.lower().startswith(f"{self.path}:".lower())
        return self.error if is_told or not self.path else f"{self.path}: {self.error}"

    def is_at(self, path: str) -> bool:
        """Whether it is there, or at something below."""
        return self.path == path or self.path.startswith((f"{path}.", f"{path}["))


#: Seconds that nobody is left alone longer for, whatever they ask for.
LONGEST_WAIT = 24 * 60 * 60.0


def _bearable(seconds: object) -> float | None:
    """So many seconds, if they are any: a CRM may say whatever it likes."""
    if not isinstance(seconds, int | float) or seconds != seconds:  # NaN is not even itself
        return None
    return min(max(seconds, 0), LONGEST_WAIT)


class XkitError(Exception):
    """The root of the tree.

    `message` is a sentence, `hint` says what to do about it, `errors` lists the single problems
    where there are several, `retry_after` is in seconds where the other side named it.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    default_hint: ClassVar[str] = ""
    #: What an operator is told of an invocation that has such an error, and what to do about it.
    meaning: ClassVar[str] = _("Something went wrong that has no name of its own.")
    remedy: ClassVar[str] = _("Read the error, mend what it names, then replay.")
    #: Whether the same request may succeed later with nothing changed.
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        errors: Iterable[Problem] = (),
        retry_after: float | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = str(message)
        self.hint = str(self.default_hint if hint is None else hint)
        self.errors = tuple(errors)
        self.retry_after = _bearable(retry_after)
        #: The CRM may or may not have carried the request out.
        self.outcome_unknown = outcome_unknown

    def __str__(self) -> str:
        parts = [self.message]
        if self.errors:
            told = "; ".join(map(str, self.errors))
            parts.append(told if told.endswith(".") else f"{told}.")
        if self.hint:
            parts.append(self.hint)
        return " ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The error as the HTTP contract shows it, without the status."""
        body: dict[str, Any] = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.errors:
            body["errors"] = [{"path": p.path, "error": p.error} for p in self.errors]
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        if self.outcome_unknown:
            body["outcome"] = "unknown"
        return body


# -- set up wrongly ------------------------------------------------------------------------------


class ConfigurationError(XkitError):
    """The product's own code or settings are wrong."""

    code = "configuration"
    meaning = _("The product's own code or settings are wrong.")
    remedy = _("Mend what the error names (manage.py check helps), then replay.")


class AddressRefused(ConfigurationError):
    """What a customer typed in is no address of their CRM; message and hint are for them."""


class DefinitionInvalid(XkitError):
    """An `objects` document or a payload schema has mistakes; `errors` has all of them."""

    code = "definition_invalid"
    status = 422


class DefinitionInUse(XkitError):
    """A CRM object or event can't be deleted, renamed or made another type: others rely on it."""

    code = "definition_in_use"
    status = 409


# -- the request is wrong ------------------------------------------------------------------------


class Malformed(XkitError):
    """The request can't be read at all."""

    code = "malformed"
    status = 400


class TooLarge(Malformed):
    """The request body is over the byte limit."""

    status = 413


class Unauthenticated(XkitError):
    """The key is missing, wrong or revoked."""

    code = "unauthenticated"
    status = 401


class HTTPSRequired(XkitError):
    """The request came over plain HTTP."""

    code = "https_required"
    status = 403


class NotFound(XkitError):
    """Something named in the request doesn't exist, or belongs to another tenant."""

    code = "not_found"
    status = 404


class UnknownConnection(NotFound):
    code = "unknown_connection"


class UnknownObject(NotFound):
    code = "unknown_object"


class UnknownEvent(NotFound):
    code = "unknown_event"


class UnknownRecord(NotFound):
    code = "unknown_record"
    meaning = _("The record is not known, or is of another object than the customer chose.")
    remedy = _("Link the row to its record, then replay; or skip it.")


class UnknownInvocation(NotFound):
    code = "unknown_invocation"


class MethodNotAllowed(XkitError):
    """The path exists and takes another HTTP method."""

    code = "method_not_allowed"
    status = 405


class WrongEventType(XkitError):
    """A create event where a record was named, or an update or delete event where none was."""

    code = "wrong_event_type"
    status = 409


class ConnectionNotEnabled(XkitError):
    """The connection is pending, disabled or errored."""

    code = "connection_not_enabled"
    status = 409
    meaning = _("The connection is not enabled, or the CRM refused its credentials.")
    remedy = _("Let the customer reconnect; what waits goes on by itself. Replay what failed.")


class InProgress(XkitError):
    """The same idempotency key is still being carried out."""

    code = "in_progress"
    status = 409
    retryable = True


class AlreadyLinked(XkitError):
    """Another row stands for this record."""

    code = "already_linked"
    status = 409


class IdempotencyMismatch(XkitError):
    """The idempotency key was used before, for another request."""

    code = "idempotency_mismatch"
    status = 422


class PayloadInvalid(XkitError):
    """The payload violates the event's schema; `errors` has every violation."""

    code = "payload_invalid"
    status = 422
    meaning = _("The payload violates the event's schema.")
    remedy = _("Correct the row or the event's schema, then replay.")


class MappingIncomplete(XkitError):
    """The customer has not decided what this event does in their CRM."""

    code = "mapping_incomplete"
    status = 422
    meaning = _(
        "The customer has not decided this, or their mapping doesn't fit their CRM any more."
    )
    remedy = _(
        "Complete the mapping: the customer in CRM Link, or you in the admin. "
        "What waits goes on by itself."
    )


class MappingInvalid(XkitError):
    """A mapping from outside names what there isn't, or is no mapping at all."""

    code = "mapping_invalid"
    status = 422


class LinkTokenInvalid(XkitError):
    """A CRM Link token is forged, too old, or of another context."""

    code = "link_token_invalid"
    status = 401


class DatabaseUnavailable(XkitError):
    """A database of the product's was away or busy before anything was sent."""

    code = "database_unavailable"
    status = 503
    retryable = True
    meaning = _("A database of the product's was away, or too busy; nothing was sent.")
    remedy = _("Nothing, while it waits: it goes on by itself. Replay what failed.")


# -- the CRM said no, or said nothing --------------------------------------------------------------


class CRMError(XkitError):
    """The CRM answered something that makes no sense."""

    code = "crm_error"
    status = 502
    meaning = _("The CRM answered something that makes no sense, or its adapter has a defect.")
    remedy = _(
        "Read the answer and the worker's log. Look in the CRM whether it was written, then replay."
    )


class RejectedByCRM(CRMError):
    """The CRM's own validation refused the write; `errors` has its words, by remote field."""

    code = "rejected_by_crm"
    status = 422
    meaning = _("The CRM's own validation refused it.")
    remedy = _("Correct the row, or the mapping of the field that is named, then replay.")


class RemoteRecordNotFound(CRMError):
    """The record doesn't exist in the CRM (any more)."""

    code = "unknown_record"
    status = 404
    meaning, remedy = UnknownRecord.meaning, UnknownRecord.remedy


class RateLimited(CRMError):
    """The CRM (or we) asked to slow down; `retry_after` says for how long."""

    code = "rate_limited"
    status = 429
    retryable = True
    meaning = _("The CRM asked to slow down.")
    remedy = _("Nothing, while it waits: it goes on by itself. Replay what failed.")


class CRMUnavailable(CRMError):
    """The CRM is down or timed out; `outcome_unknown` says whether it may have written."""

    code = "crm_unavailable"
    status = 503
    retryable = True
    meaning = _("The CRM was down, or didn't answer in time.")
    remedy = _("Replay it once the CRM answers again.")


class RecordLocked(CRMUnavailable):
    """This one record is locked in the CRM, by a person or a process; others can be written."""


class CRMUnauthorized(CRMError):
    """The CRM refused the credentials: the connection must be authorised again."""

    code = "connection_not_enabled"
    status = 409
    default_hint = "Reconnect the CRM; what waits goes on from there."
    meaning, remedy = ConnectionNotEnabled.meaning, ConnectionNotEnabled.remedy


def _subclasses(cls: type[XkitError]) -> Iterable[type[XkitError]]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def class_of(code: str) -> type[XkitError]:
    """The class with this code, the most general of several; `XkitError` where there is none."""
    return next((cls for cls in _subclasses(XkitError) if cls.code == code), XkitError)


def explained_codes() -> list[str]:
    """The codes whose class says what an operator does about it: those of invocations."""
    own = (cls.code for cls in _subclasses(XkitError) if "remedy" in vars(cls))
    return list(dict.fromkeys(own))


def from_dict(body: dict[str, Any], *, status: int | None = None) -> XkitError:
    """The error that `as_dict` wrote, for a stored invocation or an HTTP answer.

    Where two classes share a code, the more general one (declared first) is made. An unknown code
    gives a `CRMError` for a 5xx status and a plain `XkitError` otherwise.
    """
    code = str(body.get("code", ""))
    fallback: type[XkitError] = CRMError if status and status >= 500 else XkitError
    kind = next((cls for cls in _subclasses(XkitError) if cls.code == code), fallback)
    return kind(
        str(body.get("message") or code or "Unknown error."),
        hint=str(body.get("hint") or ""),
        errors=[
            Problem(str(problem.get("path", "")), str(problem.get("error", "")))
            for problem in body.get("errors") or ()
            if isinstance(problem, dict)
        ],
        retry_after=body.get("retry_after"),
        outcome_unknown=body.get("outcome") == "unknown",
    )
