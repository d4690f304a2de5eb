"""A whole service whose state is in PostgreSQL, with a worker that runs elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, event, text
from tests.callers import make_caller
from tests.patience import child, until

from reelport.engine.report_format import Written
from reelport.errors import StorageError
from reelport.query import ReportQuery
from reelport.server import credentials
from reelport.server.access import keys, organizations
from reelport.server.access.callers import Caller
from reelport.server.doctor.checks import run_checks
from reelport.server.files import report_files, retention
from reelport.server.queue import jobs
from reelport.server.reports import report_access
from reelport.server.reports.ask import ask_report
from reelport.server.settings import Settings, read_settings
from reelport.server.state import tallies
from reelport.server.state.database import connect, connected, reading, writing
from reelport.server.state.postgresql_engine import IDLE_SECONDS
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.server.state.tallies import Outcome
from reelport.server.state.write_probe import StateProbe
from reelport.storage.durable import private
from reelport.wire import ReportStatus


def _caller(db: Engine, settings: Settings) -> Caller:
    return make_caller(db, credentials.load_service_secret(settings))


def _finished(db: Engine, caller: Caller, token: str) -> bool:
    def ended() -> bool:
        found = report_access.find_report(db, caller, token, datetime.now(UTC))
        return found is not None and found.status is ReportStatus.FINISHED

    return until(ended)


@pytest.mark.long
def test_worker_elsewhere_makes_what_is_asked(new_database: Callable[[], str], tmp_path: Path) -> None:
    """It makes what is asked from another process, and SIGTERM ends it gracefully."""
    settings = read_settings(data=tmp_path / "data", database_url=new_database(), secret="s" * 32)
    db = connect(settings)
    caller = _caller(db, settings)
    with tempfile.TemporaryFile() as log:
        words = [sys.executable, "-m", "reelport", "worker"]
        worker = subprocess.Popen(words, env=settings.environment(), stdin=subprocess.DEVNULL, stderr=log)
        try:
            queries = [
                ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, day), date(2026, 1, day)) for day in (1, 2, 3, 4)
            ]
            for query in queries:
                asked = ask_report(db, settings, caller, query, datetime.now(UTC))
                assert _finished(db, caller, asked.token)
        finally:
            worker.terminate()
            assert worker.wait(300) == 0
    db.dispose()


@pytest.mark.long
def test_file_published_while_orphans_are_looked_for_is_kept(new_database: Callable[[], str], tmp_path: Path) -> None:
    """Between two looks into the state its attempt may end: the file is then the report's, and nobody's orphan."""
    settings = read_settings(data=tmp_path / "data", database_url=new_database())
    db = connect(settings)
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 1))
    ask_report(db, settings, _caller(db, settings), query, datetime.now(UTC))
    claim = jobs.claim(db, "worker", running=2, lease_seconds=30)
    assert claim is not None
    draft = report_files.prepare_draft(settings, claim.report_id, claim.attempt)
    draft.write_bytes(b"day,views\n")
    record = report_files.publish_draft(settings, draft, Written(0, 10, "ab"))
    worker = connect(settings)

    def publish(*_: object) -> None:
        assert jobs.finish(worker, claim, record, datetime.now(UTC))

    event.listen(db, "after_cursor_execute", publish, once=True)  # that is, after the first look
    assert retention.remove_orphans(db, settings) == 0
    assert (settings.files_root / record.name).exists()
    worker.dispose()
    db.dispose()


def test_database_that_takes_no_writes_is_told(new_database: Callable[[], str], tmp_path: Path) -> None:
    """A standby, or a server that was set to read only, is a state that can't be used now, and no defect of ours."""
    settings = read_settings(data=tmp_path / "data", database_url=new_database())
    connect(settings).dispose()
    name = settings.database_url.rpartition("/")[2]
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    db = connect(settings)
    with pytest.raises(StorageError, match="read-only"):
        jobs.claim_chore(db, "sweep", 60)
    assert not StateProbe(db).is_writable()
    assert [sentence for well, sentence in _told(settings)["database"] if not well and "read-write" in sentence]
    db.dispose()


