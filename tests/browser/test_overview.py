"""The overview in a real browser, on a telephone too."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from tests.browser.studio import MEMBER, OWNER, Studio, find_barriers, is_wider_than_window
from tests.browser.test_pages import PAGES, choose_visitor
from tests.cases import thin_out

pytestmark = pytest.mark.long

WIDTHS = (390, 360)
# What a finger is meant for, and is too low for it: links within a sentence, and what can't be seen, need no room.
FIND_LOW = """() => [...document.querySelectorAll("a, button, select, textarea, summary, input:not([type=hidden])")]
    .filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.closest("p, .hint, .skip, svg"))
    .map((each) => [each, (each.matches("[type=checkbox], [type=radio]") && each.closest("label")) || each])
    .filter(([, room]) => room.getBoundingClientRect().height < 43.9)
    .map(([each]) => each.outerHTML)"""


@pytest.mark.parametrize("path", thin_out((route.path for route in PAGES), 4))
def test_a_page_suits_a_telephone(studio: Studio, path: str) -> None:
    """All that is tapped is 44 px high, and nothing needs to be moved sideways: with all that opens opened, too."""
    page = studio.open(path, choose_visitor(path))
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 740})
        page.evaluate("document.querySelectorAll('main details').forEach((each) => (each.open = true))")
        assert page.evaluate(FIND_LOW) == []
        assert not is_wider_than_window(page)


def test_a_telephone_has_one_menu(studio: Studio) -> None:
    """A button opens it, without a script too; a wide window shows it beside the page."""
    page = studio.open("/studio/account", OWNER, script=False)
    menu = page.get_by_role("navigation", name="Pages")
    expect(menu).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    expect(menu).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    assert page.evaluate(FIND_LOW) == []
    studio.follow(menu.get_by_role("link", name="Overview"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    assert not studio.complaints


def test_numbers_come_before_anything_else_on_a_telephone(studio: Studio) -> None:
    """Every card is in the first window, and the open menu has no barrier."""
    page = studio.open("/studio/overview", OWNER)
    page.set_viewport_size({"width": 390, "height": 740})
    cards = page.locator(".figures a")
    assert cards.count() == 4
    for card in cards.all():
        expect(card).to_be_in_viewport()
    page.get_by_role("button", name="Menu").click()
    assert find_barriers(page) == []


def test_the_explorers_numbers_come_before_its_form_on_a_telephone(studio: Studio) -> None:
    """The form is folded there, without a script too; a wide window shows it."""
    page = studio.open("/studio/explore", MEMBER, script=False)
    expect(page.get_by_label("First day")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 740})
    expect(page.get_by_label("First day")).to_be_hidden()
    expect(page.locator(".totals dd").first).to_be_in_viewport()
    page.get_by_text("Days, metrics and filters").click()
    expect(page.get_by_label("First day")).to_be_visible()


def test_a_card_and_a_range_change_the_page_in_place(studio: Studio) -> None:
    """Their addresses hold what was chosen, and the way back works."""
    page = studio.open("/studio/overview", MEMBER)
    page.evaluate("window.stayed = true")
    page.locator("#card-AVERAGE_WATCH_TIME_SEC").click()
    page.wait_for_url("**metric=AVERAGE_WATCH_TIME_SEC")
    expect(page.locator("#card-AVERAGE_WATCH_TIME_SEC")).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="7 days", exact=True).click()
    page.wait_for_url("**range=7**")
    page.get_by_label("Channel").select_option("demo-news")
    page.wait_for_url("**channel=demo-news**")
    assert "metric=AVERAGE_WATCH_TIME_SEC" in page.url
    page.get_by_text("Custom").click()
    page.get_by_label("First day").fill("2026-07-06")
    page.get_by_role("button", name="Show", exact=True).last.click()
    page.wait_for_url("**from=2026-07-06**")
    expect(page.get_by_text("6 to 31 July 2026, compared with 10 June to 5 July 2026").first).to_be_visible()
    page.get_by_text("Custom").click()
    page.get_by_role("link", name="Jul 2026").click()
    page.wait_for_url("**from=2026-07-01**")
    page.go_back()
    page.go_back()
    expect(page.get_by_role("link", name="7 days", exact=True)).to_have_attribute("aria-current", "true")
    assert page.evaluate("window.stayed")
    assert not studio.complaints
