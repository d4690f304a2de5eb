"""The whole way through Studio: sign in, make a key, explore, ask for a report, keep its file."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import LAST_DAY
from tests.browser.studio import OWNER, Studio
from tests.patience import PATIENCE, until

from reelport.client.client import Client
from reelport.query import ReportQuery

pytestmark = pytest.mark.long

_FIRST_DAY = LAST_DAY - timedelta(days=6)


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
def test_a_view_becomes_a_file_with_the_same_bytes_as_a_programs(studio: Studio, script: bool, tmp_path: Path) -> None:
    """The file that a browser saves is the one that the client fetches by a key made on the way."""
    page = studio.open("/studio", script=script)
    studio.sign_in(page, OWNER)
    page.wait_for_url("**/studio/overview")
    key_id, secret = make_key(page, f"Tour {script}")
    ask_for_a_view(page)
    wait_until_it_is_finished(page, script=script)
    query = ReportQuery.from_wire(json.loads(page.locator("#query-text").text_content() or ""))
    assert (query.start, query.end) == (_FIRST_DAY, LAST_DAY)
    assert ("videoOwnerChannelSlug", "demo-news") in query.filters
    look_at_the_preview(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    with Client(studio.service.url, key_id, secret, ledger=tmp_path / "ledger.db") as client:
        client.reports.submit(query).wait(deadline=PATIENCE).download(tmp_path / "report.csv")
    saved = Path(download.value.path()).read_bytes()
    assert saved == (tmp_path / "report.csv").read_bytes()
    assert saved.count(b"\n") > 2
    assert not studio.complaints


def make_key(page: Page, name: str) -> tuple[str, str]:
    """Make a key that may do everything, by the menu: its id and secret."""
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Keys").click()
    page.get_by_label("Name: what it is for").fill(name)
    page.get_by_text("Kind, rights and expiry").click()
    for scope in page.get_by_role("group", name="What it may do").get_by_role("checkbox").all():
        scope.check()
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#key-secret")).to_be_visible()
    return page.locator("#key-id").inner_text(), page.locator("#key-secret").inner_text()


def ask_for_a_view(page: Page) -> None:
    """Explore a week, filter by a click on a channel, and ask for what is shown."""
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Explore").click()
    page.get_by_role("link", name="7 days").click()
    page.wait_for_url(f"**from={_FIRST_DAY}&to={LAST_DAY}**")
    page.get_by_role("link", name="demo-news", exact=True).click()
    page.wait_for_url("**videoOwnerChannelSlug=demo-news**")
    page.get_by_role("link", name="As a report").click()
    page.get_by_role("button", name="Ask for the report").click()
    page.wait_for_url(re.compile("/studio/reports/[0-9a-z]{12}$"))


def wait_until_it_is_finished(page: Page, *, script: bool) -> None:
    """Wait for the button that saves the file: the page changes by itself, or is loaded anew by hand."""
    saves = page.get_by_role("button", name="Download CSV")
    if script:
        expect(saves).to_be_visible()
        return

    def look_again() -> bool:
        page.reload()
        return saves.is_visible()

    assert until(look_again)


def look_at_the_preview(page: Page) -> None:
    """The report's page has its chart and its first rows."""
    expect(page.get_by_role("table").first).to_be_visible()
    expect(page.get_by_role("figure").first).to_be_visible()
