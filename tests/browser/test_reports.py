"""Reports in a real browser: asked for, watched, handed on; letters of charts and previews stay apart and inside."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from openpyxl import load_workbook
from playwright.sync_api import Browser, Page, expect
from tests import quick_users
from tests.browser.studio import MEMBER, PASSWORD, Studio, find_barriers, find_faults, is_wider_than_window
from tests.patience import PATIENCE
from tests.server.api import finish_reports
from tests.warm_service import Service

from reelport.client.client import Client
from reelport.query import ReportQuery
from reelport.server.access import organizations
from reelport.server.queue.form_maker import make_next_form
from reelport.server.state.database import connected

pytestmark = pytest.mark.long

VIEW = "metric=VIEWS&by=VIDEO_ID&from=2026-07-01&to=2026-07-04"
BODY = b"day,video_id,video_title,views\n2026-07-01,x1,One,3\n"


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without workers: its reports end when a test makes them."""
    with Service(tmp_path_factory.mktemp("idle") / "data", workers=0) as running:
        with connected(running.settings) as db:
            now = datetime.now(UTC)
            organizations.allow_channels(db, organizations.add_organization(db, "demo", now).id, ["c1"])
            quick_users.add_user(db, "demo", MEMBER, "analyst", PASSWORD, now)
        yield running


@pytest.fixture
def waiting(idle: Service, chromium: Browser, tmp_path: Path) -> Iterator[Studio]:
    """Studio of that service."""
    studio = Studio(idle, chromium, tmp_path)
    yield studio
    studio.close(failed=False)


def finish(service: Service) -> None:
    """Make every report that waits."""
    with connected(service.settings) as db:
        list(finish_reports(service.settings, db, BODY))


def list_visible(page: Page, selector: str) -> list[str]:
    """The texts of the elements that are to be seen."""
    return [each.inner_text() for each in page.locator(selector).all() if each.is_visible()]


def ask(page: Page) -> None:
    """Press the button, and wait for the report's page."""
    page.get_by_role("button", name="Ask for the report").click()
    page.wait_for_url(re.compile("/studio/reports/[0-9a-z]{12}$"))


def test_a_report_is_watched_until_it_ends(waiting: Studio, idle: Service) -> None:
    """Its page says so by itself, without being loaded anew; the focus stays, and so does what was opened."""
    page = waiting.open(f"/studio/reports/new?{VIEW}", MEMBER)
    ask(page)
    expect(page.locator("main [data-announce]").first).to_contain_text("place 1 of yours in the queue")
    page.evaluate("window.kept = true")
    page.locator("#query-summary").click()
    finish(idle)
    expect(page.locator("main [data-announce]").first).to_contain_text("1 row")
    assert page.evaluate("window.kept")
    assert page.evaluate("document.activeElement.id") == "query-summary"
    expect(page.locator("#query-text")).to_be_visible()
    expect(page.locator("#announcer")).to_contain_text("finished")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert Path(download.value.path()).read_bytes() == BODY
    assert not waiting.complaints


def test_a_workbook_is_downloaded_from_the_reports_page(waiting: Studio, idle: Service, tmp_path: Path) -> None:
    """The browser waits until the file is made, and stays on the page."""
    page = waiting.open(f"/studio/reports/new?{VIEW}&sort=views", MEMBER)
    ask(page)
    finish(idle)
    expect(page.locator("main [data-announce]").first).to_contain_text("1 row")
    assert not find_faults(page)
    ended = threading.Event()

    def make_forms() -> None:
        with connected(idle.settings) as db:
            while not ended.is_set():
                make_next_form(db, idle.settings, "maker", idle.settings.spill_root / "maker")
                ended.wait(0.05)

    maker = threading.Thread(target=make_forms)
    maker.start()
    try:
        with page.expect_download() as download:
            page.get_by_role("button", name="Excel").click()
        assert download.value.suggested_filename.endswith(".xlsx")
        download.value.save_as(tmp_path / "report.xlsx")
        header, row = load_workbook(tmp_path / "report.xlsx").active.iter_rows(values_only=True)
    finally:
        ended.set()
        maker.join()
    assert (header, row[1:]) == (("day", "video_id", "video_title", "views"), ("x1", "One", 3))
    assert not waiting.complaints


