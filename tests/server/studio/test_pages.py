"""Large pages are written in threads; files of the pages say how long a browser may keep them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.patience import until
from tests.server.api import Api
from tests.server.studio.conftest import OWNER, Visitors

from reelport.charts.stylesheet import write_page_stylesheet
from reelport.server.studio.pages import address_of, write_page
from reelport.server.studio.visit import Visit


def test_a_page_that_takes_long_keeps_nobody_else_waiting(api: Api) -> None:
    """The next page of its organization waits for it; another organization's is written meanwhile."""
    begun: list[str] = []
    release = threading.Event()

    async def answer(request: Request) -> Response:
        organization, page = request.url.path.strip("/").split("/")

        def write() -> Response:
            begun.append(page)
            if page == "long":
                release.wait()
            return PlainTextResponse(page)

        return await write_page(Visit(request, api.service, None, "", datetime.now(UTC)), organization, write)

    app = Starlette(routes=[Route("/{organization}/{page}", answer)])
    with TestClient(app) as client, ThreadPoolExecutor(2) as threads:
        try:
            long = threads.submit(client.get, "/demo/long")
            until(lambda: begun == ["long"])
            following = threads.submit(client.get, "/demo/next")
            assert client.get("/rival/page").text == "page"
            assert begun == ["long", "page"]
            assert not following.done()
        finally:
            release.set()
        assert (long.result().text, following.result().text) == ("long", "next")


def test_the_styles_of_charts_are_a_file_of_the_pages(visitors: Visitors) -> None:
    """Nobody signs in for them; a browser keeps them for good under the address that names their content."""
    answer = visitors(None).get(address_of("charts.css"))
    assert answer.text == write_page_stylesheet()
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert visitors(None).get("/studio/static/charts.css").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip, deflate, br", "gzip"), ("", None), ("gzip;q=0", None), ("identity, gzip;q=0.5", None)],
)
def test_styles_and_scripts_are_compressed_for_those_who_take_it(
    visitors: Visitors, accepted: str, coding: str | None
) -> None:
    """The content is the same, and caches in between keep both apart."""
    answer = visitors(None).client.get(address_of("studio.js"), headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "addEventListener" in answer.text


def test_no_page_is_compressed(visitors: Visitors) -> None:
    """A page holds secrets beside what its address says: its length must not tell of them."""
    answer = visitors(OWNER).client.get("/studio/explore?metric=guess", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
