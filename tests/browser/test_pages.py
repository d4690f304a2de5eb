"""Each page of Studio as people meet it: by eye, by keyboard, by screen reader, with and without a script."""

from __future__ import annotations

import pytest
from tests.browser.studio import MEMBER, NARROW, OPERATOR, OWNER, PASSWORD, WIDE, Studio, find_barriers
from tests.browser.studio import is_wider_than_window as is_too_wide

from reelport.server.access.users import Role
from reelport.server.studio.rights import RIGHTS
from reelport.server.studio.routes import ROUTES

PEOPLE = {None: None, Role.MEMBER: MEMBER, Role.OWNER: OWNER, Role.OPERATOR: OPERATOR}
PAGES = [route for route in ROUTES if route.method == "GET" and "{" not in route.path and route.path != "/studio"]


def _choose_visitor(path: str) -> str | None:
    """Who looks at a page: of those who may, the one who sees most of it."""
    right = next(route.right for route in PAGES if route.path == path)
    return next(PEOPLE[role] for role in (None, Role.OWNER, Role.OPERATOR) if right in RIGHTS[role])


@pytest.mark.parametrize("path", [route.path for route in PAGES])
def test_a_page_is_open_to_everybody_who_may_see_it(studio: Studio, path: str) -> None:
    """Light and dark, wide and narrow: axe-core finds nothing, nothing is cut off, the console stays empty."""
    page = studio.open(path, _choose_visitor(path))
    wrong = {}
    for scheme in ("light", "dark"):
        for size in (WIDE, NARROW):
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.set_viewport_size(size)
            barriers = find_barriers(page)
            if is_too_wide(page):
                barriers.append("the page is wider than the window")
            if barriers:
                wrong[f"{scheme}, {size['width']} px"] = barriers
    assert not wrong
    assert not studio.complaints


@pytest.mark.parametrize("path", [route.path for route in PAGES])
def test_a_page_is_whole_without_a_script(studio: Studio, path: str) -> None:
    """A browser that runs no script shows its heading and has nothing to complain of."""
    page = studio.open(path, _choose_visitor(path), script=False)
    assert page.get_by_role("heading", level=1).count() == 1
    assert not studio.complaints


def test_a_keyboard_is_enough_to_sign_in_and_out(studio: Studio) -> None:
    """The focus is in the first field; tab and enter do the rest, and the way out is reached by them too."""
    page = studio.open("/studio")
    page.keyboard.type(MEMBER)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "sign-in" not in url)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Sign out":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/studio/sign-in")
    assert not studio.complaints


def test_a_keyboard_skips_the_menu(studio: Studio) -> None:
    """The first stop of the tab key leads past the menu to the content."""
    page = studio.open("/studio/account", MEMBER)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_signing_in_and_out_needs_no_script(studio: Studio) -> None:
    """Forms alone do it; a wrong password is told on the page, with the address still in its field."""
    page = studio.open("/studio/account", script=False)
    studio.sign_in(page, MEMBER, "not the password")
    assert page.get_by_role("alert").inner_text().startswith("The e-mail address or the password is wrong")
    assert page.get_by_label("E-mail address").input_value() == MEMBER
    studio.sign_in(page, MEMBER)
    assert page.url.endswith("/studio/account")
    page.get_by_role("button", name="Sign out", exact=True).click()
    assert page.url.endswith("/studio/sign-in")
