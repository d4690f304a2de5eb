"""The signed-in user's own account: password, sessions, signing out everywhere."""

from __future__ import annotations

import math
from functools import partial

import anyio.to_thread
from starlette.background import BackgroundTask
from starlette.responses import Response

from reelport.errors import UsageError
from reelport.server.access import sessions
from reelport.server.access.grants import Password
from reelport.server.studio import guard, pages
from reelport.server.studio.visit import Refused, Visit, not_found

PATH = f"{pages.ROOT}/account"
_DONE = {
    "password": "The password is changed. Other browsers and programs that used the old one are signed out.",
    "role": "Your role is changed.",
    "session": "That browser is signed out.",
}
"""What is said after a change, by the word in the page's address."""
_WRONG = "The current password is wrong."
_DIFFERENT = "The two new passwords differ."


async def show_account(visit: Visit) -> Response:
    """Show the user's role and sessions, and the form for another password."""
    return await _show(visit, done=_DONE.get(visit.request.query_params.get("done", ""), ""))


async def change_password(visit: Visit) -> Response:
    """Change the user's password; this session goes on, every other login ends."""
    service, form = visit.service, visit.form
    if form.raw("new") != form.raw("again"):
        return await _show(visit, problems=[_DIFFERENT])
    if pause := service.login_attempts.begin(visit.address, visit.user.email):
        sentence = "Too many wrong passwords came from this address: try again later."
        raise Refused(429, "Too many attempts", sentence, math.ceil(pause))
    given = form.raw("current"), form.raw("new")
    work = partial(sessions.change_own_password, service.db, visit.user, *given, visit.actor, visit.now)
    try:
        is_right = await anyio.to_thread.run_sync(work, limiter=service.password_checks)
    except UsageError as error:
        service.login_attempts.forgive(visit.address, visit.user.email)
        return await _show(visit, problems=str(error).splitlines())
    if not is_right:
        response = await _show(visit, problems=[_WRONG])
        wrong = Password(visit.user.email, "")
        response.background = BackgroundTask(sessions.record_failure, service.db, wrong, visit.browser, visit.now)
        return response
    service.login_attempts.forgive(visit.address, visit.user.email)
    return pages.redirect(f"{PATH}?done=password")


async def end_session(visit: Visit) -> Response:
    """End one of the user's sessions."""
    service, wanted = visit.service, visit.request.path_params["session"]
    own = await anyio.to_thread.run_sync(sessions.list_sessions, service.db, visit.user.user_id, visit.now)
    found = next((each for each in own if each.id == wanted), None)
    if found is None:
        raise not_found()
    await anyio.to_thread.run_sync(sessions.end_session, service.db, found, visit.actor, visit.now)
    if found.id == visit.user.id:
        return leave(visit)
    return pages.redirect(f"{PATH}?done=session")


async def sign_out_everywhere(visit: Visit) -> Response:
    """End every session of the user, this one too, and every token of public keys."""
    await anyio.to_thread.run_sync(sessions.sign_out_everywhere, visit.service.db, visit.user, visit.actor, visit.now)
    return leave(visit)


def leave(visit: Visit) -> Response:
    """Show the sign-in to a user whose session ended, and make the browser forget it."""
    response = pages.redirect(f"{pages.ROOT}/sign-in")
    guard.delete_session_token(response, visit.request, visit.service.settings)
    return response


async def _show(visit: Visit, *, problems: list[str] | None = None, done: str = "") -> Response:
    found = await anyio.to_thread.run_sync(sessions.list_sessions, visit.service.db, visit.user.user_id, visit.now)
    status = 400 if problems else 200
    return pages.render(visit, "account.html", status, sessions=found, problems=problems or [], done=done)
