"""This version beside the next one: what runs goes on, what starts is refused.

The next version's migration is made here: columns, a table and an index more, in a revision that Alembic adds.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, text
from tests import forked
from tests.server.api import Api, api
from tests.server.state.first_tables import create_first_tables

from reelport.errors import NewerData, StorageError
from reelport.facts.layout import check_layout
from reelport.server.access import keys
from reelport.server.backup.restore import try_upgrade
from reelport.server.settings import Settings
from reelport.server.state.database import connect, open_database, reading, writing
from reelport.server.state.revisions import REVISION, Migration, list_pending, read_revision

__all__ = ["api"]

NEXT = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, backward_compatible = "next", "REVISION", True


def upgrade():
    op.add_column("reports", sa.Column("later", sa.Text()))
    op.add_column("jobs", sa.Column("later", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("keys", sa.Column("later", sa.Text()))
    op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True))
    op.create_index("ix_reports_later", "reports", ["later"])
"""


def migrate_to(connection: Connection, revision: str, added: Path | None = None) -> None:
    """Bring a state to a revision, one of a folder of further ones among them."""
    config = Config()
    config.set_main_option("script_location", "reelport.server.state:migrations")
    if added is not None:
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", f"reelport.server.state:migrations/versions\n{added}")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@pytest.fixture(scope="module")
def upgraded(api: Api, tmp_path_factory: pytest.TempPathFactory) -> tuple[Api, str]:
    """A running API, under which the next version has migrated the state; and a report that was asked for before."""
    before: str = api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    added = tmp_path_factory.mktemp("added")
    (added / "next.py").write_text(NEXT.replace("REVISION", REVISION), "utf-8")
    with writing(api.service.db) as connection:
        migrate_to(connection, "head", added)
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


@pytest.fixture
def scratch_database(kind: str, request: pytest.FixtureRequest) -> str | None:
    """An empty database where the state is PostgreSQL's."""
    return str(request.getfixturevalue("new_database")()) if kind == "postgresql" else None


def test_a_tried_upgrade_leaves_no_trace(settings: Settings, scratch_database: str | None, tmp_path: Path) -> None:
    """The state stays as it is, nothing is left beside it or at the scratch place."""
    connect(settings).dispose()
    before, scratch = set(settings.data.iterdir()), tmp_path / "scratch"
    scratch.mkdir()
    try_upgrade(settings, scratch, scratch_database)
    db = open_database(settings)
    with reading(db) as connection:
        assert read_revision(connection) == REVISION
    db.dispose()
    assert (set(settings.data.iterdir()), list(scratch.iterdir())) == (before, [])


def test_a_tried_upgrade_of_what_a_newer_version_wrote_is_refused(
    settings: Settings, scratch_database: str | None
) -> None:
    """A revision that this version doesn't know can't be upgraded by it."""
    db = connect(settings)
    with writing(db) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    db.dispose()
    with pytest.raises(NewerData, match="9999"):
        try_upgrade(settings, None, scratch_database)


def test_a_tried_upgrade_tells_of_rows_that_a_migration_can_not_take(
    settings: Settings, scratch_database: str | None
) -> None:
    """Here tables that are there already, with the revision lost: the state stays as it is."""
    db = connect(settings)
    with writing(db) as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    db.dispose()
    with pytest.raises(StorageError, match="exists"):
        try_upgrade(settings, None, scratch_database)


def columns_of(connection: Connection) -> dict[str, dict[str, str]]:
    """The type of each column of each table."""
    found = inspect(connection)
    return {
        name: {column["name"]: str(column["type"]) for column in found.get_columns(name)}
        for name in found.get_table_names()
    }


def test_a_compatible_migration_takes_nothing_from_older_processes(settings: Settings, tmp_path: Path) -> None:
    """Every column is still there with its type, and a row that names only those can be inserted as before.

    So it is from the first release's tables on, and with the migration that is made here.
    """
    check_layout(settings.data)
    (tmp_path / "next.py").write_text(NEXT.replace("REVISION", REVISION), "utf-8")
    db = open_database(settings)
    with writing(db) as connection:
        create_first_tables(connection)
    for step in (*list_pending("0001"), Migration("next", "", backward_compatible=True)):
        with reading(db) as connection:
            before = columns_of(connection)
        with writing(db) as connection:
            migrate_to(connection, step.revision, tmp_path)
        with reading(db) as connection:
            after = columns_of(connection)
            asks = _find_new_demands(connection, before)
        kept = all(columns.items() <= after.get(name, {}).items() for name, columns in before.items())
        assert step.backward_compatible == (kept and not asks), step
    db.dispose()


def _find_new_demands(connection: Connection, before: dict[str, dict[str, str]]) -> list[str]:
    """The new columns of older tables that a row must have a value for."""
    found = inspect(connection)
    return [
        f"{name}.{column['name']}"
        for name in before.keys() & set(found.get_table_names())
        for column in found.get_columns(name)
        if column["name"] not in before[name] and not column["nullable"] and column["default"] is None
    ]
