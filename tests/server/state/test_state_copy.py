"""`reelport state copy`: a whole state from SQLite to PostgreSQL and back, all of it or nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, event, text
from starlette.testclient import TestClient
from tests.server.api import Api
from tests.server.conftest import NOW, State

from reelport import killpoints
from reelport.errors import UsageError
from reelport.server.access import audit_log, keys, organizations, users
from reelport.server.access.audit_log import Action
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.app import create_app
from reelport.server.events import Kind, subscribe
from reelport.server.files.report_files import FileRecord
from reelport.server.http.service import Service
from reelport.server.queue import jobs
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import StateUnavailable, connect, connected, open_database, reading, writing
from reelport.server.state.revisions import REVISION
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.server.state.state_copy import copy_state
from reelport.server.state.tables import METADATA
from reelport.wire import LOOK

Rows = dict[str, list[tuple[object, ...]]]

STRANGE = "Ünï\u2028cödé 🎬 'quoted' \\ \t,"


@pytest.fixture
def target(new_database: Callable[..., str], tmp_path: Path) -> Settings:
    """An empty PostgreSQL, of a service that has no data directory yet."""
    return read_settings(data=tmp_path / "moved", database_url=new_database())


@pytest.fixture
def filled(state: State) -> State:
    """A SQLite state with rows in every table: a finished, a running and a waiting report, and texts of all sorts."""
    require_same_secret(state.db, state.settings)
    first = state.organization("demo", "c1", "c2")
    state.organization("gone")
    state.organization("Ünïcödé 🎬 'quoted' \\", "c3")
    caller = state.caller(state.key("demo"))
    state.key("demo", channels=("c1",))
    users.add_user(state.db, "demo", "o@example.com", "owner", "a long password", NOW)
    finished = state.ask(caller, 1).id
    state.ask(caller, 2)
    for number in range(2):
        claim = jobs.claim(state.db, "host-1-a", running=9, lease_seconds=3600)
        assert claim is not None
        if number == 0:
            assert jobs.finish(state.db, claim, FileRecord(f"{finished}-1.csv", 2**40, 2**41, "ab" * 32), NOW)
    state.ask(caller, 3)
    with writing(state.db) as connection:
        audit_log.record_command(connection, first, Action.CHANNELS_REMOVED, STRANGE, {"n": 1})
        for sql in _MORE:
            connection.execute(text(sql))
    rows = read_rows(state.settings)
    assert all(rows.values()), rows
    return state


_USER = "(SELECT id FROM users)"
_MORE = (
    f"INSERT INTO sessions VALUES ('h', 'i', {_USER}, 9007199254740993, 0, 1, 253402300799999, '::1', '', 1, 2, 'so')",
    f"INSERT INTO password_links VALUES ('h', {_USER}, 1, 2)",
    f"INSERT INTO authenticators VALUES ({_USER}, 'ab', 1, 59000000)",
    f"INSERT INTO passkeys VALUES ('c', 'i', {_USER}, 'localhost', 'k', 4294967295, 'n', 1, NULL)",
    f"INSERT INTO recovery_codes VALUES ('h', {_USER}, 1)",
    "INSERT INTO saved_views VALUES ('s', 1, 'n', '', 'c', 1, 'f', 2)",
    "INSERT INTO shared_views VALUES ('s', 'h', 1, 'n', '', '[]', 'c', 1, 2, NULL, 4611686018427387904, NULL, '')",
    f"INSERT INTO refresh_tokens VALUES ('h', 'f', (SELECT min(id) FROM keys), {_USER}, -1, '', 1, 2, NULL)",
    "INSERT INTO attempts VALUES ('ab', 1700000000001, 360000)",
    "INSERT INTO moments VALUES ('time', 1700000000001)",
    "INSERT INTO workers VALUES ('host-1-a', 1700000000001)",
    "INSERT INTO chores VALUES ('sweep', 5)",
    "INSERT INTO identities VALUES ('tables', 'ab12')",
    "INSERT INTO forms SELECT id, '.parquet', 1, 2, 2, 1, NULL, NULL, NULL, 'f', 4611686018427387904, 'a' FROM reports",
    "DELETE FROM organizations WHERE name = 'gone'",
)


def read_rows(settings: Settings) -> Rows:
    """Every row of every table, as the database's own driver gives it; nothing is changed by that."""
    db = open_database(settings)
    with reading(db) as connection:
        rows = {name: connection.execute(text(_all_of(name))).all() for name in METADATA.tables}
    db.dispose()
    return {name: sorted(map(tuple, found), key=repr) for name, found in rows.items()}


