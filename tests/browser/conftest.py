"""A real Chromium over a real service. Where no browser is installed the tests are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from tests import quick_users
from tests.browser.studio import MEMBER, OPERATOR, OWNER, PASSWORD, Studio
from tests.warm_service import Service

from reelport.server.access import operator_access
from reelport.server.access.roles import Role
from reelport.server.state.database import connected

# The first is the same browser without windows around its pages: it costs half.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# As root no sandbox starts; the rest keeps the browser from speaking to anybody but our service.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_REPORT = pytest.StashKey[pytest.TestReport]()
FIRST_DAY, LAST_DAY = datetime(2026, 6, 1, tzinfo=UTC).date(), datetime(2026, 7, 31, tzinfo=UTC).date()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one worker, sample facts of two months, and an owner, a member and an operator."""
    with Service(tmp_path_factory.mktemp("studio") / "data", workers=1) as running:
        running.sample(FIRST_DAY, LAST_DAY, rows=4_000)
        with connected(running.settings) as db:
            for organization, email, role in (
                ("demo", OWNER, "owner"),
                ("demo", MEMBER, "analyst"),
                (None, OPERATOR, "operator"),
            ):
                quick_users.add_user(db, organization, email, role, PASSWORD, datetime.now(UTC))
            operator_access.allow_platform(db, OPERATOR, Role.VIEWER)
        yield running


@contextmanager
def launch_browser(*arguments: str) -> Iterator[Browser]:
    """Launch a browser, with further arguments: while Playwright runs, the process can't use asyncio otherwise."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no browser is installed: there is none of {', '.join(_NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_ARGUMENTS, *arguments])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for the tests of one file."""
    with launch_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def _studio(chromium: Browser, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(service, chromium, tmp_path_factory.mktemp("pages"))


@pytest.fixture
def studio(_studio: Studio, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Studio]:
    """Studio with no page open; where the test fails, its pages are kept in its temporary folder."""
    _studio.folder = tmp_path
    yield _studio
    report = request.node.stash.get(_REPORT, None)
    _studio.close(failed=report is not None and report.failed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep how a test ended for the fixtures that end after it."""
    report = yield
    if call.when == "call":
        item.stash[_REPORT] = report
    return report
