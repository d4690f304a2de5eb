"""A visit: one request to Studio, who makes it, and the form that it sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from starlette.requests import Request

from reelport.server.access.audit_log import Actor
from reelport.server.access.sessions import Browser, Session
from reelport.server.http.service import Service
from reelport.server.studio.forms import Form
from reelport.server.studio.rights import RIGHTS, Right
from reelport.storage.s3_address import is_loopback


@dataclass(frozen=True, slots=True)
class Visit:
    """What an endpoint is given. `session` is None for a visitor who isn't signed in.

    `csrf` is what each form of the answer must send back in the field of that name.
    """

    request: Request
    service: Service
    session: Session | None
    csrf: str
    now: datetime
    form: Form = field(default_factory=Form)

    @property
    def user(self) -> Session:
        """The signed-in user; only for endpoints whose right needs one."""
        if self.session is None:
            raise RuntimeError("this page is for signed-in users: its route must say so")
        return self.session

    @property
    def organization_id(self) -> int:
        """The id of the user's organization; only where the route's right is one of members."""
        if self.user.organization_id is None:
            raise RuntimeError("an operator is of no organization: the route's right must not be an operator's")
        return self.user.organization_id

    @property
    def organization(self) -> str:
        """The name of the user's organization; as `organization_id`."""
        return self.user.organization or ""

    @property
    def address(self) -> str:
        """The network address that the request came from."""
        return self.request.client.host if self.request.client else ""

    @property
    def origin(self) -> str:
        """What links begin with: the service's own address as set, else this request's."""
        return (self.service.settings.public_url or str(self.request.base_url)).rstrip("/")

    @property
    def has_local_origin(self) -> bool:
        """Whether links lead whoever opens them to their own machine."""
        return is_loopback(self.origin)

    @property
    def browser(self) -> Browser:
        """Where the visitor is."""
        return Browser(self.address, self.request.headers.get("user-agent", ""))

    @property
    def actor(self) -> Actor:
        """The signed-in user, for the audit log."""
        return Actor(self.user.email, self.address)

    def may(self, right: Right) -> bool:
        """Whether the visitor's role has this right."""
        return right in RIGHTS[self.session.role if self.session else None]

    def may_change(self, made_by: str | None) -> bool:
        """Whether the visitor may cancel, delete or revoke what this user made; None: a key did."""
        return self.may(Right.CHANGE_ANYBODYS) or (self.session is not None and self.session.email == made_by)
