# ruff: noqa: INP001 - a script beside the page that it serves, no package
"""Make the pictures of `a-tour-of-studio.md` anew: a service with sample facts, and a real Chromium (`make pictures`).

They are small on purpose: at most 1000 pixels wide, and of 128 colours.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from datetime import date
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from reelport.testing import Service

FOLDER = Path(__file__).with_name("pictures")
FIRST_DAY, LAST_DAY, ROWS = date(2026, 9, 1), date(2026, 10, 31), 60_000
OWNER, ANALYST, PASSWORD = "ann@demo.example", "mia@demo.example", "a long enough password"
WIDTH, COLOURS = 1000, 128
FILTERED = (
    "metric=VIEWS&metric=ESTIMATED_EARNINGS_EUR&by=VIDEO_OWNER_CHANNEL_SLUG&by=VISITOR_COUNTRY"
    "&from=2026-10-04&to=2026-10-31&videoOwnerChannelSlug=demo-news&compare=previous"
)
# As root no sandbox starts; the rest keeps the browser from speaking to anybody but the service.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def main() -> None:
    """Run the service and the browser, and walk the tour."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        sys.exit("The pictures need a Chromium: none is installed.")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "data", workers=1) as service:
        service.sample(FIRST_DAY, LAST_DAY, rows=ROWS)
        service.user("demo", OWNER, PASSWORD)
        service.user("demo", ANALYST, PASSWORD, role="analyst")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
            picture_numbers(sign_in(browser, service, ANALYST), service)
            picture_access(sign_in(browser, service, OWNER), service)
            browser.close()


def sign_in(browser: Browser, service: Service, email: str) -> Page:
    """Open Studio in a browser of its own, in which a user is signed in."""
    page = browser.new_context(viewport={"width": WIDTH, "height": 800}).new_page()
    page.goto(f"{service.url}/studio")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/studio/overview")
    return page


def picture_numbers(page: Page, service: Service) -> None:
    """What an analyst sees: the overview, the explorer, a report on its way, its preview."""
    keep(page, "overview", 900)
    keep_narrow(page)
    page.goto(f"{service.url}/studio/explore")
    page.set_viewport_size({"width": WIDTH, "height": 1000})
    page.locator(".chart-layer").first.hover()
    save(page.screenshot(), "explore")
    page.goto(f"{service.url}/studio/explore?{FILTERED}")
    page.locator("#keep > summary").click()
    keep(page, "filtered", 1010)
    page.get_by_role("link", name="As a report", exact=True).click()
    page.get_by_role("heading", name="New report").wait_for()
    page.mouse.move(0, 0)
    keep(page, "new-report", 680)
    page.get_by_role("button", name="Ask for the report").click()
    page.get_by_role("button", name="Download CSV").wait_for()
    keep(page, "report", 480)
    keep(page, "preview", 900)


def picture_access(page: Page, service: Service) -> None:
    """What an owner sees besides: keys, people, the audit log."""
    page.goto(f"{service.url}/studio/keys")
    page.get_by_label("Name: what it is for").fill("Nightly export")
    page.get_by_text("Kind, rights and expiry").click()
    page.get_by_label("Expires").fill("90")
    page.get_by_role("checkbox", name="access_revenue").check()
    keep(page, "new-key", 830)
    page.get_by_role("button", name="Make the key").click()
    page.locator("#key-secret").wait_for()
    page.goto(f"{service.url}/studio/people")
    page.get_by_label("E-mail address").fill("lena@demo.example")
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("#once").wait_for()
    page.goto(f"{service.url}/studio/people")
    keep(page, "people", 560)
    page.goto(f"{service.url}/studio/audit")
    keep(page, "audit", 480)


def keep_narrow(page: Page) -> None:
    """The same page on a telephone, in the dark."""
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 800})
    save(page.screenshot(), "narrow")
    page.emulate_media(color_scheme="light")


def keep(page: Page, name: str, height: int) -> None:
    """Keep the upper part of a page as a picture."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.evaluate("scrollTo(0, 0)")
    save(page.screenshot(), name)


def save(picture: bytes, name: str) -> None:
    """Write a picture with few colours, as small as PNG gets."""
    few = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
