"""Sign in and out: `/studio/sign-in`, `/studio/sign-out`, and where `/studio` leads."""

from __future__ import annotations

import math
import re
from functools import partial

import anyio.to_thread
from starlette.background import BackgroundTask
from starlette.responses import Response

from reelport.server.access import sessions
from reelport.server.access.grants import Password
from reelport.server.studio import guard, pages
from reelport.server.studio.visit import Refused, Visit

_OUR_PATH = re.compile(r"/studio(/[A-Za-z0-9._~/-]*)?(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


async def show_start(visit: Visit) -> Response:
    """Send a signed-in user to the first page, anybody else to the sign-in."""
    return pages.redirect(f"{pages.ROOT}/sign-in" if visit.session is None else pages.find_first_page(visit))


async def show_sign_in(visit: Visit) -> Response:
    """Show the form for e-mail address and password."""
    if visit.session is not None:
        return pages.redirect(_find_target(visit.request.query_params.get("next", "")))
    return _show_form(visit, visit.request.query_params.get("next", ""))


async def sign_in(visit: Visit) -> Response:
    """Begin a session; an earlier one of this browser ends."""
    service, next_path = visit.service, visit.form.text("next")
    password = Password(visit.form.text("email"), visit.form.raw("password"))
    if pause := service.login_attempts.begin(visit.address, password.stored_email):
        sentence = "Too many wrong passwords came from this address: try again later."
        raise Refused(429, "Too many attempts", sentence, math.ceil(pause))
    life = guard.UNUSED_SESSION_LIFE
    work = partial(sessions.begin_session, service.db, service.service_secret, password, visit.browser, visit.now, life)
    session = await anyio.to_thread.run_sync(work, limiter=service.password_checks)
    if session is None:
        response = _show_form(visit, next_path, 403, email=password.email, wrong=True)
        response.background = BackgroundTask(sessions.record_failure, service.db, password, visit.browser, visit.now)
        return response
    service.login_attempts.forgive(visit.address, password.stored_email)
    if visit.session is not None:
        await anyio.to_thread.run_sync(sessions.end_session, service.db, visit.session, visit.actor, visit.now)
    response = pages.redirect(_find_target(next_path))
    guard.set_session_token(response, visit.request, service.settings, session.token, life.total_seconds())
    return response


async def sign_out(visit: Visit) -> Response:
    """End this session."""
    service = visit.service
    await anyio.to_thread.run_sync(sessions.end_session, service.db, visit.user, visit.actor, visit.now)
    response = pages.redirect(f"{pages.ROOT}/sign-in")
    guard.delete_session_token(response, visit.request, service.settings)
    return response


def _show_form(visit: Visit, next_path: str, status: int = 200, *, email: str = "", wrong: bool = False) -> Response:
    is_open = not guard.is_secure(visit.request, visit.service.settings) and visit.request.url.hostname not in _LOOPBACK
    return pages.render(
        visit, "sign_in.html", status, next_path=next_path, email=email, wrong=wrong, without_tls=is_open
    )


def _find_target(path: str) -> str:
    """Return a path of Studio unchanged; for any other path, and for none, the first page."""
    is_ours = path != pages.ROOT and _OUR_PATH.fullmatch(path) and "//" not in path
    # A browser follows `..` out of Studio.
    return path if is_ours and ".." not in path.partition("?")[0].split("/") else pages.ROOT
