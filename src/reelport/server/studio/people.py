"""The people of an organization, for its owners: `/studio/people`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio.to_thread
from starlette.responses import Response

from reelport.errors import UsageError
from reelport.language import N_, _
from reelport.server.access import people, second_factors
from reelport.server.access.people import AddressTaken, NewPasswordLink, NoOwner, Person
from reelport.server.access.roles import OF_ORGANIZATION, Role
from reelport.server.studio import account, keys, pages
from reelport.server.studio.pages import write_page
from reelport.server.studio.visit import Refused, Visit, begin_attempt, forgive_attempt, not_found

PATH = f"{pages.ROOT}/people"
T = TypeVar("T")
# What is said after a change, by the word in the page's address.
_DONE = {
    "role": N_("The role is changed, in every browser in which that person is signed in."),
    "factors": N_("That person signs in by the password alone, until another second factor is added."),
    "channels": N_("That person sees those channels from now on, in every browser."),
    "removed": N_("That person is removed, and signed out everywhere."),
}


async def show_people(
    visit: Visit, problems: Sequence[str] = (), email: str = "", role: str = Role.ANALYST
) -> Response:
    """List the people, with a form to add one."""
    done = "" if problems else _(_DONE.get(visit.request.query_params.get("done", ""), ""))
    given = {"problems": problems, "done": done, "email": email, "role": role}
    found = await _list(visit)
    write = partial(pages.render, visit, "people.html", 400 if problems else 200, people=found, roles=OF_ORGANIZATION)
    return await write_page(visit, visit.organization_id, partial(write, **given))


async def add_person(visit: Visit) -> Response:
    """Add a person, and show once the link that sets the first password."""
    email, role = visit.form.text("email"), visit.form.text("role")
    # Not an address of the network: whoever owns an organization may try few addresses, wherever from.
    guesser = f"organization {visit.organization_id}"
    await begin_attempt(visit, guesser, "", N_("Too many addresses that can't be added were tried: try again later."))
    service = visit.service
    work = partial(people.add_person, service.db, service.service_secret, visit.user, email, role)
    try:
        link = await _change(visit, work)
    except AddressTaken as error:
        return await show_people(visit, [str(error)], email, role)
    except UsageError as error:
        await forgive_attempt(visit, guesser, "")
        return await show_people(visit, str(error).splitlines(), email, role)
    await forgive_attempt(visit, guesser, "")
    return _show_link(visit, link)


async def make_password_link(visit: Visit) -> Response:
    """Make a link for somebody who forgot the password, and show it once."""
    service = visit.service
    work = partial(people.make_password_link, service.db, service.service_secret, visit.user, visit.named("user"))
    try:
        link = await _change(visit, work)
    except UsageError as error:
        return await show_people(visit, str(error).splitlines())
    if link is None:
        raise not_found()
    return _show_link(visit, link)


async def change_role(visit: Visit) -> Response:
    """Give a person another role."""
    service, role = visit.service, visit.form.text("role")
    try:
        is_known = await _change(visit, partial(people.change_role, service.db, visit.user, visit.named("user"), role))
    except UsageError as error:
        return await show_people(visit, str(error).splitlines())
    if not is_known:
        raise not_found()
    # Whoever is no owner any more can't see the people.
    return pages.redirect(f"{account.PATH}?done=role" if _is_self(visit) else f"{PATH}?done=role")


async def show_channels(visit: Visit, problems: Sequence[str] = ()) -> Response:
    """Show which channels a person may see, with a form to change that."""
    person = await _find_person(visit)
    given = visit.service.settings, visit.service.db, visit.organization
    _, channels = await anyio.to_thread.run_sync(keys.read_choices, *given)
    status = 400 if problems else 200
    return pages.render(visit, "person_channels.html", status, person=person, channels=channels, problems=problems)


async def limit_channels(visit: Visit) -> Response:
    """Let a person see all channels, or the chosen ones alone."""
    channels = None if visit.form.text("which") == "all" else visit.form.texts("channel")
    try:
        work = partial(people.limit_channels, visit.service.db, visit.user, visit.named("user"), channels)
        is_known = await _change(visit, work)
    except UsageError as error:
        return await show_channels(visit, str(error).splitlines())
    if not is_known:
        raise not_found()
    return pages.redirect(f"{PATH}?done=channels")


async def reset_factors(visit: Visit) -> Response:
    """Remove the second factors of somebody who lost them."""
    work = partial(second_factors.reset_factors, visit.service.db, visit.user, visit.named("user"))
    try:
        is_known = await _change(visit, work)
    except UsageError as error:
        return await show_people(visit, [_(str(error))])
    if not is_known:
        raise not_found()
    return pages.redirect(f"{PATH}?done=factors")


async def confirm_removal(visit: Visit) -> Response:
    """Ask whether a person is to be removed."""
    return pages.render(visit, "person_removal.html", person=await _find_person(visit), problems=[])


async def remove_person(visit: Visit) -> Response:
    """Remove a person, with every login."""
    try:
        work = partial(people.remove_person, visit.service.db, visit.user, visit.named("user"))
        is_known = await _change(visit, work)
    except UsageError as error:
        person = await _find_person(visit)
        return pages.render(visit, "person_removal.html", 409, person=person, problems=str(error).splitlines())
    if not is_known:
        raise not_found()
    return account.leave(visit) if _is_self(visit) else pages.redirect(f"{PATH}?done=removed")


async def _change(visit: Visit, work: Callable[..., T]) -> T:
    """Make a change; refused when the visitor was made no owner in the meantime."""
    try:
        return await anyio.to_thread.run_sync(work, visit.actor, visit.now)
    except NoOwner as error:
        raise Refused(403, N_("Not yours to do"), str(error)) from None


def _is_self(visit: Visit) -> bool:
    return visit.named("user") == visit.user.user_id


async def _find_person(visit: Visit) -> Person:
    found = next((each for each in await _list(visit) if each.id == visit.named("user")), None)
    if found is None:
        raise not_found()
    return found


async def _list(visit: Visit) -> tuple[Person, ...]:
    return await anyio.to_thread.run_sync(people.list_people, visit.service.db, visit.organization_id, visit.now)


def _show_link(visit: Visit, link: NewPasswordLink) -> Response:
    address = f"{visit.origin}{account.PASSWORD_PATH}/{link.token}"
    return pages.render(visit, "password_link.html", link=link, address=address)
