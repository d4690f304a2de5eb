"""Signs in and out, sets passwords by links, and shows the own account.

Opening a link for a password changes nothing, as programs that check mail open every link; sending its form uses it up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import anyio.to_thread
from starlette.background import BackgroundTask
from starlette.responses import Response

from reelport.errors import UsageError
from reelport.server.access import people, sessions
from reelport.server.access.grants import Password
from reelport.server.access.people import PasswordLink
from reelport.server.studio import guard, pages
from reelport.server.studio.visit import Refused, Visit, begin_attempt, count_wrong_link, not_found
from reelport.storage.s3_address import is_loopback

_TOO_MANY = "Too many wrong passwords came from this address: try again later."
_OUR_PATH = re.compile(r"/studio(/[A-Za-z0-9._~/-]*)?(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")


async def show_start(visit: Visit) -> Response:
    """Send a signed-in user to the first page, anybody else to the sign-in."""
    return pages.redirect(f"{pages.ROOT}/sign-in" if visit.session is None else pages.find_first_page(visit))


async def show_sign_in(visit: Visit) -> Response:
    """Show the form for e-mail address and password."""
    if visit.session is not None:
        return pages.redirect(_find_target(visit.request.query_params.get("next", "")))
    return _show_sign_in(visit, visit.request.query_params.get("next", ""))


async def sign_in(visit: Visit) -> Response:
    """Begin a session; an earlier one of this browser ends."""
    service, next_path = visit.service, visit.form.text("next")
    password = Password(visit.form.text("email"), visit.form.raw("password"))
    begin_attempt(visit, visit.address, password.stored_email, _TOO_MANY)
    life = guard.UNUSED_SESSION_LIFE
    work = partial(sessions.begin_session, service.db, service.service_secret, password, visit.browser, visit.now, life)
    session = await anyio.to_thread.run_sync(work, limiter=service.password_checks)
    if session is None:
        response = _show_sign_in(visit, next_path, 403, email=password.email, wrong=True)
        response.background = BackgroundTask(sessions.record_failure, service.db, password, visit.browser, visit.now)
        return response
    service.login_attempts.forgive(visit.address, password.stored_email)
    if visit.session is not None:
        await anyio.to_thread.run_sync(sessions.end_session, service.db, visit.session, visit.actor, visit.now)
    response = pages.redirect(_find_target(next_path))
    guard.set_session_token(visit, response, session.token, life)
    return response


async def sign_out(visit: Visit) -> Response:
    """End this session."""
    await anyio.to_thread.run_sync(sessions.end_session, visit.service.db, visit.user, visit.actor, visit.now)
    return leave(visit)


def _show_sign_in(visit: Visit, next_path: str, status: int = 200, *, email: str = "", wrong: bool = False) -> Response:
    is_open = not guard.is_secure(visit.request, visit.service.settings) and not is_loopback(str(visit.request.url))
    return pages.render(
        visit, "sign_in.html", status, next_path=next_path, email=email, wrong=wrong, without_tls=is_open
    )


def _find_target(path: str) -> str:
    """Return a path of Studio unchanged; for any other path, and for none, the first page."""
    is_ours = path != pages.ROOT and _OUR_PATH.fullmatch(path) and "//" not in path
    # A browser follows `..` out of Studio.
    return path if is_ours and ".." not in path.partition("?")[0].split("/") else pages.ROOT


PASSWORD_PATH = f"{pages.ROOT}/password"


async def show_password_form(visit: Visit) -> Response:
    """Show whose password the link sets, and the form for it."""
    return _show_password(visit, await _find_link(visit), [])


async def set_password(visit: Visit) -> Response:
    """Set the password, which uses up the link and ends every login of the user."""
    link, service = await _find_link(visit), visit.service
    if visit.form.raw("new") != visit.form.raw("again"):
        return _show_password(visit, link, ["The two passwords differ."])
    given = visit.named("token"), visit.form.raw("new")
    work = partial(people.set_password, service.db, service.service_secret, *given, visit.address, visit.now)
    try:
        used = await anyio.to_thread.run_sync(work, limiter=service.password_checks)
    except UsageError as error:
        return _show_password(visit, link, str(error).splitlines())
    if used is None:
        raise _refuse_link()
    return _hide_address(pages.render(visit, "password_set.html", link=used))


async def _find_link(visit: Visit) -> PasswordLink:
    service = visit.service
    link = await service.reads.run(people.find_link, service.service_secret, visit.named("token"), visit.now)
    if link is None:
        count_wrong_link(visit)
        raise _refuse_link()
    return link


def _refuse_link() -> Refused:
    sentence = (
        "It may have been used, replaced by a newer one, or be older than three days. Ask an owner of your "
        "organization for another one."
    )
    return Refused(404, "This link is not valid", sentence)


def _show_password(visit: Visit, link: PasswordLink, problems: list[str]) -> Response:
    status = 400 if problems else 200
    path = f"{PASSWORD_PATH}/{visit.named('token')}"
    return _hide_address(pages.render(visit, "password.html", status, link=link, address=path, problems=problems))


def _hide_address(response: Response) -> Response:
    """Keep the link out of the Referer of every request that the page makes."""
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


PATH = f"{pages.ROOT}/account"
# What is said after a change, by the word in the page's address.
_DONE = {
    "password": "The password is changed. Other browsers and programs that used the old one are signed out.",
    "role": "Your role is changed.",
    "session": "That browser is signed out.",
}


async def show_account(visit: Visit, problems: Sequence[str] = ()) -> Response:
    """Show the user's role and sessions, and the form for another password."""
    found = await anyio.to_thread.run_sync(sessions.list_sessions, visit.service.db, visit.user.user_id, visit.now)
    done = "" if problems else _DONE.get(visit.request.query_params.get("done", ""), "")
    status = 400 if problems else 200
    return pages.render(visit, "account.html", status, sessions=found, problems=problems, done=done)


async def change_password(visit: Visit) -> Response:
    """Change the user's password; this session goes on, every other login ends."""
    service, form = visit.service, visit.form
    if form.raw("new") != form.raw("again"):
        return await show_account(visit, ["The two new passwords differ."])
    begin_attempt(visit, visit.address, visit.user.email, _TOO_MANY)
    given = form.raw("current"), form.raw("new")
    work = partial(sessions.change_own_password, service.db, visit.user, *given, visit.actor, visit.now)
    try:
        is_right = await anyio.to_thread.run_sync(work, limiter=service.password_checks)
    except UsageError as error:
        service.login_attempts.forgive(visit.address, visit.user.email)
        return await show_account(visit, str(error).splitlines())
    if not is_right:
        response = await show_account(visit, ["The current password is wrong."])
        wrong = Password(visit.user.email, "")
        response.background = BackgroundTask(sessions.record_failure, service.db, wrong, visit.browser, visit.now)
        return response
    service.login_attempts.forgive(visit.address, visit.user.email)
    return pages.redirect(f"{PATH}?done=password")


async def end_session(visit: Visit) -> Response:
    """End one of the user's sessions."""
    service, wanted = visit.service, visit.named("session")
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
    guard.set_session_token(visit, response, "", timedelta())
    return response
