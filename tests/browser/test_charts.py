"""Charts answer in a real browser: by mouse, touch and keys they say what their table and the report say."""

from __future__ import annotations

import csv
import gzip
from datetime import date
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.browser.studio import MEMBER, Studio, find_barriers
from tests.patience import PATIENCE, until

from reelport.client.client import Client
from reelport.query import ReportQuery
from reelport.testing import Service

pytestmark = pytest.mark.long

VIEW = "/studio/explore?metric=VIEWS&metric=TIME_WATCHED_SECONDS&by=none&from=2026-07-04&to=2026-08-02&compare=previous"
DAYS = 30


def find_layer(page: Page, name: str = "Views by day") -> Locator:
    """The layer over a chart by which it is read."""
    return page.get_by_role("slider", name=name)


def find_place(page: Page, place: int, share: float = 0.4, many: int = DAYS) -> tuple[float, float]:
    """Where in the window a time of the first chart lies."""
    find_layer(page).scroll_into_view_if_needed()
    box = page.locator(".chart-plot:visible").first.bounding_box()
    assert box is not None
    return box["x"] + box["width"] * place / (many - 1), box["y"] + box["height"] * share


def read_tips(page: Page) -> list[list[str]]:
    """The texts of each tip of the page: days, names and numbers."""
    return [tip.locator("p, bdi, b").all_text_contents() for tip in page.locator(".chart-tip").all()]


def read_table(page: Page) -> list[list[str]]:
    """The numbers of each row of the table of the lines."""
    page.get_by_text("The lines as a table").evaluate("each => each.parentElement.open = true")
    return [row.locator("td").all_text_contents() for row in page.locator("#times tbody tr").all()]


def test_all_charts_say_what_the_table_says(studio: Studio) -> None:
    """At each of its days, on every chart at once, compared numbers and days that may still change among them."""
    page = studio.open(VIEW, MEMBER)
    rows = read_table(page)
    for place in range(0, DAYS, 4):
        page.mouse.move(*find_place(page, place))
        views, watched = read_tips(page)
        assert [views[2], views[4]] == rows[place][:2]
        assert [text.removesuffix(" hours") for text in (watched[2], watched[4])] == rows[place][2:]
        assert views[0] == watched[0]
    page.mouse.move(*find_place(page, DAYS - 1))
    assert [tip[-1] for tip in read_tips(page)] == ["may still change"] * 2
    assert page.locator(".chart-tip").first.evaluate("each => each.getBoundingClientRect().right <= innerWidth")
    page.mouse.move(1, 1)
    expect(page.locator(".chart-tip")).to_have_count(0)
    assert not studio.complaints


def test_a_chart_says_what_the_report_says(studio: Studio, service: Service, tmp_path: Path) -> None:
    """The numbers of the crosshair are those of the rows that a client fetches."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 7, 4), date(2026, 7, 31))
    key = service.key("demo")
    with Client(service.url, key.id, key.secret, ledger=tmp_path / "ledger.db") as client:
        client.reports.submit(query).wait(deadline=PATIENCE).download(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["day"]: int(row["views"]) for row in csv.DictReader(file)}
    assert len(rows) > 20
    page = studio.open(VIEW, MEMBER)
    said = {}
    layer = find_layer(page)
    layer.press("Home")
    for day in range(4, 32):
        text = layer.get_attribute("aria-valuetext") or ""
        said[f"2026-07-{day:02}"] = int("".join(filter(str.isdigit, text.split(", ")[1])))
        layer.press("ArrowRight")
    assert {day: number for day, number in said.items() if number} == rows


def test_keys_read_a_chart_and_select_days(studio: Studio) -> None:
    """A screen reader hears each day with its numbers. With shift held days are selected, and Enter shows them."""
    page = studio.open(VIEW, MEMBER)
    layer = find_layer(page)
    layer.press("Home")
    layer.press("ArrowRight")
    expect(layer).to_have_attribute("aria-valuetext", read_valuetext(page, 1))
    expect(page.locator(".chart-tip")).to_have_count(2)
    layer.press("Escape")
    expect(page.locator(".chart-tip")).to_have_count(0)
    layer.press("Shift+ArrowRight")
    layer.press("Shift+ArrowRight")
    assert (layer.get_attribute("aria-valuetext") or "").startswith("Sun 5 Jul 2026 \N{EN DASH} Tue 7 Jul 2026, ")
    layer.press("Enter")
    page.wait_for_url("**from=2026-07-05**")
    assert parse_qs(urlsplit(page.url).query)["to"] == ["2026-07-07"]
    assert not studio.complaints


def read_valuetext(page: Page, place: int) -> str:
    """What is said of a day, as the tip of the first chart has it."""
    day, name, number, before, other = read_tips(page)[0][:5]
    assert read_table(page)[place][:2] == [number, other]
    return f"{day}, {name}: {number}, {before}: {other}"


def test_dragging_selects_days_and_escape_ends_it(studio: Studio) -> None:
    """The page of the selected days has the view's other choices, and is loaded without leaving the page."""
    page = studio.open(f"{VIEW}&range=last-28-days", MEMBER)
    page.evaluate("window.stayed = true")
    before = page.url
    page.mouse.move(*find_place(page, 10))
    page.mouse.down()
    page.mouse.move(*find_place(page, 4))
    expect(page.locator(".chart-band")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.locator(".chart-band")).to_have_count(0)
    page.mouse.up()
    assert page.url == before
    page.mouse.down()
    page.mouse.move(*find_place(page, 8))
    page.mouse.up()
    page.wait_for_url("**from=2026-07-08**")
    asked = parse_qs(urlsplit(page.url).query)
    assert (asked["to"], asked["compare"], asked["metric"]) == (
        ["2026-07-12"],
        ["previous"],
        ["VIEWS", "TIME_WATCHED_SECONDS"],
    )
    assert "range" not in asked
    expect(page.get_by_label("First day")).to_have_value("2026-07-08")
    page.mouse.move(*find_place(page, 0, many=5))
    assert page.evaluate("window.stayed")
    assert read_tips(page)[0][0] == "Wed 8 Jul 2026"
    assert not studio.complaints


