"""A browser that goes away takes its view along: nothing of it runs any more."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message
from tests.server.explore.endless import ENDLESS, endless_data
from tests.server.studio.visitor import Visitor, add_user

from reelport.server.access import organizations
from reelport.server.app import create_app
from reelport.server.http.service import Service
from reelport.server.settings import read_settings

__all__ = ["endless_data"]


async def leave_while_it_runs(app: Starlette, cookie: str) -> list[Message]:
    """Ask for the endless view, and hang up as soon as its statements run; what the service then sends."""
    service: Service = app.state.service
    sent: list[Message] = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/studio/explore",
        "query_string": ENDLESS.url_query().encode(),
        "headers": [(b"cookie", cookie.encode()), (b"host", b"127.0.0.1:8642")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8642),
        "scheme": "http",
    }

    async def receive() -> Message:
        while not service.explorer.running_statements:  # noqa: ASYNC110 - what holds is no event
            await anyio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    with anyio.fail_after(60):
        await app(scope, receive, send)
        assert service.explorer.running_views == 0
        while service.explorer.running_statements:  # noqa: ASYNC110 - the same
            await anyio.sleep(0.01)
    return sent


def test_a_browser_that_goes_away_frees_its_slot(endless_data: Path) -> None:
    """The view has no end by itself: it is interrupted in the engine, and nothing is answered."""
    app = create_app(read_settings(data=endless_data, workers=0, explore_seconds=1000, explore_slots=1))
    with TestClient(app) as client:
        db = app.state.service.db
        demo = organizations.add_organization(db, "demo", datetime.now(UTC))
        organizations.allow_channels(db, demo.id, ["c1"])
        add_user(app.state.service, "mia@demo.example", "analyst")
        visitor = Visitor(client)
        visitor.sign_in("mia@demo.example", follow=False)
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.client.cookies.items())
        assert client.portal is not None
        assert client.portal.call(leave_while_it_runs, app, cookie) == []
        visitor.client.close()