def _all_of(name: str) -> str:
    columns = ", ".join(column.name for column in METADATA.tables[name].columns)
    return f"SELECT {columns} FROM {name}"


def holds_nothing(settings: Settings) -> bool:
    """Whether there is no table in a database."""
    db = open_database(settings)
    with reading(db) as connection:
        where = "pg_tables WHERE schemaname = 'public'" if settings.database_url else "sqlite_master"
        found: int = connection.execute(text(f"SELECT count(*) FROM {where}")).scalar_one()
    db.dispose()
    return found == 0


def set_aside(settings: Settings) -> Path:
    """Move a SQLite state away, as an operator does before another one is copied to its place."""
    return settings.state_file.rename(settings.state_file.with_suffix(".before"))


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_round_trip_gives_equal_rows(filled: State, target: Settings) -> None:
    """Of every table and type: flags, times to the millisecond and up to the year 9999, texts, empty cells."""
    rows = read_rows(filled.settings)
    copied = copy_state(filled.settings, target)
    assert copied.rows == {name: len(found) for name, found in rows.items()}
    assert read_rows(target) == rows
    set_aside(filled.settings)
    copy_state(target, filled.settings)
    assert read_rows(filled.settings) == rows


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_process_that_has_just_hung_up_uses_no_state(filled: State, target: Settings) -> None:
    """PostgreSQL lists its session for a moment more: whoever stops a service and copies is not refused."""
    copy_state(filled.settings, target)
    set_aside(filled.settings)
    held = psycopg.connect(target.database_url)

    def hang_up(_connection: object, _cursor: object, sql: str, *_: object) -> None:
        if "pg_stat_activity" in sql:  # that is, after the first look
            held.close()

    event.listen(Engine, "after_cursor_execute", hang_up)
    try:
        copied = copy_state(target, filled.settings)
    finally:
        event.remove(Engine, "after_cursor_execute", hang_up)
        held.close()
    assert copied.rows["organizations"] == 2


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_numbers_go_on_after_the_last_one(filled: State, target: Settings, new_database: Callable[..., str]) -> None:
    """PostgreSQL gives no number a second time: not one that came over, nor one whose row is gone since."""
    copy_state(filled.settings, target)
    with connected(target) as db:
        assert organizations.add_organization(db, "next", NOW).id == 4
        with writing(db) as connection:
            connection.execute(text("DELETE FROM organizations WHERE id = 4"))
    other = replace(target, database_url=new_database())
    copy_state(target, other)
    with connected(other) as db:
        assert organizations.add_organization(db, "next", NOW).id == 5


