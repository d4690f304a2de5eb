"""Each page of Studio as people meet it: by eye, by keyboard, by screen reader, with and without a script."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from tests.browser.studio import MEMBER, OPERATOR, OWNER, PASSWORD, Studio, find_faults
from tests.cases import thin_out
from tests.patience import until

from reelport.server.access import operator_access
from reelport.server.access.roles import Role
from reelport.server.state.database import connected
from reelport.server.studio.rights import RIGHTS, Right
from reelport.server.studio.routes import ROUTES

PEOPLE = {None: None, Role.ANALYST: MEMBER, Role.OWNER: OWNER, Role.OPERATOR: OPERATOR}
# They lead elsewhere, or to a provider that there isn't, or answer with a file.
NO_PAGES = {"/studio", "/studio/oidc", "/studio/oidc/callback", "/studio/oidc/end", "/studio/explore/export"}
PAGES = [route for route in ROUTES if route.method == "GET" and "{" not in route.path and route.path not in NO_PAGES]


def choose_visitor(path: str) -> str | None:
    """Who looks at a page: of those who may, the one who sees most of it."""
    right = next(route.right for route in PAGES if route.path == path)
    rights = {**RIGHTS, Role.OPERATOR: RIGHTS[Role.OPERATOR] | {Right.READ_PLATFORM}}
    return next(PEOPLE[role] for role in (None, Role.OWNER, Role.OPERATOR) if right in rights[role])


def check(studio: Studio, page: Page) -> None:
    """Look at a page in light and dark, wide and narrow: nothing is wrong with it, and the browser is content."""
    assert not find_faults(page)
    assert not studio.complaints


@pytest.mark.long
@pytest.mark.parametrize("path", thin_out((route.path for route in PAGES), 6))
def test_a_page_is_open_to_everybody_who_may_see_it(studio: Studio, path: str) -> None:
    """Light and dark, wide and narrow: axe-core finds nothing, nothing is cut off, the console stays empty."""
    check(studio, studio.open(path, choose_visitor(path)))


@pytest.mark.parametrize("path", thin_out((route.path for route in PAGES), 4))
def test_a_page_is_whole_without_a_script(studio: Studio, path: str) -> None:
    """A browser that runs no script shows its heading and has nothing to complain of."""
    page = studio.open(path, choose_visitor(path), script=False)
    assert page.get_by_role("heading", level=1).count() == 1
    assert not studio.complaints


def test_a_keyboard_is_enough_to_sign_in_and_out(studio: Studio) -> None:
    """The focus is in the first field; tab and enter do the rest, and the way out is reached by them too."""
    page = studio.open("/studio")
    expect(page.get_by_label("E-mail address")).to_be_focused()  # a page is loaded a moment before its field has it
    page.keyboard.type(MEMBER)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Password")).to_be_focused()
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
    expect(page.locator("#main")).to_be_focused()


def test_signing_in_and_out_needs_no_script(studio: Studio) -> None:
    """Forms alone do it; a wrong password is told on the page, with the address still in its field."""
    page = studio.open("/studio/account", script=False)
    studio.sign_in(page, MEMBER, "not the password")
    assert page.get_by_role("alert").inner_text().startswith("The e-mail address or the password is wrong")
    assert page.get_by_label("E-mail address").input_value() == MEMBER
    studio.sign_in(page, MEMBER)
    assert page.url.endswith("/studio/account")
    studio.follow(page.get_by_role("button", name="Sign out", exact=True))
    assert page.url.endswith("/studio/sign-in")


@pytest.mark.long
def test_a_person_is_added_by_a_link_and_removed(studio: Studio) -> None:
    """Every page of the way is open to everybody; the link is copied by a button, and works in another browser."""
    page = studio.open("/studio/people", OWNER)
    page.get_by_label("E-mail address").fill("lena-with-a-rather-long-name@a-long-department.demo.example")
    studio.follow(page.get_by_role("button", name="Add", exact=True))
    link = page.locator("#once").inner_text()
    expect(page.get_by_role("button", name="Copy")).to_be_visible()
    check(studio, page)
    other = studio.open(link.removeprefix(studio.service.url))
    other.get_by_label("New password", exact=True).fill(PASSWORD)
    other.get_by_label("New password again").fill(f"{PASSWORD}?")
    studio.follow(other.get_by_role("button", name="Set the password"))
    expect(other.get_by_role("alert")).to_contain_text("The two passwords differ")
    studio.complaints.clear()  # a browser tells of every answer that refuses
    check(studio, other)
    other.get_by_label("New password", exact=True).fill(PASSWORD)
    other.get_by_label("New password again").fill(PASSWORD)
    studio.follow(other.get_by_role("button", name="Set the password"))
    check(studio, other)
    page.goto(f"{studio.service.url}/studio/people")
    page.get_by_role("button", name="Remove lena").click()
    check(studio, page)
    studio.follow(page.get_by_role("dialog").get_by_role("button", name="Remove"))
    expect(page.get_by_role("status").first).to_contain_text("That person is removed")
    check(studio, page)


@pytest.mark.long
def test_what_is_refused_is_said_on_a_page_that_everybody_can_read(studio: Studio) -> None:
    """Whoever lacks a right, and whatever isn't there; the way back is on it."""
    for email, path, status in ((MEMBER, "/studio/people", 403), (OWNER, "/studio/people/nobody/channels", 404)):
        page = studio.open(path, email, status=status)
        studio.complaints.clear()
        check(studio, page)
        studio.follow(page.get_by_role("link", name="To the first page"))
        assert page.url != f"{studio.service.url}{path}"