def test_a_touch_shows_a_day_and_selects_none(studio: Studio) -> None:
    """A tip stays until another place is touched; it lies within a telephone's window."""
    page = studio.open(VIEW, MEMBER, touch=True)
    page.set_viewport_size({"width": 360, "height": 740})
    for place in (0, 14, DAYS - 1):
        page.touchscreen.tap(*find_place(page, place))
        expect(page.locator(".chart-tip")).to_have_count(2)
        assert read_tips(page)[0][2] == read_table(page)[place][0]
        for tip in page.locator(".chart-tip").all():
            box = tip.bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 360
    assert "from=2026-07-04" in page.url
    page.get_by_role("heading", name="Explore").tap()
    expect(page.locator(".chart-tip")).to_have_count(0)


def swipe(page: Page, x: float, y: float, down: float) -> None:
    """Move a finger down the window, or up: the page is scrolled by it."""
    session = page.context.new_cdp_session(page)
    for kind, at in (("touchStart", y), ("touchMove", y + down / 2), ("touchMove", y + down)):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": at}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_two_touches_select_days(studio: Studio) -> None:
    """A button below the chart begins a range; it outlives scrolling, and the day that is touched next ends it."""
    page = studio.open(VIEW, MEMBER, touch=True)
    page.set_viewport_size({"width": 360, "height": 520})
    page.touchscreen.tap(*find_place(page, 20))
    begin = page.get_by_text("Choose days from here on")
    box = begin.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    begin.tap()
    expect(begin).to_have_count(0)
    expect(page.get_by_text("Now touch the last day.")).to_have_count(1)
    before = page.evaluate("scrollY")
    swipe(page, *find_place(page, 6), 200)
    until(lambda: page.evaluate("scrollY") < before)
    expect(page.get_by_text("Now touch the last day.")).to_have_count(1)
    page.touchscreen.tap(*find_place(page, 12))
    page.wait_for_url("**from=2026-07-16**")
    assert parse_qs(urlsplit(page.url).query)["to"] == ["2026-07-24"]
    assert not studio.complaints


WHY = "**from=2026-07-14&to=2026-07-14**compare=weekdays&sort=change**"


@pytest.mark.parametrize("how", ["click", "key", "touch", "table"])
def test_a_single_day_is_chosen_and_says_what_changed(studio: Studio, how: str) -> None:
    """In the chart, or without a script in its table: beside the same weekday before, what changed most first."""
    page = studio.open(
        VIEW.replace("by=none", "by=VISITOR_COUNTRY"), MEMBER, script=how != "table", touch=how == "touch"
    )
    match how:
        case "click":
            page.mouse.move(*find_place(page, 10))
            expect(page.get_by_text("Click or press Enter: why this day?")).to_have_count(1)
            page.mouse.click(*find_place(page, 10))
        case "key":
            find_layer(page).press("Home")
            for _ in range(10):
                find_layer(page).press("ArrowRight")
            find_layer(page).press("Enter")
        case "touch":
            page.touchscreen.tap(*find_place(page, 10))
            page.get_by_role("button", name="Only Tue 14 Jul 2026").tap()
        case "table":
            page.get_by_text("The lines as a table").click()
            page.get_by_role("button", name="14 Jul 2026").click()
    page.wait_for_url(WHY)
    assert "Compared with 7 July 2026." in page.locator("main").inner_text()
    fell = page.locator(".totals small").first.inner_text().startswith("\N{MINUS SIGN}")
    assert ("reverse=yes" in page.url) is fell
    changes = page.locator("#table-VISITOR_COUNTRY tbody td:nth-child(4)")
    assert changes.first.inner_text().startswith("\N{MINUS SIGN}") is fell
    assert not studio.complaints