def test_the_service_runs_on_with_old_tokens_and_links(new_database: Callable[..., str], tmp_path: Path) -> None:
    """In PostgreSQL, and back in SQLite: a key, a report token and a link that were given before the move."""
    settings = read_settings(data=tmp_path / "data", workers=0, link_seconds=10**6)
    moved = replace(settings, database_url=new_database())
    with TestClient(app := create_app(settings)) as client:
        service: Service = app.state.service
        organizations.allow_channels(service.db, organizations.add_organization(service.db, "demo", NOW).id, ["c"])
        key = keys.create_key(service.db, service.service_secret, "demo", REPORT_SCOPES, NOW)
        api = Api(client, service, key)
        api.token = api.grant().json()["access_token"]
        finished, waiting = api.finished(), api.ask(**api.new())
        link = api.link(finished)
    unmade = waiting["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    for source, place in ((settings, moved), (moved, settings)):
        if not place.database_url:
            set_aside(place)
        copy_state(source, place)
        with TestClient(app := create_app(place)) as client:
            api = Api(client, app.state.service, key, api.token, api.asked)
            assert client.get(link).text == "day,views\n2026-01-01,3\n"
            assert api.link(finished)
            assert api.grant().status_code == 200
            status = api.graphql(LOOK, {"reportToken": unmade})["data"]["partner"]["reportFile"]["status"]
            assert status == ("IN_PROGRESS" if place is moved else "FINISHED")
            if place is moved:
                api.finish(b"day,views\n")
            assert api.link(unmade)
            assert api.finished()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_rows_of_a_target_are_counted_for_as_long_as_it_takes(filled: State, target: Settings) -> None:
    """A connection's patience ends at three times `tcp_user_timeout`: a count of many rows may take longer."""
    copy_state(filled.settings, target)
    with psycopg.connect(target.database_url, autocommit=True) as slow:
        slow.execute("DROP TABLE saved_views")
        slow.execute("CREATE VIEW saved_views AS SELECT 1 FROM pg_sleep(1)")
    hasty = replace(target, database_url=f"{target.database_url}?tcp_user_timeout=100")
    refused: list[str] = []
    for _ in range(20):
        # On a busy machine any other statement may be what takes so long.
        with pytest.raises((UsageError, StateUnavailable)) as error:
            copy_state(filled.settings, hasty)
        refused.append(str(error.value))
        if error.type is UsageError:
            break
    assert re.search(r"isn't empty: .*saved_views holds 1 row", refused[-1]), refused


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_what_cant_be_copied_is_told_at_once(filled: State, target: Settings, tmp_path: Path) -> None:
    """Before anything is written, every reason together; and neither database changes."""
    rows = read_rows(filled.settings)

    def refusal(source: Settings, to: Settings) -> str:
        with pytest.raises(UsageError) as refused:
            copy_state(source, to)
        return str(refused.value)

    assert refusal(read_settings(data=tmp_path / "none"), target).count("is no data directory") == 1
    assert "holds no state" in refusal(target, filled.settings)
    assert "organizations holds 2 rows" in refusal(filled.settings, filled.settings)
    assert "another secret than REELPORT_SECRET" in refusal(filled.again(secret="s" * 40), target)
    assert holds_nothing(target)
    with psycopg.connect(target.database_url, autocommit=True) as stranger:
        stranger.execute("CREATE TABLE strangers (n int)")
    assert "it holds the table strangers" in refusal(filled.settings, target)
    with psycopg.connect(target.database_url, autocommit=True) as stranger:
        stranger.execute("DROP TABLE strangers")
    connect(target).dispose()
    with writing(filled.db) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with connected(target) as db:
        organizations.add_organization(db, "other", NOW)
    told = refusal(filled.settings, target).splitlines()
    assert [("9999" in line, "isn't empty" in line) for line in told] == [(True, False), (False, True)]
    with writing(filled.db) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": REVISION})
    assert read_rows(filled.settings) == rows


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_state_in_use_is_not_copied(filled: State, target: Settings) -> None:
    """With SQLite a process that hears of events uses it, unless it was killed, with PostgreSQL one with a session."""
    with subscribe(filled.db, Kind.REPORT_ENDED), pytest.raises(UsageError, match=f"stop process {os.getpid()} first"):
        copy_state(filled.settings, target)
    os.mkfifo(filled.settings.workers_root / f"1-dead.{Kind.REPORT_ENDED}.pipe")
    copy_state(filled.settings, target)
    set_aside(filled.settings)
    with connected(target) as db, reading(db), pytest.raises(UsageError, match=r"stop reelport \(\d+\) first"):
        copy_state(target, filled.settings)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_copy_that_is_killed_leaves_nothing(filled: State, target: Settings) -> None:
    """In either direction, when rows of the first tables have come over; the next copies all and says what now."""
    rows = read_rows(filled.settings)

    def copy(source: str, to: str, **more: str) -> int:
        words = [sys.executable, "-m", "reelport", "state", "copy", source, to]
        done = subprocess.run(words, env={**os.environ, **more}, check=False, capture_output=True, text=True)
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        assert done.returncode != 0 or "Now start the service on" in done.stderr
        return done.returncode

    folder, address = str(filled.settings.data), target.database_url
    assert copy(folder, address, **{killpoints.VARIABLE: "copy"}) == -signal.SIGKILL
    assert holds_nothing(target)
    assert copy(folder, address) == 0
    set_aside(filled.settings)
    assert copy(address, folder, **{killpoints.VARIABLE: "copy"}) == -signal.SIGKILL
    assert holds_nothing(filled.settings)
    assert copy(address, folder) == 0
    assert read_rows(filled.settings) == rows
