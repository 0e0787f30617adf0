"""What every CRM adapter looks like, and the plain data that passes between it and the engine.

`delivery/` calls providers; `mapping/` reads the descriptions they give. A provider knows its
vendor and nothing of models, invocations or HTTP requests to us. Its errors are the `CRMError`
branch of `exceptions.py`.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

from django.utils.functional import Promise

from xkit_crm.exceptions import RejectedByCRM, UnknownRecord, XkitError

#: A text, or one that is translated where it is shown.
_Text = str | Promise

_Answer = TypeVar("_Answer")

#: The longest public record id, in characters.
MAX_RECORD_ID = 255


class RemoteType(enum.StrEnum):
    """The simple type of a remote field, whatever the vendor calls it."""

    STRING = "string"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    EMAIL = "email"
    URL = "url"
    PHONE = "phone"
    PICKLIST = "picklist"
    MULTIPICKLIST = "multipicklist"
    REFERENCE = "reference"


class Operator(enum.StrEnum):
    """How a search criterion compares."""

    EQUALS = "equals"
    CONTAINS = "contains"


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a picklist."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class RemoteField:
    """A field as the CRM describes it. `required` means: a create without it is refused."""

    name: str
    label: str
    type: RemoteType
    required: bool = False
    createable: bool = True
    updateable: bool = True
    readable: bool = True
    searchable: bool = True
    choices: tuple[Choice, ...] = ()
    #: Names of the remote objects a reference may point to.
    references: tuple[str, ...] = ()
    max_length: int | None = None
    #: Whether no two records may have the same value.
    unique: bool = False


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """An object as the CRM describes it."""

    name: str
    label: str
    plural_label: str = ""


@dataclass(frozen=True, slots=True)
class RecordRef:
    """A record's public id, `Opportunity:09876`: the remote object and the CRM's own id."""

    remote_object: str
    crm_id: str

    @classmethod
    def parse(cls, record_id: str) -> RecordRef:
        """Read a public record id; raises `UnknownRecord` where it isn't one."""
        remote_object, separator, crm_id = record_id.partition(":")
        fits = len(record_id) <= MAX_RECORD_ID and record_id.isprintable()
        if not (separator and remote_object and crm_id and fits):
            raise UnknownRecord(
                f"{record_id!r} is not a record id.",
                hint="A record id is the remote object, a colon and the CRM's own id, such as "
                "Opportunity:09876. Use the id that a create or a read returned.",
            )
        return cls(remote_object, crm_id)

    def __str__(self) -> str:
        return f"{self.remote_object}:{self.crm_id}"


@dataclass(frozen=True, slots=True)
class RemoteRecord:
    """A record as the CRM holds it; `values` by remote field name, JSON values."""

    ref: RecordRef
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition of a search; all of them must hold."""

    field: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Workflow:
    """A native workflow of the CRM that an event can be handed to."""

    name: str
    label: str
    inputs: tuple[RemoteField, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A record to be made. `key` is the invocation's own for life, for `find_created`."""

    values: Mapping[str, Any]
    key: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Fields of a record to be written; what is not named stays."""

    ref: RecordRef
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the vendor allows one customer: `calls` in every `per` seconds. None: as many as come.

    A provider declares it; what the CRM says of itself while it is called goes before it
    (`Usage`). Without `burst` the vendor counts calls in a window, and a tenth of them is made at
    once at most; with it the vendor has a bucket of its own that holds so many.
    """

    calls: int | None = None
    per: float = 1.0
    burst: int | None = None


@dataclass(slots=True)
class Usage:
    """What came back beside the answers: how many requests were made, and what the CRM says is
    left. A provider writes it after each request; the engine reads it after each call."""

    requests: int = 0
    #: Requests that may still be made in the current window, and when the next one begins.
    left: int | None = None
    resets_at: datetime | None = None
    #: The same of the day's quota, and how large it is.
    quota: int | None = None
    quota_left: int | None = None
    quota_resets_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CredentialField:
    """What a customer types in to connect their CRM. `name` is its key in `credentials`; the texts
    may be translated lazily."""

    name: str
    label: _Text
    help: _Text = ""
    secret: bool = False
    required: bool = True


#: Credentials, by name.
Credentials = Mapping[str, Any]


def _renew_alone(used: Credentials, ask: Callable[[Credentials], Credentials]) -> Credentials:
    return ask(used)


@dataclass(frozen=True, slots=True)
class Access:
    """What a provider is given to work with: which connection, and its decrypted credentials."""

    connection_id: str
    credentials: Credentials = field(default_factory=dict, repr=False)
    #: Under which key it is remembered what the CRM says of itself.
    description_key: str = ""
    #: Gives new credentials in place of those that were `used`. `ask` fetches them from the vendor,
    #: and isn't called where somebody else has fetched them meanwhile.
    renew: Callable[[Credentials, Callable[[Credentials], Credentials]], Credentials] = field(
        default=_renew_alone, repr=False
    )


