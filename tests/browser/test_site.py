"""The site of the pages: a reader finds and reads them in a browser, and what is wrong with them fails the build."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, expect
from supply_chain.pages import PagesAreWrong, build

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives it
        """Drop the line."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this checkout."""
    folder = tmp_path_factory.mktemp("site") / "site"
    build(ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where a web server of files has it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The pages of a checkout, to be changed."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("DESIGN.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    return tmp_path


def test_a_reader_searches_and_follows_a_result(address: str, chromium: Browser) -> None:
    """The search of the site finds a page by its words; nothing is fetched from another host."""
    page = chromium.new_page()
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add("/".join(request.url.split("/")[:3])))
    page.goto(f"{address}/index.html")
    page.get_by_role("button", name="Search").first.click()
    page.keyboard.type("failover")
    page.get_by_role("option", name="Failover").first.click()
    expect(page.get_by_role("heading", name="Failover")).to_be_visible()
    assert page.url.startswith(f"{address}/operate/several-machines.html")
    assert hosts == {address}
    page.close()


def test_the_clients_api_is_made_of_its_docstrings(address: str, chromium: Browser) -> None:
    """Its class, a method of it, and the method's promise."""
    page = chromium.new_page()
    page.goto(f"{address}/reference/python.html")
    expect(page.get_by_role("heading", name="reelport.Client")).to_be_visible()
    expect(page.get_by_role("heading", name="with_options").first).to_be_visible()
    page.close()


def test_each_page_is_there_as_markdown(site: Path) -> None:
    """At the address of its HTML, with the other ending."""
    pages = [path.relative_to(site) for path in site.rglob("*.html") if path.name != "404.html"]
    assert len(pages) > 50
    assert [page for page in pages if not (site / page.with_suffix(".md")).is_file()] == []


def test_a_dead_link_fails_the_build(checkout: Path) -> None:
    """It is named with its page."""
    (checkout / "docs" / "how-to" / "keys.md").write_text("# Keys\n\n[gone](nowhere.md)\n", "utf-8")
    with pytest.raises(PagesAreWrong, match=r"how-to/keys\.md"):
        build(checkout, checkout / "site")


def test_an_unknown_command_and_a_page_without_a_way_to_it_fail_the_build(checkout: Path) -> None:
    """Both are named at once."""
    (checkout / "docs" / "how-to" / "new.md").write_text("# New\n\n```sh\nreelport rapport run\n```\n", "utf-8")
    with pytest.raises(PagesAreWrong) as wrong:
        build(checkout, checkout / "site")
    assert str(wrong.value).splitlines() == [
        "how-to/new.md: docs/zensical.toml doesn't list it",
        "how-to/new.md: reelport rapport run: no such command",
    ]
