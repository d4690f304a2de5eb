"""This version beside the next one: what runs goes on, what starts is refused.

The next version's migration is made here: columns, a table and an index more, and a revision that nobody knows yet.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import text
from tests import forked
from tests.server.api import Api, api

from reelport.errors import NewerData
from reelport.server.access import keys
from reelport.server.state.database import connect, writing

__all__ = ["api"]

NEXT = (
    "ALTER TABLE reports ADD COLUMN later TEXT",
    "ALTER TABLE jobs ADD COLUMN later INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE keys ADD COLUMN later TEXT",
    "CREATE TABLE later (id INTEGER PRIMARY KEY)",
    "CREATE INDEX ix_reports_later ON reports (later)",
    "UPDATE alembic_version SET version_num = '9999'",
)


@pytest.fixture(scope="module")
def upgraded(api: Api) -> tuple[Api, str]:
    """A running API, under which the next version has migrated the state; and a report that was asked for before."""
    before: str = api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    with writing(api.service.db) as connection:
        for statement in NEXT:
            connection.execute(text(statement))
    return api, before


def test_processes_that_run_go_on_after_the_next_versions_migration(upgraded: tuple[Api, str]) -> None:
    """They grant tokens, take reports, make those that waited, hand them out; one that starts is refused."""
    running, before = upgraded
    running.token = running.grant().json()["access_token"]
    token = running.finished(b"day,views\n2026-01-01,3\n", complete=date(2026, 1, 1))
    for each in (before, token):
        assert running.client.get(running.link(each)).content == b"day,views\n2026-01-01,3\n"
    assert "reelport_jobs" in running.client.get("/metrics").text
    assert [key.id for key in keys.list_keys(running.service.db)] == [running.key.id]
    with pytest.raises(NewerData, match="update Reelport"):
        connect(running.service.settings)


def test_commands_of_tables_alone_run_on_and_others_are_refused(upgraded: tuple[Api, str], tmp_path: Path) -> None:
    """As the page on upgrades says: a nightly load by the older program goes on, a list of keys doesn't."""
    data = ["--data", str(upgraded[0].service.settings.data)]
    names = "started_at,video_id,owner_channel_id,media_type,views,time_watched_seconds"
    (tmp_path / "plays.csv").write_text(f"{names}\n2026-01-01T05:00:00Z,v,c1,video,3,1\n", "utf-8")
    for words in (["load", "plays", str(tmp_path / "plays.csv")], ["compact"], ["vacuum"]):
        done = forked.run(["-m", "reelport", *words, *data], loads=forked.LOADING)
        assert done.returncode == 0, done.stderr
    done = forked.run(["-m", "reelport", "key", "list", *data], loads=forked.LOADING)
    assert (done.returncode, "update Reelport" in done.stderr) == (1, True)