def outcome_of(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What the call gives, or what it raises."""
    try:
        return call(*args, **options)
    except XkitError as error:
        return error


def only(answers: Sequence[_Answer | XkitError]) -> _Answer:
    """The one answer of a call about one item; raises it where it is an error."""
    (answer,) = answers
    if isinstance(answer, XkitError):
        raise answer
    return answer


class Provider(ABC):
    """The adapter to one CRM vendor.

    Every method raises the `CRMError` branch of `exceptions.py`: `RejectedByCRM` with a problem
    per remote field, `RemoteRecordNotFound`, `RateLimited`, `CRMUnavailable` (with
    `outcome_unknown` where a write may have happened), `CRMUnauthorized`.
    """

    slug: ClassVar[str]
    label: ClassVar[str]
    #: Whether `find_created` can be answered; where not, a doubtful create stops as `unknown`. One
    #: whose answer depends on the object overrides `finds_created`.
    can_find_created: ClassVar[bool] = True
    #: What a customer is asked for in CRM Link; nothing: it is enough that they choose this CRM.
    credential_fields: ClassVar[Sequence[CredentialField]] = ()
    #: How long what the CRM says of its objects, fields and workflows is good for.
    description_ttl: ClassVar[timedelta] = timedelta(minutes=10)
    #: How many records one call of `create_many`, `update_many`, `delete_many` and `get_many`
    #: takes; 1: the vendor has no such calls.
    batch_size: ClassVar[int] = 1
    #: How often the vendor lets itself be called.
    limits: ClassVar[Limits] = Limits()

    def __init__(self, access: Access) -> None:
        self.access = access
        self.usage = Usage()
        #: What this adapter has been told of the CRM already; see `descriptions.py`.
        self.described: dict[str, Any] = {}

    def finds_created(self, remote_object: str) -> bool:
        """Whether `find_created` can be answered for records of this object."""
        return self.can_find_created

    @abstractmethod
    def describe_objects(self) -> Sequence[RemoteObject]:
        """Every object that this connection's user can see."""

    @abstractmethod
    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        """Every field of one object; `CRMError` where there is no such object."""

    @abstractmethod
    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        """One record with the asked fields."""

    @abstractmethod
    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        """Records that meet every criterion, newest first, `limit` at most."""

    @abstractmethod
    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        """Make a record. `key` is the invocation's own for life, for `find_created`."""

    @abstractmethod
    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        """The record that an earlier `create` or workflow with this key made, where one did.

        Asked before a create of unknown outcome is tried again.
        """

    @abstractmethod
    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        """Write fields of a record; what is not named stays."""

    @abstractmethod
    def delete(self, ref: RecordRef) -> None:
        """Delete a record; `RemoteRecordNotFound` where it is gone already."""

    # Many at once: a vendor with a `batch_size` overrides these. The answer has one entry for each
    # item, in order: what the single call gives, or the error that it would have raised. What is
    # raised instead befell the whole call; where that is `RejectedByCRM`, the vendor refuses all
    # for one of them, and the engine finds out which.

    def create_many(
        self, remote_object: str, drafts: Sequence[Draft]
    ) -> Sequence[RecordRef | XkitError]:
        """Make records of one object, `batch_size` at most."""
        return [outcome_of(self.create, remote_object, d.values, key=d.key) for d in drafts]

    def find_created_many(
        self, remote_object: str, keys: Sequence[str]
    ) -> Sequence[RecordRef | XkitError | None]:
        """What `find_created` says of each key, `batch_size` at most."""
        return [outcome_of(self.find_created, remote_object, key=key) for key in keys]

    def update_many(self, edits: Sequence[Edit]) -> Sequence[XkitError | None]:
        """Write to records of one object, `batch_size` at most, each once."""
        return [outcome_of(self.update, edit.ref, edit.values) for edit in edits]

    def delete_many(self, refs: Sequence[RecordRef]) -> Sequence[XkitError | None]:
        """Delete records of one object, `batch_size` at most."""
        return [outcome_of(self.delete, ref) for ref in refs]

    def get_many(
        self, refs: Sequence[RecordRef], fields: Sequence[str]
    ) -> Sequence[RemoteRecord | XkitError]:
        """Read records of one object with the asked fields, `batch_size` at most."""
        return [outcome_of(self.get, ref, fields) for ref in refs]

    def list_workflows(self) -> Sequence[Workflow]:
        """The native workflows an event can be handed to; none by default."""
        return ()

    def run_workflow(
        self, name: str, inputs: Mapping[str, Any], *, key: str, ref: RecordRef | None
    ) -> RecordRef | None:
        """Start a native workflow; gives the record where the workflow says which one it made.

        `ref` is the record of an update or delete event. Called again with the same `key` after an
        unknown outcome, it must not do the work twice; a provider whose CRM can't be asked sets
        `can_find_created` to False, and it is not called again.
        """
        raise RejectedByCRM(f"{self.label} has no workflow named {name!r}.")

    def record_url(self, ref: RecordRef) -> str:
        """The address of the record's page for a person, or an empty string."""
        return ""