@pytest.mark.long
def test_an_operator_looks_at_a_partner(studio: Studio) -> None:
    """With a reason, below a banner, at the partner's own numbers; the owner reads of begin and end."""
    with connected(studio.service.settings) as db:
        operator_access.allow_looks(db, OPERATOR, allowed=True)
    page = studio.open("/studio/sign-in")
    studio.sign_in(page, OPERATOR)  # a session of its own, which no page of another test has
    studio.follow(page.get_by_role("link", name="Organizations"))
    studio.follow(page.get_by_role("link", name="demo", exact=True))
    page.get_by_label("Reason to look at its Studio").fill("ticket 4711")
    studio.follow(page.get_by_role("button", name="Look as its people do"))
    banner = page.get_by_text("You look at demo as an operator")
    expect(banner).to_be_visible()
    check(studio, page)
    owner = studio.open("/studio/overview", OWNER)
    figures = [each.locator(".figures .amount").all_inner_texts() for each in (page, owner)]
    assert figures[0]
    assert figures[0] == figures[1]
    studio.follow(page.get_by_role("button", name="End the look"))
    expect(banner).to_have_count(0)
    expect(page.get_by_role("heading", name="demo")).to_be_visible()
    owner.goto(f"{studio.service.url}/studio/audit")
    said = owner.get_by_role("row").filter(has_text=OPERATOR)
    expect(said.filter(has_text="began to look as the operator of the platform: demo")).to_contain_text("ticket 4711")
    expect(said.filter(has_text="ended a look as the operator of the platform: demo")).to_have_count(1)
    assert not studio.complaints


def test_a_page_that_is_looked_at_again_keeps_the_focus(studio: Studio) -> None:
    """The operator's page is loaded anew by itself, and whoever tabs through it isn't thrown to its begin."""
    page = studio.open("/studio/operator", OPERATOR)
    page.clock.install()
    page.reload()
    page.get_by_role("link", name="Loads").focus()
    moment = page.locator("main p.hint").first
    before = moment.inner_text()

    def is_another_page() -> bool:
        page.clock.fast_forward(11_000)
        return moment.inner_text() != before

    assert until(is_another_page)
    assert page.evaluate("document.activeElement.textContent") == "Loads"
    assert not studio.complaints
