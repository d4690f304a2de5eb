"""Requests of any kind: no secret in a log, foreign origins, callers behind proxies, reads that wait for no writer."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import structlog
import uvicorn
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.server.api import ASK, INPUT, Api, open_api, require_length
from uvicorn.server import ServerState

from reelport.errors import UsageError
from reelport.server import logs
from reelport.server.access import keys, organizations
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.app import create_app
from reelport.server.http.connections import Connection
from reelport.server.http.request_log import RequestLog
from reelport.server.settings import Settings, read_settings
from reelport.wire import GRAPHQL_PATH, LOOK, TOKEN_PATH, Code


def lines(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_no_secret_of_a_run_is_in_its_log(api: Api, log: io.StringIO) -> None:
    """Grants, refusals, asks, looks, downloads, errors: what must stay secret is nowhere in what was written."""
    granted = api.grant().json()["access_token"]
    wrong = "rps_WRONGSECRETWRONGSECRET"
    api.grant(client_secret=wrong)
    api.client.get(TOKEN_PATH, params={"client_secret": api.key.secret})
    api.client.post(GRAPHQL_PATH, headers={"Authorization": f"Bearer {granted}x"}, content=b"{}")
    caller = Api(api.client, api.service, api.key, granted, asked=api.asked + 100)
    report = caller.finished()
    link = caller.link(report)
    caller.graphql(ASK, {"input": {**INPUT, "clientMutationId": granted, "metrics": [api.key.secret]}})
    caller.graphql(f'{{ partner {{ reportFile(reportToken: "{report}") {{ nothing }} }} }}')
    api.client.get(link)
    api.client.get(link + "0")
    logging.getLogger("some.library").warning("posting %s to %s", {"Authorization": f"Bearer {granted}"}, link)
    structlog.get_logger().info("whatever", token=report, nested={"secret": api.key.secret, "url": link})
    signature = link.rpartition("=")[2]
    for secret in (api.key.secret, granted, report, signature, wrong):
        assert secret not in log.getvalue()
    routes = {line.get("route") for line in lines(log)}
    assert {TOKEN_PATH, GRAPHQL_PATH, "/files"} <= routes


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:8642/files", "http://127.0.0.1:8642/files"),
        ("postgresql://me:pass@host:5432/db", "postgresql://me:[hidden]@host:5432/db"),
        ("Authorization: bearer abc.def", "Authorization: bearer [hidden]"),
        ('{"t": "rpt_abc", "r": "rpr_def"}', '{"t": "rpt_[hidden]", "r": "rpr_[hidden]"}'),
        (
            "/files/a.csv?expires=1&key=rpk_a&signature=ab12&x=1",
            "/files/a.csv?expires=1&key=rpk_a&signature=[hidden]&x=1",
        ),
        ("client_secret=abc&scope=x", "client_secret=[hidden]&scope=x"),
        ("rpk_abc asked", "rpk_abc asked"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(given: str, kept: str) -> None:
    """And nothing else of the line."""
    assert logs.redact_text(given) == kept


def test_a_long_text_is_cut(log: io.StringIO) -> None:
    """No single line can fill the log."""
    structlog.get_logger().info("x" * 1_000_000)
    assert len(log.getvalue()) < 5000


def test_a_line_is_one_json_object(log: io.StringIO) -> None:
    """Line ends of a text are escaped, and what isn't JSON is written as text."""
    structlog.get_logger().warning("two\nlines", path=Path("/x"), codes={Code.SYNTAX}, number=1.5, none=None)
    (line,) = lines(log)
    assert (line["event"], line["level"]) == ("two\nlines", "warning")
    assert (line["path"], line["codes"], line["number"], line["none"]) == ("/x", ["syntax_error"], 1.5, None)


