"""Requests whose client goes away, or that find PostgreSQL away once they have been let in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.lowlevel
import psycopg
import pytest
from sqlalchemy import make_url
from starlette.requests import ClientDisconnect, Request
from starlette.testclient import TestClient
from starlette.types import Message
from tests.server.api import Api

from reelport.errors import StorageError
from reelport.report_details import REPORTS_PATH
from reelport.server.access import keys, organizations
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.app import create_app
from reelport.server.http.service import run_while_connected
from reelport.server.settings import read_settings
from reelport.wire import GRAPHQL_PATH, LOOK


def request(gone: anyio.Event) -> Request:
    """A request whose body has come, and whose client goes away at the event."""
    sent = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        if (message := next(sent, None)) is not None:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "GET", "headers": []}, receive)


def run(work: Callable[[anyio.Event], Awaitable[str]]) -> str:
    """Do work for a request; the work is given what makes the client go away."""

    async def main() -> str:
        gone = anyio.Event()
        with anyio.fail_after(60):
            return await run_while_connected(request(gone), lambda: work(gone))

    return anyio.run(main)


def test_work_of_a_client_that_stays_gives_its_result() -> None:
    """As if nobody watched."""

    async def work(_: anyio.Event) -> str:
        await anyio.lowlevel.checkpoint()
        return "done"

    assert run(work) == "done"


def test_work_is_cancelled_when_its_client_goes_away() -> None:
    """It is stopped where it waits, and what it cleans up is cleaned up."""
    ended: list[str] = []

    async def work(gone: anyio.Event) -> str:
        gone.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cleaned up")
        return "never"

    with pytest.raises(ClientDisconnect):
        run(work)
    assert ended == ["cleaned up"]


def test_an_error_of_ours_comes_as_it_is() -> None:
    """Not within a group of errors, which no page knows how to tell."""

    async def work(_: anyio.Event) -> str:
        raise StorageError("the disk is gone")

    with pytest.raises(StorageError, match="the disk is gone"):
        run(work)


def test_a_query_is_refused_whole_and_an_ask_may_have_been_taken(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    """A query and a download are 503 with Retry-After; an ask is an error of its field, as its commit may be done."""
    settings = read_settings(data=tmp_path / "data", database_url=new_database(), workers=0)
    with TestClient(app := create_app(settings)) as client:
        db, now = app.state.service.db, datetime.now(UTC)
        organizations.allow_channels(db, organizations.add_organization(db, "demo", now).id, ["c"])
        key = keys.create_key(db, app.state.service.service_secret, "demo", REPORT_SCOPES, now)
        api = Api(client, app.state.service, key)
        api.token = api.grant().json()["access_token"]
        link = api.link(report := api.finished())
        with psycopg.connect(settings.database_url) as other:
            name = make_url(settings.database_url).database
            other.execute(f"ALTER DATABASE {name} SET lock_timeout = '1ms'".encode())
            other.commit()
            db.dispose()
            other.execute("LOCK TABLE reports")
            looked = client.post(
                GRAPHQL_PATH,
                json={"query": LOOK, "variables": {"reportToken": report}},
                headers={"Authorization": f"Bearer {api.token}"},
            )
            fetched = client.get(link)
            told = client.get(f"{REPORTS_PATH}/{report}", headers={"Authorization": f"Bearer {api.token}"})
            asked = api.ask(**api.new())
    assert [(each.status_code, each.headers["retry-after"]) for each in (looked, fetched, told)] == [(503, "5")] * 3
    assert told.json()["code"] == "unavailable"
    assert [error["extensions"]["code"] for error in looked.json()["errors"] + asked["errors"]] == ["unavailable"] * 2
    assert asked["data"] == {"askPartnerReportFile": None}
