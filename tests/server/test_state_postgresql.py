"""A whole service whose state is in PostgreSQL, with a worker that runs elsewhere."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, event

from reelport.engine.outlet import Written
from reelport.errors import StorageError
from reelport.query import ReportQuery
from reelport.server import access, credentials, files, jobs, partners, reports, retention
from reelport.server.access import Caller, Grant
from reelport.server.database import connect
from reelport.server.settings import Settings, read
from reelport.wire import ReportStatus


def _caller(db: Engine, settings: Settings) -> Caller:
    seal, now = credentials.seal(settings), datetime.now(UTC)
    partners.add_organization(db, "demo", now)
    key = partners.create_key(db, seal, "demo", ["create_reports"], now)
    granted = access.grant(db, seal, key.id, key.secret, [], now)
    assert isinstance(granted, Grant)
    caller = access.bearer(db, seal, granted.token, now)
    assert caller is not None
    return caller


def _finished(db: Engine, caller: Caller, token: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = reports.look(db, caller, token, datetime.now(UTC))
        if found is not None and found.status is ReportStatus.FINISHED:
            return True
        time.sleep(0.01)
    return False


def test_worker_elsewhere_hears_of_work_by_notify(new_database: Callable[[], str], tmp_path: Path) -> None:
    """No bell reaches it, its own looks are seconds apart, and yet it is at work at once; SIGTERM ends it in order."""
    settings = read(data=tmp_path / "data", database_url=new_database(), secret="s" * 32)
    db = connect(settings)
    caller = _caller(db, settings)
    with tempfile.TemporaryFile() as log:
        words = [sys.executable, "-m", "reelport", "worker"]
        worker = subprocess.Popen(words, env=settings.environment(), stdin=subprocess.DEVNULL, stderr=log)
        try:
            queries = [
                ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, day), date(2026, 1, day)) for day in (1, 2, 3, 4)
            ]
            first = reports.ask(db, settings, caller, queries[0], datetime.now(UTC))
            assert _finished(db, caller, first.token, 20)
            (bell,) = settings.workers_root.glob("*.bell")
            bell.rename(bell.with_suffix(".silent"))
            waits = []
            for query in queries[1:]:
                started = time.monotonic()
                asked = reports.ask(db, settings, caller, query, datetime.now(UTC))
                assert _finished(db, caller, asked.token, 20)
                waits.append(time.monotonic() - started)
            assert sorted(waits)[1] < 0.5
        finally:
            worker.terminate()
            assert worker.wait(15) == 0
    db.dispose()


def test_file_published_while_orphans_are_looked_for_is_kept(new_database: Callable[[], str], tmp_path: Path) -> None:
    """Between two looks into the state its attempt may end: the file is then the report's, and nobody's orphan."""
    settings = read(data=tmp_path / "data", database_url=new_database())
    db = connect(settings)
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 1))
    reports.ask(db, settings, _caller(db, settings), query, datetime.now(UTC))
    claim = jobs.claim(db, "worker", running=2, lease_seconds=30)
    assert claim is not None
    draft = files.draft_path(settings, claim.report_id, claim.attempt)
    draft.parent.mkdir()
    draft.write_bytes(b"day,views\n")
    record = files.settle(draft, Written(0, 10, "ab"))
    worker = connect(settings)

    def publish(*_: object) -> None:
        assert jobs.finish(worker, claim, record, datetime.now(UTC))

    event.listen(db, "after_cursor_execute", publish, once=True)  # that is, after the first look
    assert retention.clean(db, settings) == 0
    assert files.path(settings, record.name).exists()
    worker.dispose()
    db.dispose()


def test_database_that_takes_no_writes_is_told(new_database: Callable[[], str], tmp_path: Path) -> None:
    """A standby, or a server that was set to read only, is a state that can't be used now, and no defect of ours."""
    settings = read(data=tmp_path / "data", database_url=new_database())
    connect(settings).dispose()
    name = settings.database_url.rpartition("/")[2]
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    db = connect(settings)
    with pytest.raises(StorageError, match="read-only"):
        jobs.due(db, "sweep", 60)
    db.dispose()


def test_database_that_goes_away_is_waited_for(new_database: Callable[[], str], tmp_path: Path) -> None:
    """Connections that the server ends are made anew; a report asked afterwards is made by the same worker."""
    settings = read(data=tmp_path / "data", database_url=new_database())
    db = connect(settings)
    caller = _caller(db, settings)
    words = [sys.executable, "-m", "reelport", "worker"]
    worker = subprocess.Popen(words, env=settings.environment(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 1))
        asked = reports.ask(db, settings, caller, query, datetime.now(UTC))
        assert _finished(db, caller, asked.token, 20)
        db.dispose()
        with psycopg.connect(settings.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        later = reports.ask(db, settings, caller, query.within(date(2026, 1, 2), date(2026, 1, 2)), datetime.now(UTC))
        assert _finished(db, caller, later.token, 20)
    finally:
        worker.terminate()
        assert worker.wait(15) == 0
    db.dispose()
