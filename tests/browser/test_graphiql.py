"""GraphiQL in a real browser, over a real service."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.patience import PATIENCE
from tests.warm_service import Service

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that shows GraphiQL."""
    with Service(tmp_path_factory.mktemp("graphiql") / "data", workers=0, graphiql="yes") as running:
        running.organization("demo")
        yield running


def get_token(service: Service) -> str:
    """A token of a new key."""
    key = service.key("demo")
    form = {"grant_type": "client_credentials", "client_id": key.id, "client_secret": key.secret}
    with urllib.request.urlopen(f"{service.url}/oauth/v1/token", urllib.parse.urlencode(form).encode()) as reply:
        token: str = json.load(reply)["access_token"]
    return token


def run(page: Page, token: str) -> str:
    """Type a token, run the document that stands there, and give the answer that is shown."""
    page.fill("#token", token)
    page.click("text=Use it")
    page.click(".graphiql-execute-button")
    page.locator(".result-window").filter(has_text="reportFile").wait_for()
    return page.inner_text(".result-window")


def test_a_document_runs_with_a_typed_token_that_is_kept_nowhere(
    chromium: Browser, shown: Service, tmp_path: Path
) -> None:
    """The page speaks with the service alone, and its policy stops nothing that it needs."""
    hosts: set[str] = set()
    complaints: list[str] = []
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.on("request", lambda request: hosts.add(urllib.parse.urlsplit(request.url).netloc))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{shown.url}/graphql")
    token = get_token(shown)
    answer = run(page, token)
    page.screenshot(path=tmp_path / "page.png")
    assert "IN_PROGRESS" in answer
    assert page.evaluate("document.querySelectorAll('.CodeMirror-lint-mark-error').length") == 0
    assert (hosts, complaints) == ({urllib.parse.urlsplit(shown.url).netloc}, [])
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert "mutation Ask" in kept
    assert token not in kept
    page.reload()
    assert page.input_value("#token") == ""
    page.close()
