"""The explorer in a real browser: clicks change the address and the numbers, and the focus stays where it was."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect
from tests.browser.studio import MEMBER, Studio, find_barriers, find_faults, is_wider_than_window
from tests.patience import until

pytestmark = pytest.mark.long

VIEW = "/studio/explore?metric=VIEWS&by=VIDEO_OWNER_CHANNEL_SLUG&by=VISITOR_COUNTRY&from=2026-07-01&to=2026-07-28"


def test_a_click_filters_without_loading_the_page_anew(studio: Studio) -> None:
    """The address tells it, the way back works, and a screen reader hears what is shown."""
    page = studio.open(VIEW, MEMBER)
    page.evaluate("window.stayed = true")
    page.get_by_role("link", name="demo-news", exact=True).click()
    page.wait_for_url("**videoOwnerChannelSlug=demo-news**")
    expect(page.get_by_label("Remove the filter Channel")).to_be_visible()
    assert page.evaluate("window.stayed")
    expect(page.get_by_role("status").first).to_have_text(re.compile("with channel demo-news"))
    page.go_back()
    expect(page.get_by_label("Remove the filter Channel")).to_have_count(0)
    assert page.url.endswith(VIEW)
    assert not studio.complaints


def test_values_are_chosen_from_a_list_that_is_searched_in_place(studio: Studio) -> None:
    """From below a leaderboard: the search has the focus, and what is checked alone is shown."""
    page = studio.open(VIEW, MEMBER)
    page.evaluate("window.stayed = true")
    board = page.locator("section.board", has=page.locator("#board-VISITOR_COUNTRY"))
    board.get_by_role("button", name="Choose some").click()
    search = page.get_by_label("Name, id or slug")
    expect(search).to_be_focused()
    expect(page.get_by_role("checkbox", name="Germany")).to_be_visible()
    search.fill("Frnace")
    search.press("Enter")
    page.get_by_text("Did you mean").get_by_role("link", name="France").click()
    page.wait_for_url("**search=France**")
    expect(page.get_by_role("checkbox", name="France")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Germany")).to_have_count(0)
    assert find_barriers(page) == []
    page.get_by_role("checkbox", name="France").check()
    page.get_by_role("button", name="Show the checked ones alone").click()
    expect(page.get_by_label("Remove the filter Country")).to_be_visible()
    assert "only=VISITOR_COUNTRY%3AFR" in page.url
    assert "pick=" not in page.url
    assert page.evaluate("window.stayed")
    assert not studio.complaints


class Answers:
    """The answers to a page's requests, of views as a rule: each is held until it is let through."""

    def __init__(self, page: Page, of: str = "**/studio/explore?*") -> None:
        self.page = page
        self.held: list[Route] = []
        self.ended: list[str] = []
        page.route(of, self._hold)
        page.on("requestfailed", lambda request: self.ended.append(request.url))

    def _hold(self, route: Route) -> None:
        self.held.append(route)

    def wait_for(self, many: int) -> None:
        """Wait until so many requests have been made."""
        assert until(lambda: self.page.evaluate("true") and len(self.held) >= many)


def test_two_changes_in_a_row_both_count(studio: Studio) -> None:
    """Of a link and a field, while the first one's answer isn't there; its request is cancelled."""
    page = studio.open(VIEW, MEMBER)
    answers = Answers(page)
    page.get_by_role("link", name="demo-news", exact=True).click()
    answers.wait_for(1)
    page.get_by_label("Compare with").select_option("previous")
    answers.wait_for(2)
    assert until(lambda: page.evaluate("true") and answers.ended)  # which is told beside the request after it
    assert answers.ended == [answers.held[0].request.url]
    answers.held[1].continue_()
    page.wait_for_url("**videoOwnerChannelSlug=demo-news**compare=previous**")
    expect(page.get_by_label("Remove the filter Channel")).to_be_visible()
    expect(page.get_by_label("Compare with")).to_have_value("previous")
    assert not studio.complaints


def test_a_way_back_that_fails_once_shows_the_page_of_its_address(studio: Studio) -> None:
    """And never the numbers of another."""
    page = studio.open(VIEW, MEMBER)
    page.get_by_label("Compare with").select_option("previous")
    page.wait_for_url("**compare=previous**")
    page.route("**/studio/explore?*", lambda route: route.abort(), times=1)
    page.go_back()
    expect(page.get_by_label("Compare with")).to_have_value("none")
    assert page.url.endswith(VIEW)
    page.go_forward()
    expect(page.get_by_label("Compare with")).to_have_value("previous")


