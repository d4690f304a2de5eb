"""GraphiQL at `GET /graphql`: for browsers alone, only where it is switched on, and from this service alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from tests.server.api import Api, open_api

from reelport.server.settings import read_settings
from reelport.wire import GRAPHQL_PATH, TOKEN_PATH

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service that shows GraphiQL."""
    with open_api(read_settings(data=tmp_path_factory.mktemp("graphiql"), workers=0, graphiql="yes")) as api:
        yield api


def utc_today() -> date:
    """Today, as the service takes it."""
    return datetime.now(UTC).date()


def test_by_default_there_is_none(api: Api) -> None:
    """Neither the page nor its files."""
    assert api.client.get(GRAPHQL_PATH, headers=BROWSER).status_code == 405
    assert api.client.get("/graphiql/graphiql.js").status_code == 404


def test_a_browser_gets_a_page_that_may_speak_with_this_service_alone(shown: Api) -> None:
    """Its policy names no other host, and takes no script that stands in the page."""
    page = shown.client.get(GRAPHQL_PATH, headers=BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert policy["frame-ancestors"] == "'none'"
    assert page.headers["cache-control"] == "no-store"
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    files = [address for address in addresses if address != "data:,"]
    assert len(files) == 6
    for address in files:
        file = shown.client.get(address)
        assert file.status_code == 200, address
        assert file.headers["content-type"].startswith(("text/javascript", "text/css"))
        assert file.headers["x-content-type-options"] == "nosniff"


def test_the_page_says_how_to_get_a_token(shown: Api) -> None:
    """At the address that grants tokens to private keys."""
    assert TOKEN_PATH in shown.client.get(GRAPHQL_PATH, headers=BROWSER).text


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_programs_are_answered_as_before(shown: Api, accept: str) -> None:
    """A GET of theirs is refused, and a POST is a request whatever it accepts."""
    assert shown.client.get(GRAPHQL_PATH, headers={"Accept": accept}).status_code == 405
    reply = shown.post(b'{"query": "{ __typename }"}', **BROWSER)
    assert reply.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("name", ["page.html", "licences.txt", "none.js", "..%2Fapp.py", "graphiql.js.gz"])
def test_no_other_file_is_had(shown: Api, name: str) -> None:
    """Only what the page needs."""
    assert shown.client.get(f"/graphiql/{name}").status_code == 404