def test_the_overview_leads_from_a_day_to_what_changed(studio: Studio) -> None:
    """By video, country and device, of the metric whose chart was clicked."""
    page = studio.open("/studio/overview?metric=TIME_WATCHED_SECONDS", MEMBER)
    with page.expect_navigation():
        find_layer(page, "Watch time by day").click()
    page.wait_for_url("**/studio/explore?**rank=TIME_WATCHED_SECONDS**")
    assert parse_qs(urlsplit(page.url).query)["compare"] == ["weekdays"]
    assert page.locator("section.board h2").all_text_contents() == ["Video", "Country", "Device"]
    assert not studio.complaints


def test_a_touch_elsewhere_ends_a_range(studio: Studio) -> None:
    """The next touch of the chart only reads it again."""
    page = studio.open(VIEW, MEMBER, touch=True)
    page.touchscreen.tap(*find_place(page, 20))
    page.get_by_text("Choose days from here on").tap()
    page.get_by_role("heading", name="Explore").tap()
    expect(page.locator(".chart-tip")).to_have_count(0)
    page.touchscreen.tap(*find_place(page, 12))
    expect(page.get_by_text("Choose days from here on")).to_have_count(1)
    assert "from=2026-07-04" in page.url


def test_a_map_says_what_its_table_says(studio: Studio) -> None:
    """Every country tells its name and number where it is pointed at or touched."""
    page = studio.open("/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&longer=VISITOR_COUNTRY&from=2026-07-01", MEMBER)
    lands = page.locator(".chart-map [data-says]")
    said = [each.get_attribute("data-says") or "" for each in lands.all()]
    numbers = page.locator("section.board tbody td:nth-child(2)").all_text_contents()
    assert len(said) > 5
    assert sorted(text.partition(": ")[2] for text in said) == sorted(numbers)
    france = page.locator(".chart-map [data-says^='France: ']")
    france.hover()
    expect(page.locator(".chart-tip")).to_have_text(france.get_attribute("data-says") or "")
    page.mouse.move(1, 1)
    expect(page.locator(".chart-tip")).to_have_count(0)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        assert not find_barriers(page)
    assert not studio.complaints


def test_the_overview_maps_all_countries_and_lists_the_first(studio: Studio) -> None:
    """The map says of each listed country what the list says, and has more of them."""
    page = studio.open("/studio/overview", MEMBER)
    said = [each.get_attribute("data-says") or "" for each in page.locator(".chart-map [data-says]").all()]
    panel = page.locator("section.panel", has=page.locator(".chart-map"))
    listed = [row.locator("bdi, span.number").all_text_contents() for row in panel.locator(".ranking li").all()]
    assert len(listed) == 10
    assert {": ".join(row) for row in listed} < set(said)
    assert not find_barriers(page)
    assert not studio.complaints


def test_nobody_meets_a_barrier_at_a_crosshair(studio: Studio) -> None:
    """In light and dark, while a chart is read by keys."""
    page = studio.open(VIEW, MEMBER)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        find_layer(page).press("Home")
        assert not find_barriers(page)


def test_forced_colours_are_stronger_than_those_of_a_chart(studio: Studio) -> None:
    """Whoever has chosen colours for all pages reads lines and grids in them."""
    page = studio.open(VIEW, MEMBER)
    read = """() => [...document.querySelectorAll(".chart-pictures .chart-grid, .chart-pictures .chart-line")]
        .filter(each => each.checkVisibility()).map(each => getComputedStyle(each).stroke)"""
    assert len(set(page.evaluate(read))) > 1
    page.emulate_media(forced_colors="active")
    text = page.locator("body").evaluate("body => getComputedStyle(body).color")
    assert set(page.evaluate(read)) == {text}


def test_without_script_a_chart_is_whole(studio: Studio) -> None:
    """It has its table, and no stop for keys that lead nowhere."""
    page = studio.open(VIEW, MEMBER, script=False)
    assert page.get_by_role("figure", name="Views by day").is_visible()
    assert page.get_by_role("slider").count() == 0
    page.get_by_text("The lines as a table").click()
    assert page.locator("#times tbody tr").count() == DAYS


def test_the_script_of_charts_is_small() -> None:
    """4 kB at most, as it is sent."""
    script = resources.files("reelport.server.studio").joinpath("static/charts.js").read_bytes()
    assert len(gzip.compress(script)) <= 4_000
