"""A public key end to end: the client, the command line and a plain OAuth client against a real service."""

from __future__ import annotations

import json
import os
import sqlite3
import urllib.request
from contextlib import closing
from datetime import date
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests import forked
from tests.warm_service import Service

from reelport import AccessError, Client, Dimension, Metric, Proof, ReportQuery
from reelport.testing import Key
from reelport.wire import PUBLIC_TOKEN_PATH

EMAIL, PASSWORD, WRONG = "ann@demo.example", "correct horse battery", "wrong as can be"
QUERY = ReportQuery.of([Metric.VIEWS], [Dimension.DAY], date(2026, 1, 1), date(2026, 1, 3))


@pytest.fixture(scope="module")
def service(sampled: Service) -> Service:
    """A service with sample facts and a user, whose tokens live two seconds."""
    sampled.user("demo", EMAIL, PASSWORD)
    return sampled


@pytest.fixture(scope="module")
def key(service: Service) -> Key:
    return service.key("demo", kind="public")


def test_the_client_signs_in_and_goes_on_by_refresh_token(service: Service, key: Key, tmp_path: Path) -> None:
    """Its file is whole; when its token has expired, it gets the next one by the refresh token."""
    with Client(service.url, key.id, key.secret, username=EMAIL, password=PASSWORD) as client:
        assert client.reports.run(QUERY, tmp_path / "a.csv", deadline=300).proof is Proof.CHECKSUM
        before = _count_replaced(service)
        while _count_replaced(service) == before:
            client.reports.run(QUERY, tmp_path / "b.csv", deadline=300)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_wrong_password_is_told(service: Service, key: Key, tmp_path: Path) -> None:
    """With what to check, and without the password."""
    with (
        Client(service.url, key.id, key.secret, username=EMAIL, password=WRONG) as client,
        pytest.raises(AccessError, match="REELPORT_PASSWORD") as refused,
    ):
        client.reports.run(QUERY, tmp_path / "c.csv")
    assert WRONG not in str(refused.value)


def test_the_command_line_takes_a_public_key(service: Service, key: Key, tmp_path: Path) -> None:
    """Four variables are all that it needs."""
    login = {"REELPORT_USERNAME": EMAIL, "REELPORT_PASSWORD": PASSWORD, "REELPORT_URL": service.url}
    environment = os.environ | login | {"REELPORT_API_KEY": key.id, "REELPORT_API_SECRET": key.secret}
    query = ["--metrics", "VIEWS", "--dimensions", "DAY", "--start", "2026-01-01", "--end", "2026-01-03"]
    done = forked.run(["-m", "reelport", "report", "run", *query, "-o", "d.csv"], cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "d.csv").read_text().startswith("day,views\n2026-01-01,")


def test_scopes_that_were_asked_for_are_named(service: Service, key: Key) -> None:
    """Strict OAuth libraries refuse a token of other scopes; whoever names none gets the documented empty text."""
    login = {"grant_type": "password", "username": EMAIL, "password": PASSWORD}
    assert _request(service, key, **login)["scope"] == ""
    said = _request(service, key, **login, scope="read_reports create_reports")
    assert said["scope"] == "create_reports read_reports"
    again = {"grant_type": "refresh_token", "refresh_token": said["refresh_token"], "scope": "create_reports"}
    assert _request(service, key, **again)["scope"] == "create_reports"


def _request(service: Service, key: Key, **form: str) -> dict[str, str]:
    body = urlencode({"client_id": key.id, "client_secret": key.secret, **form}).encode()
    with urllib.request.urlopen(service.url + PUBLIC_TOKEN_PATH, body) as reply:
        said: dict[str, str] = json.load(reply)
        return said


def _count_replaced(service: Service) -> int:
    """Count the refresh tokens that were used."""
    with closing(sqlite3.connect(service.settings.state_file)) as state:
        count: int = state.execute("SELECT count(*) FROM refresh_tokens WHERE replaced_at IS NOT NULL").fetchone()[0]
        return count