def test_a_failure_is_in_the_log_and_not_in_the_answer(api: Api, tmp_path: Path) -> None:
    """A state that can't be read is 503 with a code on GraphQL and the token endpoint, and 503 for health."""
    settings = replace(api.service.settings, data=tmp_path / "broken")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        organizations.add_organization(service.db, "demo", datetime.now(UTC))
        key = keys.create_key(service.db, service.service_secret, "demo", REPORT_SCOPES, datetime.now(UTC))
        broken = Api(client, service, key)
        broken.token = broken.grant().json()["access_token"]
        written = io.StringIO()
        logs.configure(settings, written)
        with service.db.begin() as connection:
            connection.execute(text("DROP TABLE readable_channels"))
        reply = broken.post(b'{"query": "{ partner { id } }"}')
        assert reply.headers["reelport-version"]
        assert "readable" not in reply.text
        assert reply.status_code in {500, 503}
        assert reply.json()["errors"][0]["extensions"]["code"] in {"internal_error", "unavailable"}
        with service.db.begin() as connection:
            connection.execute(text("DELETE FROM keys"))
            connection.execute(text("DROP TABLE keys"))
        reply = broken.grant()
        assert "keys" not in reply.json()["error_description"]
        assert reply.status_code in {500, 503}
        assert "no such table" in written.getvalue()
        unusable = [line for line in lines(written) if line["event"] == "the state can't be used"]
        assert len(unusable) == 2, "the request to each endpoint is one line"
        assert all("no such table" in str(line["reason"]) and "exception" not in line for line in unusable)
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


def test_a_defect_is_answered_in_the_form_of_its_address_and_with_a_length(api: Api) -> None:
    """By the length a client of HTTP/1.0 sees that an answer was cut."""

    async def fail(_: Request) -> Response:
        raise ZeroDivisionError

    kinds = {GRAPHQL_PATH: "application/json", "/v1/reports/x": "application/problem+json", "/x": "application/json"}
    app = Starlette(routes=[Route(path, fail) for path in kinds], middleware=[Middleware(RequestLog)])
    app.state.service = api.service
    client = TestClient(app, raise_server_exceptions=False)
    client.event_hooks = {"response": [require_length]}
    for path, kind in kinds.items():
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (500, kind)


def test_a_field_that_fails_is_an_internal_error_of_that_field(api: Api, log: io.StringIO) -> None:
    """The others are answered; the cause is in the log alone."""
    report = api.finished()
    with api.service.db.begin() as connection:
        connection.execute(text("UPDATE reports SET status = 'FAILED', reason = 'x', channels = 'no JSON'"))
    good, bad = (f'reportFile(reportToken: "{token}") {{ id }}' for token in ("unknown", report))
    answer = api.graphql(f"{{ partner {{ id good: {good} bad: {bad} }} }}")
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["partner", "bad"], "internal_error")
    assert "JSON" not in json.dumps(answer)
    assert answer["data"]["partner"]["id"]
    assert "JSONDecodeError" in log.getvalue()


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


def test_a_caller_has_one_address_at_a_socket_of_both_versions() -> None:
    """There IPv4 addresses come as IPv6 ones, those of trusted proxies and those that proxies forward too."""
    seen: list[tuple[str, str]] = []

    async def show(scope: dict[str, Any], _receive: object, send: Callable[[object], Any]) -> None:
        seen.append((scope["client"][0], scope["scheme"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        config = uvicorn.Config(show, log_config=None, lifespan="off", forwarded_allow_ips="127.0.0.1")
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
            port = listener.getsockname()[1]
            server = await loop.create_server(lambda: Connection(config, state, {}), sock=listener)
            for header in (b"", b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n" + header + b"\r\n")
                assert b" 204 " in await reader.readuntil(b"\r\n\r\n")
                writer.close()
            server.close()

    asyncio.run(run())
    assert seen == [("127.0.0.1", "http"), ("192.0.2.7", "https")]


@contextmanager
def committing(settings: Settings) -> Iterator[None]:
    """Another process's connection in the middle of a commit."""
    other = sqlite3.connect(settings.state_file, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        other.close()


def test_a_look_and_a_token_wait_for_nobody_who_commits(api: Api) -> None:
    """With the write-ahead log they are answered meanwhile."""
    token = api.finished()
    before = api.graphql(LOOK, {"reportToken": token})
    with committing(api.service.settings):
        looked = api.graphql(LOOK, {"reportToken": token})
        assert api.grant().status_code == 200
    looked, before = (each["data"]["partner"]["reportFile"] for each in (looked, before))
    assert looked["status"] == before["status"]
