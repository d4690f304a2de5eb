"""Sets passwords by links: `/studio/password/{token}`, for people who can't sign in yet.

Opening the link changes nothing, as programs that check mail open every link; sending the form uses it up.
"""

from __future__ import annotations

from functools import partial

import anyio.to_thread
from starlette.responses import Response

from reelport.errors import UsageError
from reelport.server.access import password_links
from reelport.server.access.password_links import PasswordLink
from reelport.server.studio import pages
from reelport.server.studio.visit import Refused, Visit, count_wrong_link

PATH = f"{pages.ROOT}/password"
_DIFFERENT = "The two passwords differ."


def make_address(visit: Visit, token: str) -> str:
    """Return the whole address of a link."""
    return f"{visit.origin}{PATH}/{token}"


async def show_form(visit: Visit) -> Response:
    """Show whose password the link sets, and the form for it."""
    return _show(visit, await _find_link(visit), [])


async def set_password(visit: Visit) -> Response:
    """Set the password, which uses up the link and ends every login of the user."""
    link, service = await _find_link(visit), visit.service
    if visit.form.raw("new") != visit.form.raw("again"):
        return _show(visit, link, [_DIFFERENT])
    given = _token(visit), visit.form.raw("new")
    work = partial(password_links.set_password, service.db, service.service_secret, *given, visit.address, visit.now)
    try:
        used = await anyio.to_thread.run_sync(work, limiter=service.password_checks)
    except UsageError as error:
        return _show(visit, link, str(error).splitlines())
    if used is None:
        raise _refuse_link()
    return _hide_address(pages.render(visit, "password_set.html", link=used))


async def _find_link(visit: Visit) -> PasswordLink:
    service = visit.service
    link = await service.reads.run(password_links.find_link, service.service_secret, _token(visit), visit.now)
    if link is None:
        count_wrong_link(visit)
        raise _refuse_link()
    return link


def _refuse_link() -> Refused:
    return Refused(
        404,
        "This link is not valid",
        "It may have been used, replaced by a newer one, or be older than three days. Ask an owner of your "
        "organization for another one.",
    )


def _token(visit: Visit) -> str:
    found: str = visit.request.path_params["token"]
    return found


def _show(visit: Visit, link: PasswordLink, problems: list[str]) -> Response:
    status = 400 if problems else 200
    path = f"{PATH}/{_token(visit)}"
    return _hide_address(pages.render(visit, "password.html", status, link=link, address=path, problems=problems))


def _hide_address(response: Response) -> Response:
    """Keep the link out of the Referer of every request that the page makes."""
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
