"""Stands before every endpoint of Studio: finds the session, checks right and form."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import partial
from inspect import iscoroutinefunction
from urllib.parse import quote

import anyio.to_thread
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from reelport.errors import StorageError, UsageError
from reelport.language import N_, _, write_in
from reelport.server.access import sessions
from reelport.server.access.roles import Role
from reelport.server.access.sessions import Session
from reelport.server.http.service import Service, run_while_connected
from reelport.server.settings import Settings
from reelport.server.studio import pages
from reelport.server.studio.languages import choose_language
from reelport.server.studio.rights import Right
from reelport.server.studio.visit import Elsewhere, Refused, Visit, not_found, read_form

Endpoint = Callable[[Visit], Response | Awaitable[Response]]
"""Answers a visit. A plain function may wait for the state's disk: it runs in a thread.

An async one computes for as long as its browser waits: then it is cancelled. A form's may leave a large page to be
written: it returns what `write_page` does.
"""
_LOG = structlog.get_logger(__name__)
_NOT_FOUND = 404
# Values of Sec-Fetch-Site for what a page of another origin made the browser ask for.
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})
_UNAVAILABLE = Refused(
    503, N_("Not now"), N_("The service can't read or write its state now: try again."), retry_after=5
)
_FAILED = Refused(500, N_("That failed"), N_("The service failed; it isn't your fault. Its log says why."))


class Pool(Enum):
    """The threads of which one runs a plain endpoint."""

    ANY = auto()
    PAGES = auto()  # at its organization's turn: it may write hundreds of rows; those of a form once that is done
    LOGINS = auto()  # a few: a password's hash takes memory and a core
    PROVIDER = auto()  # a few: the provider that signs people in may be slow


def guard(
    endpoint: Endpoint, right: Right, pool: Pool = Pool.ANY, *, is_embedded: bool = False
) -> Callable[[Request], Awaitable[Response]]:
    """Wrap an endpoint: only visitors with this right, and forms of our own pages, reach it.

    What `is_embedded` stands within pages of other sites: whoever looks at it isn't signed in, and gets no cookie.
    """

    async def answer(request: Request) -> Response:
        service: Service = request.app.state.service
        visit = make_visit(request, service, None)
        try:
            if not is_embedded:
                _check_purpose(request)
                visit = await _find_visitor(request, service)
            _check_right(visit, right)
            if request.method == "POST":
                form = await read_form(request)
                # Who sends half a form must not keep the rights of that moment for the other half.
                visit = replace(await _find_visitor(request, service), form=form)
                _check_right(visit, right)
                _check_form(visit)
            response = await _call(endpoint, visit, pool)
            await _renew(visit, response)
        except Elsewhere as elsewhere:
            response = pages.redirect(str(elsewhere))
        except Refused as refused:
            response = show_refusal(visit, refused)
        except StorageError as error:
            _LOG.error("the state can't be used", reason=str(error))
            response = show_refusal(visit, _UNAVAILABLE)
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001 - a defect: log it with its traceback, and answer with a page
            _LOG.exception("a page failed", path=_hide_parameters(request))
            response = show_refusal(visit, _FAILED)
        return response if is_embedded else _finish(visit, response)

    return answer


async def _call(endpoint: Endpoint, visit: Visit, pool: Pool) -> Response:
    async def answer() -> Response:
        answered: Response | Awaitable[Response]
        if iscoroutinefunction(endpoint):
            answered = endpoint(visit)
        elif pool is Pool.PAGES and visit.request.method != "POST":
            answered = await pages.write_page(visit, visit.organization_id, partial(endpoint, visit))
        else:
            service, provider = visit.service, visit.service.provider
            limiters = {Pool.LOGINS: service.password_checks, Pool.PROVIDER: provider.calls if provider else None}
            answered = await anyio.to_thread.run_sync(endpoint, visit, limiter=limiters.get(pool))
        return answered if isinstance(answered, Response) else await answered

    is_dropped = iscoroutinefunction(endpoint) or pool is Pool.PAGES  # when its browser goes away
    try:
        return await (run_while_connected(visit.request, answer) if is_dropped else answer())
    except UsageError as error:
        if visit.request.method != "POST":  # there is no form that could be wrong
            raise
        raise Refused(422, N_("That can't be done"), str(error)) from None


async def refuse_unrouted(request: Request, status: int) -> Response:
    """Answer a path that no page has (404), or a method that a page doesn't take (405)."""
    service: Service = request.app.state.service
    try:
        visit = await _find_visitor(request, service)
    except StorageError:
        visit = make_visit(request, service, None)
    wrong_method = Refused(
        status, N_("Not in this way"), N_("This address isn't a page to open: begin at the first page.")
    )
    return _finish(visit, show_refusal(visit, not_found() if status == _NOT_FOUND else wrong_method))


def _hide_parameters(request: Request) -> str:
    """Return the path without the ids and tokens in it: a token is as good as a password."""
    parameters = {str(value) for value in request.path_params.values()}
    return "/".join("…" if part in parameters else part for part in request.url.path.split("/"))


async def _find_visitor(request: Request, service: Service) -> Visit:
    token, secret = read_cookie(request, service, Cookie.SESSION), service.service_secret
    find = sessions.find_session
    session = await service.read(find, secret, token, datetime.now(UTC)) if token else None
    return make_visit(request, service, session)


def make_visit(request: Request, service: Service, session: Session | None) -> Visit:
    """Make the visit of a session, to whose token the forms of its answer are tied."""
    token = session.token if session else read_cookie(request, service, Cookie.FORM)
    # Without a cookie the token is new: no form that a browser was shown has it.
    request.state.form_token = token or secrets.token_urlsafe(24)
    csrf = service.service_secret.hash("form", request.state.form_token)
    write_in(choose_language(session.language if session else None, request.headers.get("accept-language", "")))
    return Visit(request, service, session, csrf, datetime.now(UTC))


