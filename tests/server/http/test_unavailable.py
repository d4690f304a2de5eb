"""What a request is answered that finds PostgreSQL away when it has been let in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from sqlalchemy import make_url
from starlette.testclient import TestClient
from tests.server.api import Api

from reelport.report_details import REPORTS_PATH
from reelport.server.access import keys, organizations
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.app import create_app
from reelport.server.settings import read_settings
from reelport.wire import GRAPHQL_PATH, LOOK


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
