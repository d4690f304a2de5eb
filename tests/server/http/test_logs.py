"""No secret, token or signed link is ever in a log, and what fails is told to nobody but the log."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text
from starlette.testclient import TestClient
from tests.server.api import ASK, INPUT, Api

from reelport.server import logs
from reelport.server.access import keys, organizations
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.app import create_app
from reelport.wire import GRAPHQL_PATH, TOKEN_PATH, Code


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
