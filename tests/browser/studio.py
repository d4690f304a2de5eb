"""Studio in a real browser: who is signed in, and all that the browser complains of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, StorageState, expect
from tests.patience import PATIENCE

from reelport.testing import Service

if TYPE_CHECKING:
    from playwright.sync_api import ViewportSize

OWNER, MEMBER, OPERATOR = "ann@demo.example", "mia@demo.example", "olga@platform.example"
PASSWORD = "a long enough password"  # noqa: S105 - of tests alone
WIDE: ViewportSize = {"width": 1600, "height": 1000}
NARROW: ViewportSize = {"width": 320, "height": 740}
"""As wide as 1,280 pixels are at a zoom of 400 % (WCAG 2.2, 1.4.10)."""
# Playwright gives up after 5 s: a busy machine takes longer.
expect.set_options(timeout=PATIENCE * 1000)


@dataclass
class Studio:
    """A running service with sample facts, and a browser to look at its pages."""

    service: Service
    browser: Browser
    folder: Path
    complaints: list[str] = field(default_factory=list)
    """What the browser has written to its console as an error, refusals of the policy among it."""
    _states: dict[str, StorageState] = field(default_factory=dict)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def open(
        self, path: str, email: str | None = None, *, script: bool = True, touch: bool = False, status: int = 200
    ) -> Page:
        """Open a page in a browser of its own, in which a user is signed in."""
        page = self._make_page(email, script=script, touch=touch)
        answer = page.goto(f"{self.service.url}{path}")
        assert answer is not None
        assert answer.status == status, f"{path}: {answer.status}"
        return page

    def sign_in(self, page: Page, email: str, password: str = PASSWORD) -> None:
        """Fill in the form of the sign-in that the page shows, and send it."""
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password").fill(password)
        self.follow(page.get_by_role("button", name="Sign in"))

    def follow(self, target: Locator) -> None:
        """Click on what leads to another page, and wait until that one is whole, its stylesheet too."""
        with target.page.expect_navigation():
            target.click()

    def close(self, *, failed: bool) -> None:
        """Close what is open; of a failed test, keep a picture and the text of each page."""
        for number, page in enumerate(page for context in self._contexts for page in context.pages):
            if failed:
                page.screenshot(path=self.folder / f"page-{number}.png", full_page=True)
                (self.folder / f"page-{number}.html").write_text(page.content())
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        self.complaints.clear()

    def _make_page(self, email: str | None, *, script: bool, touch: bool) -> Page:
        state = None if email is None else self._signed_in(email)
        context = self.browser.new_context(
            viewport=WIDE, storage_state=state, java_script_enabled=script, has_touch=touch
        )
        context.set_default_timeout(PATIENCE * 1000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _signed_in(self, email: str) -> StorageState:
        """Sign in once for all tests: checking a password takes a while."""
        if email not in self._states:
            page = self.open("/studio/sign-in")
            self.sign_in(page, email)
            self._states[email] = page.context.storage_state()
        return self._states[email]

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.page.url if message.page else ''}: {message.text}")


def find_barriers(page: Page, *rules: str) -> list[str]:
    """What axe-core finds wrong on a page as it is shown now, by all rules or some: rule and elements."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found: list[str] = page.evaluate(
        """options => axe.run(options).then(({ violations }) =>
             violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`)))""",
        options,
    )
    return found


def is_wider_than_window(page: Page) -> bool:
    """Whether the page as a whole must be moved sideways to be read."""
    found: bool = page.evaluate("document.scrollingElement.scrollWidth > document.scrollingElement.clientWidth")
    return found


def find_faults(page: Page) -> dict[str, list[str]]:
    """What is wrong with a page in light and dark, wide and narrow: barriers, and what is cut off."""
    wrong = {}
    for scheme in ("light", "dark"):
        for size in (WIDE, NARROW):
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.set_viewport_size(size)
            # Width and colours have nothing else in common: all rules twice find what all four times would.
            rules = () if (scheme == "light") == (size is WIDE) else ("color-contrast",)
            barriers = find_barriers(page, *rules)
            if is_wider_than_window(page):
                barriers.append("the page is wider than the window")
            if barriers:
                wrong[f"{page.url}, {scheme}, {size['width']} px"] = barriers
    page.set_viewport_size(WIDE)
    return wrong
