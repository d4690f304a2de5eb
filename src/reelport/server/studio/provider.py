"""Signs people in by the OpenID Connect provider, and out of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar
from urllib.parse import quote, unquote

import anyio.to_thread
import structlog
from starlette.responses import Response

from reelport.language import N_
from reelport.server.access import oidc
from reelport.server.access.oidc import NoAccess, Provider, ProviderFailed
from reelport.server.access.sessions import Halfway
from reelport.server.studio import account, guard, pages
from reelport.server.studio.guard import Cookie
from reelport.server.studio.visit import Refused, Visit, begin_attempt, forgive_attempt, not_found

PATH = f"{pages.ROOT}/oidc"
_CALLBACK = f"{PATH}/callback"
_LONGEST_NEXT = 3000
"""Characters of the page to show after the sign-in, which a cookie keeps: browsers take cookies of 4,096."""
_COUNTED_AS = "provider"  # stands for a user's address where attempts are counted: no address looks like it
_AWAY = 503
_TOO_MANY = N_("Too many sign-ins by the provider failed at this address: try again later.")
_LOG = structlog.get_logger(__name__)
T = TypeVar("T")


async def begin_sign_in(visit: Visit) -> Response:
    """Send the browser to the provider; a cookie ties the answer to this browser."""
    token = oidc.sign_begun(visit.service.service_secret, visit.now)
    following = quote(account.find_target(visit.request.query_params.get("next", "")), safe="")
    response = pages.redirect(await _ask(visit, _find_provider(visit).begin, token, f"{visit.origin}{_CALLBACK}"))
    kept = f"{token}.{following if len(following) <= _LONGEST_NEXT else ''}"
    guard.set_cookie(visit, response, Cookie.BEGUN, kept, oidc.LIFE)
    return response


async def finish_sign_in(visit: Visit) -> Response:
    """Begin the session of whom the provider signed in.

    A refusal, too, uses up what the browser kept.
    """
    provider, query = _find_provider(visit), visit.request.query_params
    token, _, following = guard.read_cookie(visit.request, visit.service, Cookie.BEGUN).partition(".")
    if not provider.is_own(token, query.get("state", ""), visit.now):
        sentence = N_("It did not begin in this browser, or more than ten minutes ago: begin again.")
        raise Refused(400, N_("This sign-in is not valid"), sentence)
    try:
        response = await _enter(visit, provider, token, unquote(following))
    except Refused as refused:
        response = guard.show_refusal(visit, refused)
    guard.set_cookie(visit, response, Cookie.BEGUN, "", timedelta())
    return response


async def _enter(visit: Visit, provider: Provider, token: str, following: str) -> Response:
    service = visit.service
    await begin_attempt(visit, visit.address, _COUNTED_AS, _TOO_MANY)
    answer = dict(visit.request.query_params)
    try:
        identity = await _ask(visit, provider.finish, token, answer, f"{visit.origin}{_CALLBACK}")
    except Refused as refused:
        if refused.status == _AWAY:
            await forgive_attempt(visit, visit.address, _COUNTED_AS)
        raise
    await forgive_attempt(visit, visit.address, _COUNTED_AS)
    given = service.db, service.service_secret, provider, identity, visit.browser, visit.now
    try:
        session = await anyio.to_thread.run_sync(partial(oidc.begin_session, *given, guard.UNUSED_SESSION_LIFE))
    except NoAccess as error:
        _LOG.warning("the provider's groups give no access", user=identity.email, groups=sorted(identity.groups)[:50])
        raise Refused(403, N_("No access"), str(error)) from None
    if session is None:
        raise Refused(409, N_("That has just changed"), N_("Sign in again."))
    if isinstance(session, Halfway):
        return account.ask_for_factor(visit, session, following)
    return await account.enter(visit, session, following)


async def sign_out_there(visit: Visit) -> Response:
    """Send the browser to where the provider ends its own session."""
    back = f"{visit.origin}{pages.ROOT}/sign-in"
    return pages.redirect(await _ask(visit, _find_provider(visit).find_end, back))


def _find_provider(visit: Visit) -> Provider:
    if visit.service.provider is None:
        raise not_found()
    return visit.service.provider


async def _ask(visit: Visit, work: Callable[..., T], *given: object) -> T:
    try:
        return await anyio.to_thread.run_sync(partial(work, *given), limiter=_find_provider(visit).calls)
    except ProviderFailed as error:
        _LOG.warning("a sign-in by the provider failed", reason=str(error))
        if error.is_away:
            sentence = N_("The provider that signs you in doesn't answer: try again in a moment.")
            raise Refused(_AWAY, N_("The provider is away"), sentence, retry_after=30) from error
        sentence = N_("The provider did not sign you in: try again. If it fails again, the service's log says why.")
        raise Refused(403, N_("Not signed in"), sentence) from error
