"""Who may use a route: the one way to guard it, to find out, and to document it.

A route says `principal: Annotated[Principal, Depends(access.require(Role.WINDOW))]`
or, if anybody may use it, `dependencies=[Depends(access.public)]`, or, for what
monitoring systems read, `dependencies=[Depends(Monitoring(…))]`. The roles
stand as the scopes of the `bearer` scheme, where FastAPI writes them into the
OpenAPI document (3.1: `security: [{"bearer": ["window"]}]`, any one of them
suffices) and `access_of` reads them back for the authorisation matrix.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from fastapi import Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from kernel.clock import Clock
from kernel.principals import Principal, Role
from parties.credentials import Authenticator, Presented
from parties.errors import CredentialMissing, CredentialUnknown, NotLocal, RoleNotAllowed
from storage.database import Database

# auto_error off: the refusals are ours, with their codes.
BEARER = HTTPBearer(
    scheme_name="bearer",
    description="访问凭证；方括号内为可使用该接口的角色，任一即可。"
    " A credential `mj_…`; the words in brackets are the roles that may use the route, "
    "any one of them.",
    auto_error=False,
)


async def public() -> None:
    """Marks a route that anybody may use, without a credential."""


# Who comes through a proxy comes from elsewhere, whatever the proxy's own address.
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


class Monitoring:
    """Guards what monitoring systems read: by a token of their own, or by being on this
    computer. It asks no database, so that the route works when the database does not."""

    def __init__(self, token: str | None) -> None:
        """`token`: what `Authorization: Bearer` must hold; None: callers on loopback,
        not through a proxy."""
        self._token = token

    async def __call__(self, request: Request) -> None:
        """`NotLocal`; or `CredentialMissing`, `CredentialUnknown`."""
        request.state.caller = "monitoring"
        if self._token is None:
            if not _is_local(request):
                raise NotLocal()
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            raise CredentialMissing()
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            raise CredentialUnknown()


def _is_local(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class RouteAccess:
    """Who may use a route: `public`, `monitoring`, or any of `roles`."""

    public: bool
    roles: frozenset[Role]
    monitoring: bool = False


class Access:
    """Makes the dependencies that guard routes. One per application."""

    def __init__(self, database: Database, clock: Clock, authenticator: Authenticator) -> None:
        self._database = database
        self._clock = clock
        self._authenticator = authenticator

    public = staticmethod(public)

    def require(self, *roles: Role) -> Callable[..., Principal]:
        """A dependency that yields the caller, if it has one of `roles`.

        Raises `CredentialMissing` and the authenticator's refusals, or
        `RoleNotAllowed`. Reads the database once, in a worker thread.
        """
        if not roles:
            raise ValueError("name the roles, or mark the route public")
        allowed = frozenset(roles)
        names = [role.value for role in roles]

        def guard(
            request: Request,
            bearer: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER, scopes=names)],
        ) -> Principal:
            principal = self.authenticate(request, bearer)
            request.state.caller = principal.role.value  # for the log: what kind, never who
            if principal.role not in allowed:
                raise RoleNotAllowed(allowed=names)
            return principal

        return guard

    def authenticate(
        self, request: Request, bearer: HTTPAuthorizationCredentials | None
    ) -> Principal:
        """The caller, whatever their role."""
        if bearer is None:
            raise CredentialMissing()
        presented = Presented(request.method, str(request.url), request.headers.get("dpop"))
        with self._database.glance() as tx:
            return self._authenticator.authenticate(
                tx, self._clock.now(), bearer.credentials, presented
            )


def access_of(dependant: Dependant) -> RouteAccess | None:
    """How a route (`route.dependant`) is guarded; None: neither guarded nor public."""
    pending = [dependant]
    roles: set[Role] = set()
    is_public = is_monitoring = False
    while pending:
        current = pending.pop()
        pending.extend(current.dependencies)
        if current.call is public:
            is_public = True
        elif isinstance(current.call, Monitoring):
            is_monitoring = True
        elif current.call is BEARER:
            scopes = (*(current.parent_oauth_scopes or ()), *(current.own_oauth_scopes or ()))
            roles.update(Role(name) for name in scopes)
    if roles:
        return RouteAccess(False, frozenset(roles))
    if is_monitoring:
        return RouteAccess(False, frozenset(), monitoring=True)
    return RouteAccess(True, frozenset()) if is_public else None