def test_a_step_forward_before_the_script_is_there_shows_the_page_of_its_address(studio: Studio) -> None:
    """As the address alone changes then."""
    page = studio.open(VIEW, MEMBER)
    page.get_by_label("Compare with").select_option("previous")
    page.wait_for_url("**compare=previous**")
    scripts = Answers(page, "**/studio.*js*")
    page.route("**/studio/explore?*", lambda route: route.abort(), times=1)
    with page.expect_request("**/studio.*js*"):
        page.evaluate("history.back()")
    expect(page.get_by_label("Compare with")).to_have_value("none")
    page.evaluate("history.forward()")
    page.wait_for_url("**compare=previous**", wait_until="commit")
    scripts.held[0].continue_()
    expect(page.get_by_label("Compare with")).to_have_value("previous")


def test_many_changes_in_a_row_all_count(studio: Studio) -> None:
    """Metrics and leaderboards are added and removed, a choice taken back: the last of each counts."""
    page = studio.open(VIEW, MEMBER)
    page.get_by_text("Metrics: views").click()
    page.get_by_text("Leaderboards: ").click()
    answers = Answers(page)
    page.get_by_label("Watch time", exact=True).check()
    page.get_by_label("Compare with").select_option("previous")
    page.get_by_label("Impressions", exact=True).first.check()
    page.get_by_label("Channel", exact=True).first.uncheck()
    page.get_by_label("First day").fill("2026-07-08")
    page.get_by_label("Compare with").select_option("none")
    page.locator("#sort-VISITOR_COUNTRY-VIEWS-share").click()
    answers.wait_for(7)
    answers.held[-1].continue_()
    page.wait_for_url("**sort=share**")
    asked = parse_qs(urlsplit(page.url).query)
    assert set(asked["metric"]) == {"VIEWS", "TIME_WATCHED_SECONDS", "NB_IMPRESSION"}
    assert set(asked["by"]) - {"none"} == {"VISITOR_COUNTRY"}
    assert (asked["from"], asked["to"], asked.get("compare", ["none"])) == (["2026-07-08"], ["2026-07-28"], ["none"])
    assert not studio.complaints


def test_a_page_shows_that_another_is_loaded(studio: Studio) -> None:
    """From the change to the answer."""
    page = studio.open(VIEW, MEMBER)
    answers = Answers(page)
    is_seen = """() => {
        const main = document.querySelector("main");
        return main.ariaBusy === "true" && getComputedStyle(main, "::before").height === "3px";
    }"""
    assert not page.evaluate(is_seen)
    page.get_by_label("Compare with").select_option("previous")
    answers.wait_for(1)
    assert page.evaluate(is_seen)
    answers.held[0].continue_()
    page.wait_for_url("**compare=previous**")
    assert not page.evaluate(is_seen)
    assert not studio.complaints


def test_a_report_of_a_view_that_is_loaded_is_of_that_view(studio: Studio) -> None:
    """Not of the one before. A field that is left without another change makes no second request."""
    page = studio.open(VIEW, MEMBER)
    answers = Answers(page)
    page.get_by_label("Last day").fill("2026-07-20")
    answers.wait_for(1)
    page.get_by_label("Last day").blur()
    page.get_by_role("link", name="As a report").click()
    page.wait_for_url("**/studio/reports/new?**to=2026-07-20**")
    assert len(answers.held) == 1
    expect(page.get_by_text("1 to 20 July 2026").first).to_be_visible()
    assert not studio.complaints


def test_what_is_being_typed_survives_an_answer(studio: Studio) -> None:
    """The field keeps its text and the focus, and its text counts when the field is left."""
    page = studio.open(f"{VIEW}&pick=VISITOR_COUNTRY", MEMBER)
    answers = Answers(page)
    page.get_by_label("Compare with").select_option("previous")
    answers.wait_for(1)
    field = page.get_by_label("Name, id or slug")
    field.press_sequentially("Fran")
    answers.held[0].continue_()
    page.wait_for_url("**compare=previous**")
    expect(field).to_be_focused()
    expect(field).to_have_value("Fran")
    field.press_sequentially("ce")
    page.unroute_all()
    page.keyboard.press("Tab")
    page.wait_for_url("**search=France**")
    assert "compare=previous" in page.url
    assert not studio.complaints


