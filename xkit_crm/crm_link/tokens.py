"""Who may come in: the token that a product's backend makes, and the session that it opens.

Both are signed and short-lived, and bound to one context. The session travels in the address of
each page, not in a cookie: browsers keep cookies from frames of another site, and a request that
has to know the address can't be forged by one that doesn't.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.core import signing
from django.utils.translation import gettext as _

from xkit_crm.conf import settings
from xkit_crm.exceptions import ConfigurationError, LinkTokenInvalid, UnknownConnection
from xkit_crm.models import Connection

_TOKEN = "xkit_crm.link.token"  # noqa: S105 - a salt
_SESSION = "xkit_crm.link.session"


@dataclass(frozen=True, slots=True)
class Session:
    """One opening of CRM Link: whose it is, which connection it is about, who opened it."""

    context: str
    connection_id: str
    #: The origin of the page that it is embedded in.
    origin: str
    author: str = ""
    #: The CRM objects that are shown; None: all of them.
    objects: tuple[str, ...] | None = None
    #: The CRM that the product chose already.
    preselect: str = ""

    def connection(self) -> Connection | None:
        """The connection, where there is one yet; raises `LinkTokenInvalid` for one of another
        context."""
        found = Connection.objects.filter(pk=self.connection_id).first()
        if found is not None and found.context != self.context:
            raise _not_yours()
        return found


def link_token(
    context: object,
    connection: Connection | str | None = None,
    *,
    author: object = "",
    expires: timedelta | None = None,
) -> str:
    """A token for `linkCRM()`: its holder may see and change the connections of this context.

    Make it in your backend, for a user of yours who may do so, when they open the page: it opens
    CRM Link for `expires` (XKIT_CRM["LINK_TOKEN_AGE"] by default, 15 minutes). With `connection`
    it is good for that one only, which need not exist yet. `author` is shown beside what they
    change, such as the user's name. Raises `ConfigurationError` without a context, and
    `UnknownConnection` for a connection of another one.
    """
    # Ids such as a primary key, and names such as a lazy text or a user, go by what they say.
    context = "" if context is None else str(context)
    if not context:
        raise ConfigurationError(
            "A CRM Link token needs a context.",
            hint="Give your own id of the customer whose connections it shall open.",
        )
    if not isinstance(expires, timedelta | None):
        raise ConfigurationError(
            f"A CRM Link token can't expire in {expires!r}.", hint="Give a datetime.timedelta."
        )
    connection_id = None if connection is None else str(getattr(connection, "pk", connection))
    if connection_id is not None:
        found = Connection.objects.filter(pk=connection_id).first()
        if found is not None and found.context != context:
            raise UnknownConnection(
                f"The context {context!r} has no connection {connection_id!r}.",
                hint="It belongs to another context.",
            )
    age = settings.LINK_TOKEN_AGE if expires is None else expires
    data = {
        "c": context,
        "i": connection_id,
        "a": "" if author is None else str(author),
        "s": age.total_seconds(),
    }
    return signing.dumps(data, salt=_TOKEN, compress=True)


def open_session(
    token: str,
    *,
    origin: str,
    connection_id: str | None = None,
    preselect: str = "",
) -> Session:
    """What a token opens. Without `connection_id` a new connection is made, under a random id.

    Raises `LinkTokenInvalid`, also for a connection that is another context's.
    """
    try:
        data = signing.loads(token, salt=_TOKEN)
        # Its own age is in it, so it has to be read before it can be checked.
        signing.loads(token, salt=_TOKEN, max_age=data["s"])
    except signing.SignatureExpired as error:
        raise LinkTokenInvalid(
            "The CRM Link token is too old.",
            hint="Ask your backend for a new one each time the page is opened.",
        ) from error
    except (signing.BadSignature, KeyError, TypeError, ValueError) as error:
        raise LinkTokenInvalid(
            "This is no CRM Link token of this site.",
            hint="Make one with xkit_crm.link_token() in your backend, with the same SECRET_KEY.",
        ) from error
    pinned = data["i"]
    if pinned is not None and connection_id not in (None, pinned):
        raise LinkTokenInvalid(
            f"The CRM Link token is for another connection than {connection_id!r}.",
            hint="Leave connectionID out, or make the token for that connection.",
        )
    session = Session(
        context=data["c"],
        connection_id=pinned or connection_id or str(uuid4()),
        origin=origin,
        author=data["a"],
        preselect=preselect,
    )
    session.connection()
    return session


def seal(session: Session) -> str:
    """The session as it stands in addresses."""
    return signing.dumps(asdict(session), salt=_SESSION, compress=True)


def unseal(sealed: str) -> Session:
    """The session of an address; raises `LinkTokenInvalid`."""
    try:
        data: dict[str, Any] = signing.loads(
            sealed, salt=_SESSION, max_age=settings.LINK_SESSION_AGE
        )
    except signing.SignatureExpired as error:
        raise LinkTokenInvalid(
            _("This page has been open for too long."),
            hint=_("Close it and open it again: what was decided so far is kept."),
        ) from error
    except signing.BadSignature as error:
        raise LinkTokenInvalid(
            _("This address is not valid."), hint=_("Close the page and open it again.")
        ) from error
    objects = data.pop("objects")
    return Session(**data, objects=None if objects is None else tuple(objects))


def _not_yours() -> LinkTokenInvalid:
    # The same as for one that there isn't: nobody learns which ids others use.
    return LinkTokenInvalid(
        "The CRM Link token is not good for this connection.",
        hint="A connection belongs to one context; choose another connectionID.",
    )