def test_a_report_needs_no_script(waiting: Studio, idle: Service) -> None:
    """It is asked for, looked at again, cancelled, listed and deleted by links and forms alone."""
    page = waiting.open(f"/studio/reports/new?{VIEW}&channelSlug=one", MEMBER, script=False)
    ask(page)
    page.get_by_role("link", name="Look again").click()
    expect(page.locator("main [data-announce]").first).to_contain_text("queued")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("main [data-announce]").first).to_contain_text(f"It was cancelled by {MEMBER}.")
    page.get_by_role("link", name="Ask again for these days").click()
    ask(page)
    finish(idle)
    page.get_by_role("link", name="Look again").click()
    expect(page.locator("main [data-announce]").first).to_contain_text("finished")
    page.get_by_role("button", name="Delete this report").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Reports")
    expect(page.locator("tbody tr").first).to_contain_text("cancelled")
    assert not waiting.complaints


def test_a_row_of_a_report_holds_an_address_on_one_line(studio: Studio) -> None:
    """Of a long sentence and a short address the sentence is broken: an address in two reads as another one."""
    page = studio.open(f"/studio/reports/new?{VIEW}&metric=TIME_WATCHED_SECONDS&by=VISITOR_COUNTRY", MEMBER)
    page.set_viewport_size({"width": 1440, "height": 900})
    ask(page)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Reports").click()
    address = page.get_by_role("cell", name=MEMBER).locator("bdi").first
    assert address.evaluate("element => element.getClientRects().length") == 1


def test_the_columns_of_a_report_end_where_their_box_does(studio: Studio) -> None:
    """Below the last line of the choice there is as much room as above the first one."""
    page = studio.open(f"/studio/reports/new?{VIEW}", MEMBER)
    above, below = page.locator("form.choose").evaluate(
        """form => {
          const parts = [form, form.querySelector(".row"), form.lastElementChild];
          const [box, first, last] = parts.map(each => each.getBoundingClientRect());
          return [first.top - box.top, box.bottom - last.bottom];
        }"""
    )
    assert below == pytest.approx(above, abs=1)


def test_pages_of_reports_have_no_barriers(studio: Studio) -> None:
    """A report, a saved view and what a link shows: light and dark, wide and narrow."""
    page = studio.open(f"/studio/reports/new?{VIEW}", MEMBER)
    page.get_by_text("Save or share this view").click()
    page.get_by_label("Save this view as").fill("<b>Daily</b> views")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/studio/saved")
    studio.follow(page.get_by_role("button", name="Share <b>Daily</b> views by a link"))
    link = page.locator("#once").inner_text()
    page.goto(f"{studio.service.url}/studio/reports/new?{VIEW}")
    ask(page)
    page.get_by_role("button", name="Download CSV").wait_for()
    report = page.url
    for address in (report, f"{studio.service.url}/studio/saved", link):
        page.goto(address)
        assert not find_faults(page)
    assert not studio.complaints


def test_a_link_needs_no_account_and_no_script(studio: Studio) -> None:
    """Whoever has the link sees the numbers and can go nowhere from there."""
    page = studio.open(f"/studio/reports/new?{VIEW}", MEMBER)
    page.get_by_text("Save or share this view").click()
    page.get_by_label("Share by a link called").fill("For the board")
    studio.follow(page.get_by_role("button", name="Make the link"))
    link = page.locator("#once").inner_text().removeprefix(studio.service.url)
    visitor = studio.open(link, script=False)
    expect(visitor.get_by_role("heading", level=1)).to_have_text("For the board")
    assert visitor.locator(".boards tbody tr").count() > 3
    assert visitor.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))") == ["#main"]
    assert visitor.locator("form").evaluate_all("forms => forms.map(form => form.id)") == ["export"]
    assert not studio.complaints


