"""The people of an organization, `/studio/people`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from starlette.responses import Response

from reelport.errors import UsageError
from reelport.language import N_, _
from reelport.server.access import people, second_factors
from reelport.server.access.password_links import NewPasswordLink
from reelport.server.access.people import AddressTaken, NoOwner, NoPerson
from reelport.server.access.roles import OF_ORGANIZATION, Role
from reelport.server.studio import account, keys, pages
from reelport.server.studio.pages import write_page
from reelport.server.studio.visit import Refused, Visit, begin_attempt, not_found

PATH = f"{pages.ROOT}/people"
T = TypeVar("T")
# What is said after a change, by the word in the page's address.
_DONE = {
    "role": N_("The role is changed, in every browser in which that person is signed in."),
    "factors": N_("That person signs in by the password alone, until another second factor is added."),
    "channels": N_("That person sees those channels from now on, in every browser."),
    "removed": N_("That person is removed, and signed out everywhere."),
}


def show_people(
    visit: Visit,
    problems: Sequence[str] = (),
    email: str = "",
    role: str = Role.ANALYST,
    link: NewPasswordLink | None = None,
) -> Response:
    """List the people, with a form to add one, and a new link for a password."""
    done = "" if problems else _(_DONE.get(visit.request.query_params.get("done", ""), ""))
    found = people.list_people(visit.service.db, visit.organization_id, visit.now)
    given = {"problems": problems, "done": done, "email": email, "role": role, "link": link}
    return pages.render(visit, "people.html", 400 if problems else 200, people=found, roles=OF_ORGANIZATION, **given)


def add_person(visit: Visit) -> Awaitable[Response]:
    """Add a person, and show once the link that sets the first password."""
    email, role = visit.form.text("email"), visit.form.text("role")
    # Not an address of the network: whoever owns an organization may try few addresses, wherever from.
    guesser = f"organization {visit.organization_id}"
    begin_attempt(visit, guesser, "", N_("Too many addresses that can't be added were tried: try again later."))
    service = visit.service
    try:
        link = _change(visit, people.add_person, service.service_secret, visit.user, email, role)
    except AddressTaken as error:
        return _show_later(visit, [str(error)], email, role)
    except UsageError as error:
        service.login_attempts.forgive(guesser, "")
        return _show_later(visit, str(error).splitlines(), email, role)
    service.login_attempts.forgive(guesser, "")
    return _show_later(visit, link=link)


def make_password_link(visit: Visit) -> Awaitable[Response]:
    """Make a link for somebody who forgot the password, and show it once."""
    link = _change(visit, people.make_password_link, visit.service.service_secret, visit.user, visit.named("user"))
    return _show_later(visit, link=link)


def _show_later(visit: Visit, *given: Any, **more: Any) -> Awaitable[Response]:  # noqa: ANN401 - as `show_people`
    return write_page(visit, visit.organization_id, partial(show_people, visit, *given, **more))


def change_role(visit: Visit) -> Response:
    """Give a person another role."""
    _change(visit, people.change_role, visit.user, visit.named("user"), visit.form.text("role"))
    # Whoever is no owner any more can't see the people.
    return pages.redirect(f"{account.PATH}?done=role" if _is_self(visit) else f"{PATH}?done=role")


def show_channels(visit: Visit) -> Response:
    """Show which channels a person may see, with a form to change that."""
    known = people.list_people(visit.service.db, visit.organization_id, visit.now)
    person = next((each for each in known if each.id == visit.named("user")), None)
    if person is None:
        raise not_found()
    _, channels = keys.read_choices(visit.service.settings, visit.service.db, visit.organization)
    return pages.render(visit, "person_channels.html", person=person, channels=channels)


def limit_channels(visit: Visit) -> Response:
    """Let a person see all channels, or the chosen ones alone."""
    channels = None if visit.form.text("which") == "all" else visit.form.getlist("channel")
    _change(visit, people.limit_channels, visit.user, visit.named("user"), channels)
    return pages.redirect(f"{PATH}?done=channels")


def reset_factors(visit: Visit) -> Response:
    """Remove the second factors of somebody who lost them."""
    _change(visit, second_factors.reset_factors, visit.user, visit.named("user"))
    return pages.redirect(f"{PATH}?done=factors")


def remove_person(visit: Visit) -> Response:
    """Remove a person, with every login."""
    _change(visit, people.remove_person, visit.user, visit.named("user"))
    return account.leave(visit) if _is_self(visit) else pages.redirect(f"{PATH}?done=removed")


def _change(visit: Visit, change: Callable[..., T], *given: object) -> T:
    try:
        return change(visit.service.db, *given, visit.actor, visit.now)
    except NoOwner as error:
        raise Refused(403, N_("Not yours to do"), str(error)) from None
    except NoPerson:
        raise not_found() from None


def _is_self(visit: Visit) -> bool:
    return visit.named("user") == visit.user.user_id
