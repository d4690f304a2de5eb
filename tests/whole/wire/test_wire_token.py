"""The token endpoint over a real socket, in every way that a client in the wild uses it."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse

import pytest
from tests import forked
from tests.warm_service import Service

from .conftest import GRAPHQL, TOKEN, Wire

KEYS = ["access_token", "expires_in", "refresh_token", "scope", "token_type"]
REPORT_SCOPES = "create_reports read_reports delete_reports access_ads access_revenue manage_reports"


@pytest.mark.parametrize("header", ["application/x-www-form-urlencoded", "application/json", "text/plain"])
def test_a_form_is_read_under_any_header(wire: Wire, header: str) -> None:
    """The old guide's sample posts a form as JSON."""
    body = urllib.parse.urlencode(wire.form()).encode()
    reply = wire.send("POST", TOKEN, body, {"Content-Type": header})
    assert (reply.status, sorted(reply.json)) == (200, KEYS)
    assert reply.json["refresh_token"] is None
    assert (reply.json["expires_in"], reply.json["token_type"]) == (3600, "Bearer")


def test_a_form_in_parts_is_read(wire: Wire) -> None:
    """One client seen sends multipart."""
    parts = "".join(
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in wire.form().items()
    )
    header = {"Content-Type": "multipart/form-data; boundary=edge"}
    reply = wire.send("POST", TOKEN, f"{parts}--edge--\r\n".encode(), header)
    assert (reply.status, sorted(reply.json)) == (200, KEYS)


def test_json_is_read(wire: Wire) -> None:
    """A real JSON object under its own header."""
    reply = wire.send("POST", TOKEN, json.dumps(wire.form()).encode(), {"Content-Type": "application/json"})
    assert (reply.status, sorted(reply.json)) == (200, KEYS)


def test_basic_credentials_are_taken(wire: Wire) -> None:
    """As RFC 6749 prefers."""
    pair = base64.b64encode(f"{wire.key.id}:{wire.key.secret}".encode()).decode()
    body = b"grant_type=client_credentials&scope=create_reports"
    reply = wire.send("POST", TOKEN, body, {"Authorization": f"Basic {pair}"})
    assert (reply.status, sorted(reply.json)) == (200, KEYS)


def test_scopes_come_in_any_order_and_unknown_ones_are_left_out(wire: Wire) -> None:
    """What is granted is told."""
    reply = wire.grant(scope="access_ads nonsense create_reports also_unknown")
    assert reply.json["scope"].split() == ["create_reports", "access_ads"]


def test_scopes_that_the_key_lacks_are_left_out(service: Service) -> None:
    """A key of two scopes grants two, whatever is asked, beside the word that stands for them."""
    reply = Wire(service, service.key("demo", ["read_reports", "create_reports"])).grant(scope=REPORT_SCOPES)
    assert reply.json["scope"].split() == ["create_reports", "read_reports", "manage_reports"]


def test_a_refresh_with_a_wrong_token_is_a_json_error(wire: Wire) -> None:
    """Status 400, invalid_grant; and with null, as a client that trusts our reply would send it."""
    for refresh in ("wrong", "None"):
        reply = wire.grant(grant_type="refresh_token", refresh_token=refresh)
        assert (reply.status, reply.json["error"]) == (400, "invalid_grant")


def test_manage_reports_stands_for_every_scope_of_the_key(service: Service) -> None:
    """A program in production sends only that with create_reports, and reads earnings."""
    dates = 'startDate: "2026-01-01", endDate: "2026-01-02"'
    wire = f"{{metrics: [ESTIMATED_EARNINGS_EUR], dimensions: [DAY], {dates}}}"
    ask = f"mutation {{ askPartnerReportFile(input: {wire}) {{ reportFile {{ reportToken }} }} }}"
    without_the_word = ["create_reports", "read_reports", "delete_reports", "access_ads", "access_revenue"]
    for full in (Wire(service, service.key("demo")), Wire(service, service.key("demo", without_the_word))):
        full.token = full.fresh("manage_reports create_reports")
        assert "errors" not in full.graphql(ask)
        full.token = full.fresh("create_reports delete_reports")
        assert [e["extensions"]["code"] for e in full.graphql(ask)["errors"]] == ["scope_missing"]
    poor = Wire(service, service.key("demo", ["create_reports", "manage_reports"]))
    poor.token = poor.fresh()
    assert "access_revenue" in poor.graphql(ask)["errors"][0]["message"]


def test_a_revoked_keys_tokens_end_at_once(service: Service) -> None:
    """The very next request is 401 with an errors list and a challenge."""
    revoked = Wire(service, service.key("demo"))
    assert "errors" not in revoked.graphql("{ partner { id } }")
    words = ["-m", "reelport", "key", "revoke", revoked.key.id, "--data", str(service.data)]
    assert forked.run(words, loads=forked.SERVING).returncode == 0
    reply = revoked.post({"query": "{ partner { id } }"})
    assert reply.status == 401
    assert reply.json["errors"][0]["extensions"]["code"] == "unauthenticated"
    assert reply.headers["www-authenticate"].startswith("Bearer ")
    assert revoked.grant().json["error"] == "invalid_client"


def test_an_expired_token_is_401() -> None:
    """A token lives as long as the setting says."""
    with Service(token_seconds=1, workers=0) as short:
        short.organization("demo")
        wire = Wire(short, short.key("demo"))
        granted = wire.grant().json
        assert granted["expires_in"] == 1
        wire.token = granted["access_token"]
        time.sleep(1.1)
        reply = wire.post({"query": "{ partner { id } }"})
        assert reply.status == 401
        assert "invalid_token" in reply.headers["www-authenticate"]


def test_an_absent_or_wrong_bearer_is_401_with_errors(wire: Wire) -> None:
    """Never a redirect, never a page."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {wire.key.id}"}):
        reply = wire.send("POST", GRAPHQL, b'{"query": "{ partner { id } }"}', headers)
        assert (reply.status, list(reply.json)) == (401, ["data", "errors"])
        assert reply.headers["www-authenticate"].startswith("Bearer ")
