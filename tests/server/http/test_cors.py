"""Pages of other origins: only those that are named may use the API, and none Studio."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.server.api import Api, open_api

from reelport.errors import UsageError
from reelport.server.settings import read_settings
from reelport.wire import GRAPHQL_PATH, TOKEN_PATH

PAGE, OTHER = "https://dashboard.example", "https://dashboard.example.evil.example"


@pytest.fixture(scope="module")
def open_to_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service whose API one page may use, and a page on the developer's machine."""
    origins = f"{PAGE}, http://localhost:5173"
    with open_api(read_settings(data=tmp_path_factory.mktemp("cors"), workers=0, cors_origins=origins)) as api:
        yield api


def preflight(api: Api, path: str, origin: str, method: str = "POST") -> httpx2.Response:
    """What a browser asks before it sends a request of a page."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,prefer",
    }
    return api.client.options(path, headers=headers)


def allowed(reply: httpx2.Response) -> str | None:
    """The origin whose pages may read an answer."""
    origin: str | None = reply.headers.get("access-control-allow-origin")
    return origin


@pytest.mark.parametrize("path", [GRAPHQL_PATH, "/", TOKEN_PATH, "/v1/limits", "/v1/reports/x"])
@pytest.mark.parametrize("origin", [PAGE, "http://localhost:5173"])
def test_a_preflight_of_a_named_origin_is_answered(open_to_page: Api, path: str, origin: str) -> None:
    """With the headers that a client of the API sends, and without a token."""
    reply = preflight(open_to_page, path, origin)
    assert (reply.status_code, allowed(reply)) == (200, origin)
    assert {"authorization", "content-type", "prefer", "range"} <= {
        name.strip().lower() for name in reply.headers["access-control-allow-headers"].split(",")
    }
    assert "access-control-allow-credentials" not in reply.headers


def test_a_page_of_a_named_origin_reads_answers_and_their_headers(open_to_page: Api) -> None:
    """From the token to the file; caches keep the answers to different origins apart."""
    api, origin = open_to_page, {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}
    form = {"grant_type": "client_credentials", "client_id": api.key.id, "client_secret": api.key.secret}
    link = urlsplit(api.link(api.finished()))
    replies = [
        api.client.post(TOKEN_PATH, data=form, headers=origin),
        api.post(b'{"query": "{ __typename }"}', **origin),
        api.client.get("/v1/limits", headers={**origin, "Authorization": f"Bearer {api.token}"}),
        api.client.get(f"{link.path}?{link.query}", headers=origin),
        api.client.get("/openapi.json", headers=origin),
    ]
    for reply in replies:
        assert (reply.status_code, allowed(reply)) == (200, PAGE)
        assert "Origin" in reply.headers["vary"]
        exposed = {name.strip() for name in reply.headers["access-control-expose-headers"].split(",")}
        assert {"RateLimit", "Retry-After", "ETag", "Reelport-Rows", "Content-Disposition"} <= exposed


def test_a_refusal_can_be_read_too(open_to_page: Api) -> None:
    """Else a page could not tell an expired token from a network that is away."""
    reply = open_to_page.post(b"{}", Authorization="Bearer x", Origin=PAGE)
    assert (reply.status_code, allowed(reply)) == (401, PAGE)


def test_a_page_of_another_origin_reads_nothing(open_to_page: Api) -> None:
    """However much its name looks like one that is named; and it gets no token."""
    assert allowed(preflight(open_to_page, GRAPHQL_PATH, OTHER)) is None
    assert preflight(open_to_page, GRAPHQL_PATH, OTHER).status_code == 400
    assert allowed(open_to_page.post(b'{"query": "{ __typename }"}', Origin=OTHER)) is None
    headers = {"Origin": OTHER, "Sec-Fetch-Site": "cross-site"}
    assert open_to_page.client.post(TOKEN_PATH, headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/studio", "/studio/explore", "/studio/sign-in", "/health", "/metrics"])
def test_studio_is_open_to_no_other_origin(open_to_page: Api, path: str) -> None:
    """Nor what is the operator's."""
    assert allowed(preflight(open_to_page, path, PAGE)) is None
    assert allowed(open_to_page.client.get(path, headers={"Origin": PAGE}, follow_redirects=False)) is None


def test_by_default_no_origin_is_named(api: Api) -> None:
    """Then answers are as if there were no CORS."""
    reply = api.post(b'{"query": "{ __typename }"}', Origin=PAGE)
    assert allowed(reply) is None
    assert "vary" not in reply.headers
    assert preflight(api, GRAPHQL_PATH, PAGE).status_code == 405


@pytest.mark.parametrize(
    "given", ["*", "dashboard.example", "https://a.example/", "https://a.example;https://b.example", "null"]
)
def test_only_exact_origins_can_be_named(given: str) -> None:
    """No pattern, no path: what a browser sends as `Origin`."""
    with pytest.raises(UsageError, match="REELPORT_CORS_ORIGINS"):
        read_settings(cors_origins=given)
