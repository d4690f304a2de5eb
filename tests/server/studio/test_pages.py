"""Large pages are written in threads, one of an organization at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.patience import until
from tests.server.api import Api

from reelport.server.studio.pages import write_page
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
