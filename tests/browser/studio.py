"""Studio in a real browser: who is signed in, and all that the browser complains of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, StorageState, expect
from tests.patience import PATIENCE

from reelport.testing import Service

if TYPE_CHECKING:
    from playwright.sync_api import ViewportSize

OWNER, MEMBER, OPERATOR = "ann@demo.example", "mia@demo.example", "olga@platform.example"
PASSWORD = "a long enough password"  # noqa: S105 - of tests alone
WIDE: ViewportSize = {"width": 1600, "height": 1000}
NARROW: ViewportSize = {"width": 360, "height": 740}
_AXE = Axe()
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

    def open(self, path: str, email: str | None = None, *, script: bool = True, status: int = 200) -> Page:
        """Open a page in a browser of its own, in which a user is signed in."""
        page = self._make_page(email, script=script)
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

    def _make_page(self, email: str | None, *, script: bool) -> Page:
        state = None if email is None else self._signed_in(email)
        context = self.browser.new_context(viewport=WIDE, storage_state=state, java_script_enabled=script)
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
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    violations = _AXE.run(page, options=options).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in violations for node in each["nodes"]]


def is_wider_than_window(page: Page) -> bool:
    """Whether the page as a whole must be moved sideways to be read."""
    found: bool = page.evaluate("document.scrollingElement.scrollWidth > document.scrollingElement.clientWidth")
    return found