def test_a_link_s_page_that_is_loaded_again_makes_no_second_link(studio: Studio) -> None:
    """It is the answer to a form, which a reload would send again: the list is shown then, without the link."""
    page = studio.open(f"/studio/reports/new?{VIEW}", MEMBER)
    page.get_by_text("Save or share this view").click()
    page.get_by_label("Share by a link called").fill("Made once")
    studio.follow(page.get_by_role("button", name="Make the link"))
    expect(page.locator("#once")).to_have_count(1)
    page.reload()
    expect(page.locator("#once")).to_have_count(0)
    expect(page.get_by_role("rowheader", name="Made once")).to_have_count(1)
    assert not studio.complaints


def test_long_names_and_queries_stay_within_the_window(studio: Studio) -> None:
    """A name of a hundred letters, a title of two hundred, and a query of many columns: they are broken into lines."""
    long = "W" * 100
    metrics, dimensions = "metric=VIEWS&metric=TIME_WATCHED_SECONDS", "by=VIDEO_TITLE&by=VIDEO_OWNER_CHANNEL_SLUG"
    kept = f"only=VISITOR_COUNTRY:FR&only=VISITOR_DEVICE_TYPE:{2 * long}"
    page = studio.open(f"/studio/reports/new?{metrics}&{dimensions}&{kept}&from=2026-07-01&to=2026-07-04", MEMBER)
    assert not is_wider_than_window(page)
    page.get_by_text("Save or share this view").click()
    page.get_by_label("Save this view as").fill(long)
    studio.follow(page.get_by_role("button", name="Save"))
    assert not is_wider_than_window(page)
    studio.follow(page.get_by_role("button", name=f"Share {long} by a link"))
    assert not is_wider_than_window(page)
    page.goto(f"{studio.service.url}/studio/reports/new?{metrics}&{dimensions}&{kept}&from=2026-07-01&to=2026-07-04")
    ask(page)
    page.set_viewport_size({"width": 1024, "height": 800})
    page.goto(f"{studio.service.url}/studio/reports")
    assert not is_wider_than_window(page)
    assert not studio.complaints


def test_a_finished_report_on_paper_has_nothing_to_press(waiting: Studio, idle: Service) -> None:
    """Neither buttons nor forms nor what is folded up; what was asked and when it ended is there."""
    page = waiting.open(f"/studio/reports/new?{VIEW}", MEMBER)
    ask(page)
    finish(idle)
    expect(page.get_by_role("button", name="Download CSV")).to_be_visible()
    pressed = "button, .button, input, summary, main a, .top nav a"
    assert list_visible(page, pressed)
    page.emulate_media(media="print")
    assert list_visible(page, pressed) == []
    assert "For Excel" not in page.locator("main").inner_text()
    assert list_visible(page, "h1") == ["Views by day, video and video title, 1 to 4 July 2026"]
    assert list_visible(page, "h2")[-1] == "What was asked"
    expect(page.locator(".facts")).to_be_visible()
    assert not waiting.complaints


_LETTERS = """() => {
  const wrong = [];
  for (const picture of document.querySelectorAll("svg.chart-picture")) {
    const frame = picture.getBoundingClientRect();
    if (!frame.width) continue;
    const scale = picture.viewBox.baseVal.width / frame.width;
    const texts = [...picture.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
    texts.forEach(([words, box], place) => {
      if (box.left < frame.left - 1 || box.right > frame.right + 1) wrong.push(`${words} leaves its picture`);
      for (const [others, other] of texts.slice(0, place)) {
        const across = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const down = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (across * scale > 1 && down * scale > 3) wrong.push(`${words} lies over ${others}`);
      }
      const height = parseFloat(getComputedStyle(picture).fontSize) / scale;
      if (height < 9.5 || height > 14.5) wrong.push(`${words} is ${height} pixels high at ${innerWidth}`);
    });
  }
  return wrong;
}"""
"""Texts of charts that leave their picture, lie over another, or are much smaller or larger than the page's."""