def _check_right(visit: Visit, right: Right) -> None:
    if visit.may(right):
        return
    if visit.session is None:
        request, url = visit.request, visit.request.url
        shown = f"{url.path}?{url.query}" if url.query else url.path
        following = _find_form_page(request) if request.method == "POST" else shown
        raise Elsewhere(f"{pages.ROOT}/sign-in?next={quote(following)}")
    if visit.lacks_factor:
        raise Elsewhere(f"{pages.ROOT}/account/authenticator")
    raise Refused(403, N_("Not yours to do"), _describe_lack(visit.session, right))


def _find_form_page(request: Request) -> str:
    """Return the page that a form was on, with its parameters; nothing where no browser says."""
    host, _, rest = request.headers.get("referer", "").partition("://")[2].partition("/")
    # Two slashes, or a backslash, would lead to another host.
    return "/" + rest.lstrip("/\\") if host == request.url.netloc else ""


def _describe_lack(session: Session, right: Right) -> str:
    if session.look is not None:
        return N_("You look as an operator: nothing can be changed, asked for or downloaded. End the look first.")
    if right is Right.LOOK and session.role is Role.OPERATOR:
        return N_("This is for operators with the right to look: `reelport user may-look` gives it.")
    if right is Right.READ_PLATFORM and session.role is Role.OPERATOR:
        return N_("This is for operators with the right to it: `reelport user may-see-platform` gives it.")
    if right in {Right.OPERATE, Right.LOOK, Right.READ_PLATFORM}:
        return N_("This is for the operators of the platform alone.")
    if session.role is Role.OPERATOR:
        return N_("This is for the people of an organization: operators see no partner's numbers.")
    return N_("Your role doesn't allow this: ask an owner of your organization.")


def _check_purpose(request: Request) -> None:
    """Refuse what a page of another site loads within itself: an image, a frame, a request.

    Such a page could else open links and have views computed in its visitors' names. Only a browser sends these
    headers, and not to an address without TLS that isn't the loopback.
    """
    opens = request.headers.get("sec-fetch-mode") == "navigate" and request.headers.get("sec-fetch-dest") == "document"
    if _is_foreign(request) and request.method != "POST" and not opens:
        sentence = N_("A page of another site can't show this within itself: open the address in a tab of its own.")
        raise Refused(403, N_("Not within another page"), sentence)


def _is_foreign(request: Request) -> bool:
    return request.headers.get("sec-fetch-site", "") in _FOREIGN_SITES


def _check_form(visit: Visit) -> None:
    """Refuse a form that another site's page sent, or one of an earlier session."""
    given = visit.form.get("csrf", "").encode("utf-8", "replace")
    if _is_foreign(visit.request) or not hmac.compare_digest(visit.csrf.encode(), given):
        raise Refused(403, N_("This form is too old"), N_("Go back, load the page anew, and send the form again."))


def show_refusal(visit: Visit, refused: Refused) -> Response:
    """Show why a visit is refused."""
    said = {"heading": _(refused.heading), "sentences": _(refused.sentence).splitlines()}
    back = _find_form_page(visit.request) if visit.request.method == "POST" else ""
    response = pages.render(visit, "refused.html", refused.status, back=back, **said)
    if refused.retry_after is not None:
        response.headers["Retry-After"] = str(refused.retry_after)
    return response


async def _renew(visit: Visit, response: Response) -> None:
    session, service = visit.session, visit.service
    if session is None or not sessions.is_renewal_due(session, visit.now) or "set-cookie" in response.headers:
        return
    try:
        await anyio.to_thread.run_sync(sessions.renew_session, service.db, session, visit.browser, visit.now)
    except StorageError as error:
        # The answer may hold the only copy of a secret, and the session lives on without.
        _LOG.warning("a session could not be renewed", reason=str(error))
        return
    set_cookie(visit, response, Cookie.SESSION, session.token, sessions.UNUSED_LIFE)


def _finish(visit: Visit, response: Response) -> Response:
    """Give a browser without a session the token that ties its forms to it."""
    is_page = response.media_type == "text/html"
    if visit.session is None and is_page and not read_cookie(visit.request, visit.service, Cookie.FORM):
        set_cookie(visit, response, Cookie.FORM, visit.request.state.form_token, None)
    return response


class Cookie(Enum):
    """What a browser keeps for Studio."""

    SESSION = "reelport-session"
    FORM = "reelport-form"
    HALFWAY = "reelport-halfway"  # what the first factor gave
    BEGUN = "reelport-oidc"  # a sign-in that began at the provider


_HOST_PREFIX = "__Host-"  # browsers take a cookie of such a name over TLS alone, for the whole host and no other


def is_secure(request: Request, settings: Settings) -> bool:
    """Whether the browser came by TLS, to a proxy or to us."""
    return request.url.scheme == "https" or settings.public_url.startswith("https:")


def set_cookie(visit: Visit, response: Response, cookie: Cookie, value: str, life: timedelta | None) -> None:
    """Let the browser keep a value for so long. None: until it is closed."""
    is_kept_to_tls = is_secure(visit.request, visit.service.settings)
    name = f"{_HOST_PREFIX}{cookie.value}" if is_kept_to_tls else cookie.value
    seconds = None if life is None else int(life.total_seconds())
    response.set_cookie(name, value, seconds, path="/", secure=is_kept_to_tls, httponly=True, samesite="lax")


def read_cookie(request: Request, service: Service, cookie: Cookie) -> str:
    """Return what the browser keeps; empty without."""
    prefix = _HOST_PREFIX if is_secure(request, service.settings) else ""
    return request.cookies.get(f"{prefix}{cookie.value}", "")