def test_the_focus_survives_a_change(studio: Studio) -> None:
    """Of a field that changes the view at once, and of a heading that sorts."""
    page = studio.open(VIEW, MEMBER)
    page.get_by_label("Compare with").focus()
    page.get_by_label("Compare with").select_option("previous")
    page.wait_for_url("**compare=previous**")
    expect(page.get_by_label("Compare with")).to_be_focused()
    heading = page.locator("#sort-VISITOR_COUNTRY-VIEWS-change")
    heading.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**sort=change**")
    expect(page.locator("#sort-VISITOR_COUNTRY-VIEWS-change")).to_be_focused()
    assert not studio.complaints


def test_a_search_narrows_the_list_of_metrics_and_outlives_a_choice(studio: Studio) -> None:
    """By label, sentence or heading; what has the text stays, also when the page has changed."""
    page = studio.open(VIEW, MEMBER)
    page.get_by_text("Metrics: views").click()
    page.locator("#search-metric").fill("WATCH time")
    expect(page.get_by_label("Average watch time", exact=True)).to_be_visible()
    expect(page.get_by_label("Uploads", exact=True)).to_be_hidden()
    expect(page.get_by_text("Uploads can't be split by country")).to_be_hidden()
    page.get_by_label("Average watch time", exact=True).check()
    page.wait_for_url("**metric=AVERAGE_WATCH_TIME_SEC**")
    expect(page.locator("#search-metric")).to_have_value("WATCH time")
    expect(page.get_by_label("Uploads", exact=True)).to_be_hidden()
    page.locator("#search-metric").fill("storage")
    expect(page.get_by_text("Stock can't be split by country")).to_be_visible()
    assert not studio.complaints


def test_a_metric_is_added_by_a_checkbox_and_its_list_stays_open(studio: Studio) -> None:
    """What doesn't fit can't be checked, and says why; nothing of it is a barrier."""
    page = studio.open(VIEW, MEMBER)
    page.get_by_text("Metrics: views").click()
    page.get_by_label("Watch time", exact=True).check()
    page.wait_for_url("**metric=TIME_WATCHED_SECONDS**")
    expect(page.get_by_label("Watch time", exact=True)).to_be_checked()
    expect(page.get_by_label("Uploads", exact=True)).to_be_disabled()
    expect(page.get_by_text("Uploads can't be split by country")).to_be_visible()
    assert find_barriers(page) == []
    assert not studio.complaints


def test_all_of_it_works_without_a_script(studio: Studio) -> None:
    """A form and links: the button that a script needs not is there."""
    page = studio.open(VIEW, MEMBER, script=False)
    page.get_by_label("Compare with").select_option("weekdays")
    studio.follow(page.get_by_role("button", name="Show", exact=True))
    assert "compare=weekdays" in page.url
    studio.follow(page.get_by_role("link", name="demo-news", exact=True))
    assert "videoOwnerChannelSlug=demo-news" in page.url
    studio.follow(page.get_by_role("link", name="7 days"))
    assert "from=2026-07-25&to=2026-07-31" in page.url
    studio.follow(page.get_by_role("link", name="As a report"))
    assert "/studio/reports/new" in page.url
    assert not studio.complaints


def test_a_menu_exports_what_is_seen(studio: Studio, tmp_path: Path) -> None:
    """By keyboard: a file of the table, its rows on the clipboard in full; Escape leads back to where it was opened."""
    page = studio.open(f"{VIEW}&compare=previous", MEMBER)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    board = page.locator(".board").first
    menu = board.locator("summary")
    menu.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert re.fullmatch(r"views-by-[\w-]+_2026-07-01_2026-07-\d\d\.csv", download.value.suggested_filename)
    download.value.save_as(tmp_path / "board.csv")
    header, *rows = csv.reader((tmp_path / "board.csv").read_text("utf-8-sig").splitlines())
    board.get_by_role("button", name="Copy").click()
    page.locator("#announcer", has_text="Copied").wait_for(state="attached")
    copied = [line.split("\t") for line in page.evaluate("navigator.clipboard.readText()").splitlines()[1:]]
    place = header.index("views")
    assert [(row[0].split()[-1], row[1]) for row in copied] == [(row[0], row[place]) for row in rows]
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    expect(board.get_by_role("button", name="Copy")).to_be_hidden()
    assert not studio.complaints


def test_an_open_menu_has_no_barriers(studio: Studio) -> None:
    """Light and dark, wide and on a telephone: nothing is wrong with it, and it fits the window."""
    page = studio.open(VIEW, MEMBER)
    for menu in page.locator("details.export summary").all()[:3:2]:
        menu.click()
        assert not find_faults(page)
    assert not studio.complaints