@pytest.mark.long
def test_database_that_goes_away_is_waited_for(new_database: Callable[[], str], tmp_path: Path) -> None:
    """Connections that the server ends are made anew; a report asked afterwards is made by the same worker."""
    settings = read_settings(data=tmp_path / "data", database_url=new_database())
    db = connect(settings)
    caller = _caller(db, settings)
    words = [sys.executable, "-m", "reelport", "worker"]
    worker = subprocess.Popen(words, env=settings.environment(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 1))
        asked = ask_report(db, settings, caller, query, datetime.now(UTC))
        assert _finished(db, caller, asked.token)
        db.dispose()
        with psycopg.connect(settings.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        later = ask_report(db, settings, caller, query.within(date(2026, 1, 2), date(2026, 1, 2)), datetime.now(UTC))
        assert _finished(db, caller, later.token)
    finally:
        worker.terminate()
        assert worker.wait(300) == 0
    db.dispose()


def _told(settings: Settings) -> dict[str, list[tuple[bool, str]]]:
    """What doctor says of each thing."""
    told: dict[str, list[tuple[bool, str]]] = {}
    for found in run_checks(settings):
        told.setdefault(found.subject, []).append((found.well, found.sentence))
    return told


@pytest.mark.long
def test_doctor_says_of_a_new_database_that_it_is_new(new_database: Callable[[], str], tmp_path: Path) -> None:
    """Before the first start, with and without a data directory; then before the first key; then with one."""
    settings = read_settings(data=tmp_path / "data", database_url=new_database())
    for _ in range(2):
        told = _told(settings)
        assert all(well for findings in told.values() for well, _ in findings), told
        for subject in ("database", "data directory"):
            ((_, sentence),) = told[subject]
            assert "new" in sentence
        with private():
            settings.data.mkdir(exist_ok=True)
    db = connect(settings)
    elsewhere = read_settings(data=tmp_path / "mistyped", database_url=settings.database_url)
    ((well, sentence),) = _told(elsewhere)["data directory"]
    assert (well, "org add" in sentence) == (False, True), "whoever has a state has a directory too"
    settings.files_root.mkdir()
    for secret in (None, "s" * 32):
        settings = read_settings(data=settings.data, database_url=settings.database_url, secret=secret)
        told = _told(settings)
        assert [well for well, _ in (*told["database"], *told["files"])] == [True] * 4
        assert "no key yet" in told["database"][-1][1]
    organizations.add_organization(db, "demo", datetime.now(UTC))
    keys.create_key(db, require_same_secret(db, settings), "demo", ["create_reports"], datetime.now(UTC))
    assert _told(settings)["database"][-1] == (True, "Its keys were made under this secret.")
    other = read_settings(data=settings.data, database_url=settings.database_url, secret="o" * 32)
    assert "another secret" in _told(other)["database"][-1][1]
    db.dispose()


def test_the_short_scheme_is_the_long_one(new_database: Callable[[], str], tmp_path: Path) -> None:
    """Providers hand out addresses that begin with postgres://: state and worker take them."""
    address = new_database().replace("postgresql://", "postgres://")
    settings = read_settings(data=tmp_path / "data", database_url=address)
    db = connect(settings)
    assert organizations.add_organization(db, "demo", datetime.now(UTC)) in organizations.list_organizations(db)
    assert all(well for well, _ in _told(settings)["database"])
    db.dispose()


def test_a_user_that_may_make_no_tables_is_told_so(new_database: Callable[[], str], tmp_path: Path) -> None:
    """As PostgreSQL sets up a new user since its version 15: a sentence with what to grant, and not a defect."""
    address = new_database()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS plain")
        connection.execute("CREATE ROLE plain LOGIN")
    settings = read_settings(data=tmp_path / "data", database_url=address.replace("postgres@", "plain@"))
    with pytest.raises(StorageError, match="GRANT CREATE"):
        connect(settings)
    assert [well for well, _ in _told(settings)["database"]] == [True, False]
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO plain")
    connect(settings).dispose()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP OWNED BY plain")
        connection.execute("DROP ROLE plain")


def test_a_frozen_process_in_a_transaction_holds_up_nobody_for_as_long_as_a_lease(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    """The server ends a transaction that does nothing, and so lets go of its locks, before a lease runs out."""
    settings = read_settings(data=tmp_path / "data", database_url=new_database())
    db = connect(settings)
    with reading(db) as connection:
        limit = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    db.dispose()
    assert limit == f"{IDLE_SECONDS}s"
    assert settings.lease_seconds > IDLE_SECONDS


_FREEZE_IN_A_TRANSACTION = """
import os, signal
from reelport.server.settings import read_settings
from reelport.server.state import tallies
from reelport.server.state.database import connect, writing
from reelport.server.state.tallies import Outcome
with writing(connect(read_settings())) as connection:
    tallies.count_end(connection, Outcome.EXPIRED)
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif("REELPORT_OUTAGE_SECONDS" not in os.environ, reason="takes half a minute: make outages")
def test_counters_that_a_frozen_process_holds_are_let_go(
    new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every end of a report counts in the same rows: it waits for the process until the server ends its transaction."""
    settings = read_settings(data=tmp_path / "data", database_url=new_database())
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    db = connect(settings)
    with child(_FREEZE_IN_A_TRANSACTION), writing(db) as connection:
        tallies.count_end(connection, Outcome.EXPIRED)
    assert tallies.read_tallies(db).ended == {("expired", ""): 1}
    db.dispose()


_COUNT_AT_ONCE = """
from sqlalchemy import text
from reelport.server.settings import read_settings
from reelport.server.state import tallies
from reelport.server.state.database import connect, writing
with writing(connect(read_settings())) as connection:
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '5s'"))
    print("ready", flush=True)
    tallies.count_finished(connection, 1.0)
"""


def test_a_process_frozen_in_the_middle_of_several_counters_is_let_go(
    new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several statements in a row don't hide from the server that their transaction does nothing any more."""
    settings = read_settings(data=tmp_path / "data", database_url=new_database())
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    with connected(settings) as db, writing(db) as connection:
        tallies.count_finished(connection, 1.0)
    waiting = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
    session = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
    with (
        psycopg.connect(settings.database_url, autocommit=True) as look,
        psycopg.connect(settings.database_url) as lock,
    ):
        lock.execute("SELECT 1 FROM tallies FOR UPDATE")
        blocker = (lock.info.backend_pid,)
        with child(_COUNT_AT_ONCE) as counting:
            assert until(lambda: look.execute(waiting, blocker).fetchone())
            held = look.execute(waiting, blocker).fetchone()
            os.kill(counting.pid, signal.SIGSTOP)
            lock.rollback()
            assert until(lambda: look.execute(session, held).fetchone() is None)
