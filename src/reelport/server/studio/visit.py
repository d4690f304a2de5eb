"""A visit: one request to Studio, who makes it, its form, and why it may be refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

from reelport.language import N_, _, localize
from reelport.server.access.audit_log import Actor
from reelport.server.access.roles import Reach, demands_factor
from reelport.server.access.sessions import Browser, Session
from reelport.server.http.service import Service
from reelport.server.studio.rights import BEFORE_FACTOR, Right, find_rights
from reelport.storage.s3_address import is_loopback

_LONGEST_FORM = 65_536
_MOST_FIELDS = 1000
_GUESSED = "link"  # stands for a user's address where wrong links are counted: no address looks like it


class Form(ImmutableMultiDict[str, str]):
    """The fields of a form, in their order; a name may come several times."""

    def text(self, name: str, default: str = "") -> str:
        """Return the value of a name, without blanks around it."""
        return self.get(name, default).strip()


async def read_form(request: Request) -> Form:
    """Read a form. Refused when it is too long, or can't be read."""
    service: Service = request.app.state.service
    with service.forms.hold(request.client.host if request.client else "") as pending:
        body = await pending.read(request, _LONGEST_FORM)
    if pending.dropped:
        raise Refused(
            503, N_("Too much at once"), N_("Too many requests are coming in at once: try again."), retry_after=5
        )
    if body is None:
        raise Refused(
            413, N_("Too long"), _("What was sent is longer than %(most)s bytes.", most=localize(f"{_LONGEST_FORM:,}"))
        )
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded" and body:
        raise Refused(415, N_("Not a form"), N_("Send the page's own form."))
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Refused(400, N_("Not a form"), N_("What was sent can't be read as a form.")) from None
    return Form(fields)


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

    def named(self, name: str) -> str:
        """Return a part of the path by its name in the route."""
        return str(self.request.path_params[name])

    @property
    def user(self) -> Session:
        """The signed-in user; only for endpoints whose right needs one."""
        if self.session is None:
            raise RuntimeError("this page is for signed-in users: its route must say so")
        return self.session

    @property
    def organization_id(self) -> int:
        """The id of the user's organization; as `reach`."""
        return self.reach.organization_id

    @property
    def reach(self) -> Reach:
        """What the user may see of the organization; only where the right is one of members."""
        if self.user.reach is None:
            raise RuntimeError("an operator sees no organization: the route's right must not be an operator's")
        return self.user.reach

    @property
    def organization(self) -> str:
        """The name of the user's organization; as `reach`."""
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

    @property
    def lacks_factor(self) -> bool:
        """Whether the visitor must add a second factor before anything else."""
        return self.needs_factor and self.session is not None and not self.session.has_factor

    @property
    def needs_factor(self) -> bool:
        """Whether the service demands a second factor of the visitor."""
        session, of_whom = self.session, self.service.settings.second_factor
        if session is None or session.look is not None:  # which ends soon
            return False
        return demands_factor(of_whom, session.role, is_by_provider=session.is_by_provider)

    def may(self, right: Right) -> bool:
        """Whether the visitor's role has this right, and no second factor must be added before."""
        if right not in BEFORE_FACTOR and self.lacks_factor:
            return False
        return right in find_rights(self.session)

    def may_change(self, made_by: str | None) -> bool:
        """Whether the visitor may cancel, delete or revoke what this user made; None: a key did."""
        return self.may(Right.CHANGE_ANYBODYS) or (self.session is not None and self.session.email == made_by)


def begin_attempt(visit: Visit, guesser: str, name: str, sentence: str) -> None:
    """Count an attempt of a guesser at a name, until forgiven; Refused (429) after too many."""
    if pause := visit.service.login_attempts.begin(guesser, name):
        raise Refused(429, N_("Too many attempts"), sentence, math.ceil(pause))


def count_wrong_link(visit: Visit) -> None:
    """Count a link that isn't valid at the visit's address; Refused (429) after too many.

    A valid link always opens: nobody is locked out of it by whoever shares the address, or made its browser try links.
    """
    sentence = N_("Too many links that aren't valid came from this address: try again later. A valid link still opens.")
    begin_attempt(visit, visit.address, _GUESSED, sentence)


# Not frozen: a context manager that an exception passes, such as a transaction, sets its traceback.
@dataclass(eq=False, slots=True)
class Refused(Exception):
    """The request is refused: HTTP status, a heading, and a sentence with what to do."""

    status: int
    heading: str
    sentence: str
    retry_after: int | None = None


class Elsewhere(Exception):
    """Another page comes first, whose path it has: to sign in, or to add a second factor."""


def not_found() -> Refused:
    """Make the refusal (404) of an id that is unknown or another organization's alike."""
    return Refused(404, N_("Nothing is here"), N_("There is no such page, or it isn't yours to see."))