def test_a_session_that_ended_elsewhere_leads_to_the_whole_page_of_the_sign_in(studio: Studio) -> None:
    """Without the menu of whoever was signed in; and from there back to what was clicked."""
    page = studio.open("/studio/sign-in")
    studio.sign_in(page, MEMBER)
    page.goto(f"{studio.service.url}{VIEW}")
    page.context.clear_cookies()
    page.get_by_role("link", name="7 days").click()
    page.wait_for_url("**/studio/sign-in?next=**")
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    studio.sign_in(page, MEMBER)
    assert "from=2026-07-25&to=2026-07-31" in page.url
    assert not studio.complaints


@pytest.mark.parametrize("language", ["en", "fr"])
def test_ranges_stand_on_one_line_of_a_small_laptop(studio: Studio, language: str) -> None:
    """In the explorer, and with Custom on the overview."""
    page = studio.open(VIEW, MEMBER)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.set_extra_http_headers({"Accept-Language": language})
    for path in (VIEW, "/studio/overview"):
        page.goto(f"{studio.service.url}{path}")
        tops = page.locator(".ranges").first.locator("> li").evaluate_all("all => all.map(each => each.offsetTop)")
        assert len(tops) >= 8
        assert len(set(tops)) == 1
    assert not studio.complaints


@pytest.mark.parametrize("width", [700, 1050])
def test_paper_has_numbers_alone_and_whole_tables(studio: Studio, width: int) -> None:
    """On a sheet upright or lying: no menu and no form, and no table whose last columns would have to be moved to."""
    page = studio.open(f"{VIEW}&metric=TIME_WATCHED_SECONDS&compare=previous", MEMBER)
    page.set_viewport_size({"width": width, "height": 1000})
    page.emulate_media(media="print")
    assert page.locator("main").evaluate("each => each.clientWidth") > width * 0.9
    for form in (".choose", ".ranges", ".top nav", "#keep", "#times"):
        expect(page.locator(form)).to_be_hidden()
    for words in ("Chart as", "Show more", "Sign out"):
        assert not any(each.is_visible() for each in page.get_by_text(words).all())
    tables = page.locator(".board .scroll").evaluate_all("all => all.map(each => getComputedStyle(each).overflowX)")
    assert set(tables) == {"visible"}
    assert not is_wider_than_window(page)
    assert not studio.complaints


def test_a_comparison_of_many_metrics_moves_in_its_own_box_on_a_telephone(studio: Studio) -> None:
    """The page is as wide as the screen; at the end of its columns a leaderboard still has its names."""
    names = ("VIEWS", "TIME_WATCHED_SECONDS", "VIEW_THROUGH_RATE", "AVERAGE_WATCH_TIME_SEC")
    page = studio.open(f"{VIEW}&{'&'.join(f'metric={name}' for name in names)}&compare=previous", MEMBER)
    page.set_viewport_size({"width": 390, "height": 800})
    assert not is_wider_than_window(page)
    for box in page.locator(".board .scroll").all():
        box.evaluate("box => box.scrollTo(box.scrollWidth, 0)")
        frame, name, number = (
            each.bounding_box()
            for each in (box, box.locator("tbody th").first, box.locator("tbody tr").first.locator("td").last)
        )
        assert frame is not None
        assert name is not None
        assert number is not None
        assert abs(name["x"] - frame["x"]) < 1
        assert name["x"] + name["width"] <= number["x"]
        assert number["x"] + number["width"] <= 390
    assert find_barriers(page) == []
    assert not studio.complaints


@pytest.mark.parametrize(("width", "metrics"), [(1280, 4), (390, 2)])
def test_no_column_of_a_leaderboard_is_cut(studio: Studio, width: int, metrics: int) -> None:
    """Compared, on a usual screen and on a telephone: half a number reads as another number."""
    names = ("VIEWS", "TIME_WATCHED_SECONDS", "VIEW_THROUGH_RATE", "ESTIMATED_EARNINGS_EUR")[:metrics]
    shown = "".join(f"metric={name}&" for name in names)
    boards = "by=VIDEO_OWNER_CHANNEL_SLUG&by=VIDEO_ID&by=VISITOR_COUNTRY"
    page = studio.open(f"/studio/explore?{shown}{boards}&from=2026-07-01&to=2026-07-28&compare=previous", MEMBER)
    page.set_viewport_size({"width": width, "height": 900})
    is_cut = "boards => boards.map(board => board.scrollWidth > board.clientWidth)"
    assert page.locator(".board .scroll").evaluate_all(is_cut) == [False, False, False]
    assert not is_wider_than_window(page)
