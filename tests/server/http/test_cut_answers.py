"""Answers that are cut are seen as such; clients that go away, or that find PostgreSQL away once they were let in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import psycopg
import pytest
from sqlalchemy import event
from starlette.requests import ClientDisconnect, Request
from starlette.testclient import TestClient
from starlette.types import Message
from tests.server.api import Api
from tests.server.http.serving import serve

from reelport.errors import StorageError
from reelport.report_details import REPORTS_PATH
from reelport.server.access import keys, organizations
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.app import create_app
from reelport.server.http.connections import Connection
from reelport.server.http.service import run_while_connected
from reelport.server.settings import read_settings
from reelport.wire import GRAPHQL_PATH, LOOK

Send = Callable[[object], Any]
ASK = b"GET / HTTP/1.0\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
PART = bytes(100_000)


class Impatient(Connection):
    """Gives a reader a moment to take an answer, and tells when it has closed."""

    stalled_seconds = 0.05
    lost: asyncio.Event

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell it."""
        self.lost.set()
        super().connection_lost(exc)


async def begin(send: Send, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [*headers]})
    await send({"type": "http.response.body", "body": PART, "more_body": True})


async def leave(scope: object, receive: object, send: Send) -> None:
    """End without the end of the body, as a download does whose key was revoked."""
    del scope, receive
    await begin(send, (b"content-length", b"%d" % (2 * len(PART))))


async def leave_chunks(scope: object, receive: object, send: Send) -> None:
    del scope, receive
    await begin(send)


async def fail(scope: object, receive: object, send: Send) -> None:
    await leave(scope, receive, send)
    raise OSError("the disk is gone")


async def finish(scope: object, receive: object, send: Send) -> None:
    del scope, receive
    await begin(send)
    await send({"type": "http.response.body", "body": PART})


def read(
    application: object,
    protocol: type[Connection] = Connection,
    asked: bytes = ASK,
    awaited: asyncio.Event | None = None,
) -> bytes | None:
    """All that comes back, read after an event; None where the connection is reset."""

    async def run() -> bytes | None:
        async with serve(protocol, application) as connect, asyncio.timeout(300):
            reader = await connect(asked)
            if awaited is not None:
                await awaited.wait()
            try:
                return await reader.read()
            except ConnectionResetError:
                return None

    return asyncio.run(run())


@pytest.mark.parametrize("application", [leave, fail])
def test_a_cut_shows_by_the_length_and_leaves_the_client_what_came(application: object) -> None:
    """HTTP/1.0 knows no chunks, and proxies speak it. A client goes on from there by a range."""
    head, _, body = (read(application) or b"").partition(b"\r\n\r\n")
    assert b"content-length: 200000" in head.lower()
    assert body == PART


def test_so_does_one_of_a_reader_that_takes_nothing() -> None:
    """It is cut by its timer."""
    cut = asyncio.Event()

    async def send_on(scope: object, receive: object, send: Send) -> None:
        del scope, receive
        await begin(send, (b"content-length", b"%d" % (301 * len(PART))))
        for _ in range(300):  # far more than is on its way at once: it waits until the reader has gone
            await send({"type": "http.response.body", "body": PART, "more_body": True})
        cut.set()

    Impatient.lost = asyncio.Event()
    assert len(read(send_on, Impatient, awaited=cut) or b"") < 301 * len(PART)


@pytest.mark.parametrize("asked", [ASK, LAST])
def test_a_whole_answer_whose_end_nobody_takes_is_cut_in_time(asked: bytes) -> None:
    """The app has given all, and the connection ends with it: else it would stay for as long as the reader likes."""

    async def give_all(scope: object, receive: object, send: Send) -> None:
        del scope, receive
        length = b"%d" % (300 * len(PART))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": 300 * PART})

    Impatient.lost = asyncio.Event()
    assert len(read(give_all, Impatient, asked, Impatient.lost) or b"") < 300 * len(PART)


@pytest.mark.parametrize("asked", [ASK, LAST, LAST.replace(b"Connection: close\r\n", b"")])
def test_a_slow_reader_has_all_of_an_answer(asked: bytes) -> None:
    """Its time begins anew whenever it has read something, also where the connection ends with the answer."""
    body = 300 * PART
    ended = asyncio.Event()

    class Watched(Connection):
        stalled_seconds = 0.3

        def _end_timer(self, seconds: float, left: int) -> None:
            super()._end_timer(seconds, left)
            ended.set()

    async def give_all(scope: object, receive: object, send: Send) -> None:
        del scope, receive
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
        await send(head)
        await send({"type": "http.response.body", "body": body})

    async def run() -> int:
        async with serve(Watched, give_all) as connect, asyncio.timeout(300):
            reader = await connect(asked)
            await reader.readuntil(b"\r\n\r\n")
            came = 0
            for _ in range(3):
                came += len(await reader.readexactly(len(body) // 5))
                await ended.wait()
                ended.clear()
            return came + len(await reader.readexactly(len(body) - came))

    assert asyncio.run(run()) == len(body)


def test_a_cut_shows_by_the_last_chunk_that_is_missing() -> None:
    """And leaves the client what came."""
    newer = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    assert (read(leave_chunks, asked=newer) or b"").endswith(PART + b"\r\n")


def test_an_answer_that_is_whole_is_no_reset() -> None:
    """And all of it comes."""
    assert (read(finish) or b"").endswith(2 * PART)


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
            event.listen(db, "checkout", lambda state, *_: state.execute("SET LOCAL lock_timeout = '1ms'"))
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