@pytest.fixture(scope="module")
def report(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A finished report by day and video title."""
    folder: Path = tmp_path_factory.mktemp("report")
    key = service.key("demo")
    query = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_TITLE"], date(2026, 7, 1), date(2026, 7, 31))
    with Client(service.url, key.id, key.secret, ledger=folder / "ledger.db") as client:
        client.reports.submit(query).wait(deadline=PATIENCE)


def look(studio: Studio, page: Page) -> list[str]:
    """What is wrong with a page in light and dark, from telephones to large screens."""
    wrong = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for width in (320, 360, 600, 900, 1280, 1600):
            page.set_viewport_size({"width": width, "height": 900})
            wrong += page.evaluate(_LETTERS)
            wrong += ["the page is wider than the window"] if is_wider_than_window(page) else []
        wrong += find_barriers(page)
    return [*wrong, *studio.complaints]


@pytest.mark.usefixtures("report")
def test_a_preview_is_open_to_everybody(studio: Studio) -> None:
    """From the list of reports to the first rows and a chart, whose SVG is a file to keep."""
    page = studio.open("/studio/reports", MEMBER)
    studio.follow(page.get_by_role("link", name="Views by day and video title").first)
    assert page.get_by_role("figure", name="Views by day and video title").first.is_visible()
    assert page.get_by_role("table").first.is_visible()
    assert not look(studio, page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Chart as SVG").click()
    assert download.value.path().read_text(encoding="utf-8").startswith("<svg")


def test_a_preview_by_day_and_device_tells_its_lines_apart(studio: Studio, service: Service, tmp_path: Path) -> None:
    """Each device by its name, on every screen."""
    key = service.key("demo")
    query = ReportQuery.of(["VIEWS"], ["DAY", "VISITOR_DEVICE_TYPE"], date(2026, 7, 1), date(2026, 7, 31))
    with Client(service.url, key.id, key.secret, ledger=tmp_path / "ledger.db") as client:
        client.reports.submit(query).wait(deadline=PATIENCE)
    page = studio.open("/studio/reports", MEMBER)
    studio.follow(page.get_by_role("link", name="Views by day and device").first)
    page.get_by_role("slider", name="Views by day and device", exact=True).press("Home")
    assert re.search(
        r"^Wed 1 Jul 2026, .*Phone: [\d,]+ view", page.get_by_role("slider").get_attribute("aria-valuetext") or ""
    )
    assert not look(studio, page)


def test_shares_are_read_beside_their_numbers(studio: Studio) -> None:
    """The shares of the explorer tell the same numbers of a day as its line, and what part each is."""
    view = "metric=VIEWS&by=VISITOR_DEVICE_TYPE&shares=VISITOR_DEVICE_TYPE&from=2026-07-01&to=2026-07-31"
    page = studio.open(f"/studio/explore?{view}", MEMBER)
    line, shares = page.get_by_role("slider").all()
    shares.press("Home")
    line.press("Home")
    parts = re.findall(r": ([\d,]+) views? \([\d.]+%\)", shares.get_attribute("aria-valuetext") or "")
    whole = (line.get_attribute("aria-valuetext") or "").removeprefix("Wed 1 Jul 2026, ")
    assert sum(int(each.replace(",", "")) for each in parts) == int(whole.replace(",", ""))
    assert not look(studio, page)


def test_charts_of_the_explorer_can_be_read_on_every_screen(studio: Studio) -> None:
    """Three lines beside those of other days, with days that may still change."""
    asked = "metric=VIEWS&metric=VIEW_THROUGH_RATE&metric=ESTIMATED_EARNINGS_EUR&compare=previous"
    page = studio.open(f"/studio/explore?{asked}&from=2026-07-04&to=2026-08-02", MEMBER)
    assert page.get_by_role("figure", name="Views by day").is_visible()
    assert not look(studio, page)
