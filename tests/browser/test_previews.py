"""Charts and previews in a real browser: letters stay apart and inside, and a screen reader meets no barrier."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Page
from tests.browser.studio import MEMBER, Studio, find_barriers, is_wider_than_window
from tests.patience import PATIENCE

from reelport.client.client import Client
from reelport.query import ReportQuery
from reelport.testing import Service

pytestmark = pytest.mark.long

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
        r"^1 Jul 2026, .*Phone: [\d,]+ view", page.get_by_role("slider").get_attribute("aria-valuetext") or ""
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
    whole = (line.get_attribute("aria-valuetext") or "").removeprefix("1 Jul 2026, ")
    assert sum(int(each.replace(",", "")) for each in parts) == int(whole.replace(",", ""))
    assert not look(studio, page)


def test_charts_of_the_explorer_can_be_read_on_every_screen(studio: Studio) -> None:
    """Three lines beside those of other days, with days that may still change."""
    asked = "metric=VIEWS&metric=VIEW_THROUGH_RATE&metric=ESTIMATED_EARNINGS_EUR&compare=previous"
    page = studio.open(f"/studio/explore?{asked}&from=2026-07-04&to=2026-08-02", MEMBER)
    assert page.get_by_role("figure", name="Views by day").is_visible()
    assert not look(studio, page)
