"""Health and metrics: what an operator's tools read."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import os
import re
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from sqlalchemy import event, text
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.disks import remount, small_disk
from tests.patience import until
from tests.server.api import Api

from reelport.facts.loading.load import load
from reelport.facts.log.freshness import tables_report
from reelport.server import logs
from reelport.server.app import create_app
from reelport.server.queue import liveness
from reelport.server.queue.liveness import hold_name, make_owner_name
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connect, writing
from reelport.server.state.write_probe import StateProbe


def record_heartbeat_elsewhere(settings: Settings) -> None:
    """Have a worker of another machine say that it is ready."""
    db = connect(settings)
    liveness.record_heartbeat(db, "elsewhere-7-abc")
    db.dispose()


def test_health_tells_every_part(tmp_path: Path) -> None:
    """200 when all are well: a worker elsewhere is one, though none is supervised here."""
    settings = read_settings(data=tmp_path, workers=0)
    with TestClient(create_app(settings)) as client:
        record_heartbeat_elsewhere(settings)
        reply = client.get("/health")
    assert (reply.status_code, reply.json()["status"]) == (200, "ok")
    assert reply.json()["checks"] == {"database": "ok", "data": "ok", "workers": "ok"}
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("workers", [0, 1])
def test_without_a_living_worker_the_service_isnt_well(tmp_path: Path, workers: int) -> None:
    """503 until one is warm, and again when it has gone; the process takes requests and is live all the time."""
    settings = read_settings(data=tmp_path, workers=workers)
    owner = make_owner_name(settings)

    def told() -> tuple[int, str]:
        reply = client.get("/health")
        return reply.status_code, reply.json()["checks"]["workers"]

    with TestClient(create_app(settings)) as client:
        db = connect(settings)
        assert told() == (503, "none is running")
        with hold_name(settings, owner):
            assert told() == (503, "starting")
            liveness.record_heartbeat(db, owner)
            assert told() == (200, "ok")
        assert told() == (503, "none is running"), "its heartbeat is fresh, but it died here"
        assert client.get("/health/ready").json() == {"status": "ok", "checks": {"database": "ok", "data": "ok"}}
        assert client.get("/health/live").status_code == 200
        db.dispose()


def test_a_worker_of_another_directory_of_this_host_counts(tmp_path: Path) -> None:
    """Two machines may have one name, and a machine two directories: the locks of the other one aren't here."""
    settings, other = (read_settings(data=tmp_path / name, workers=0) for name in ("api", "worker"))
    with TestClient(create_app(settings)) as client:
        other.data.mkdir()
        owner = make_owner_name(other)
        with hold_name(other, owner):
            db = connect(settings)
            liveness.record_heartbeat(db, owner)
            reply = client.get("/health")
            db.dispose()
    assert (reply.status_code, reply.json()["checks"]["workers"]) == (200, "ok")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_data_directory_that_cant_be_written_is_told(tmp_path: Path) -> None:
    """503 with the system's word for it."""
    settings = read_settings(data=tmp_path / "data", workers=0)
    with TestClient(create_app(settings)) as client:
        settings.data.chmod(0o500)
        reply = client.get("/health/ready")
        settings.data.chmod(0o700)
    assert (reply.status_code, reply.json()["status"]) == (503, "unavailable")


def test_a_data_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    """503, and the process goes on answering."""
    settings = read_settings(data=tmp_path / "data", workers=0)
    with TestClient(create_app(settings)) as client:
        settings.data.rename(tmp_path / "elsewhere")
        checks = client.get("/health/ready").json()["checks"]
        assert (checks["data"], checks["database"]) == ("isn't there", "can't be read")
        assert client.get("/health/live").status_code == 200


def test_a_database_that_is_no_more_is_told(tmp_path: Path) -> None:
    """A file of other bytes is not taken for a database, though it can be opened."""
    settings = read_settings(data=tmp_path / "data", workers=0)
    with TestClient(create_app(settings)) as client:
        # What is still in the log alone is right whatever the file holds.
        with contextlib.closing(sqlite3.connect(settings.state_file)) as state:
            state.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        settings.state_file.write_bytes(b"no database" * 10_000)
        reply = client.get("/health/ready")
    assert (reply.status_code, reply.json()["checks"]["database"]) == (503, "can't be read")


def database_check(client: TestClient) -> tuple[int, str]:
    """The status of /health/ready, and what it tells of the database."""
    reply = client.get("/health/ready")
    return reply.status_code, reply.json()["checks"]["database"]


def test_a_state_without_room_is_told_until_there_is_room(tmp_path: Path) -> None:
    """It can be read, so only a write shows it: 503, and 200 again with room."""
    with small_disk(tmp_path / "data", "4m") as disk:
        settings = read_settings(data=disk, workers=0)
        with TestClient(create_app(settings)) as client:
            assert database_check(client) == (200, "ok")
            with (disk / "all-of-it").open("wb", buffering=0) as file:

                def is_told_full() -> bool:
                    # What the service itself removes meanwhile makes room again.
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(b"x" * 4096)
                    return database_check(client) == (503, "can't be written")

                assert until(is_told_full)
            (disk / "all-of-it").unlink()
            assert until(lambda: database_check(client) == (200, "ok"))


def froze(disk: Path, app: Starlette) -> bool:
    """Make a disk read-only; False while a sweep or a probe of the service has a file of it open for writing."""
    app.state.service.db.dispose()
    gc.collect()  # a connection that was in use went back to the pool that was given up, and ends with it
    try:
        remount(disk, "ro")
    except subprocess.CalledProcessError:
        return False
    return True


def test_a_state_on_a_read_only_disk_is_told(tmp_path: Path) -> None:
    """The same of a file system that takes no writes any more."""
    with small_disk(tmp_path / "data", "4m") as disk:
        app = create_app(read_settings(data=disk, workers=0))
        with TestClient(app) as client:
            assert database_check(client) == (200, "ok")
            assert until(lambda: froze(disk, app))
            assert until(lambda: database_check(client) == (503, "can't be written"))
            remount(disk, "rw")
            app.state.service.db.dispose()
            assert until(lambda: database_check(client) == (200, "ok"))


def test_a_state_is_written_once_for_many_who_ask(tmp_path: Path) -> None:
    """Hundreds of probes from many threads are a few statements that write."""
    db = connect(read_settings(data=tmp_path))
    written: list[object] = []
    event.listen(db, "commit", written.append)
    probe = StateProbe(db)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: probe.is_writable(), range(400)))
    assert 1 <= len(written) < 40
    db.dispose()


def test_metrics_count_without_naming_anyone(api: Api) -> None:
    """Routes, outcomes and codes are labels; no partner, key, report or token is."""
    token = api.finished()
    api.client.get(api.link(token))
    api.client.get("/nothing/of/the/kind")
    api.grant(client_secret="wrong")  # noqa: S106 - that it is wrong is the point
    api.graphql("{ nothing }")
    page = api.client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    samples = dict(re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", page.text, re.MULTILINE))
    assert float(samples['reelport_requests_total{method="POST",route="/oauth/v1/token",status="400"}']) >= 1
    assert float(samples['reelport_requests_total{method="GET",route="/files",status="200"}']) >= 1
    assert float(samples['reelport_requests_total{method="GET",route="other",status="404"}']) >= 1
    assert float(samples['reelport_tokens_total{outcome="invalid_client"}']) >= 1
    assert float(samples['reelport_errors_total{code="invalid_document"}']) >= 1
    assert samples['reelport_jobs{state="waiting"}'] == "0.0"
    assert float(samples["reelport_download_bytes_total"]) > 0
    assert float(samples['reelport_reports_ended_total{outcome="finished",reason=""}']) >= 1
    assert float(samples['reelport_report_waiting_seconds_bucket{le="+Inf"}']) >= 1
    assert (
        samples["reelport_report_making_seconds_count"] == samples['reelport_report_making_seconds_bucket{le="+Inf"}']
    )
    assert samples["reelport_workers"] == "0.0"
    assert float(samples["reelport_data_free_bytes"]) > 0
    assert float(samples["reelport_state_log_bytes"]) > 0
    for secret in ("demo", api.key.id, token, api.token, "/nothing"):
        assert secret not in page.text


METRICS_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


def test_every_metric_is_on_the_page(api: Api) -> None:
    """By its name, its type and its sentence; and none that there isn't."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in METRICS_PAGE.read_text().splitlines()]
    told = {(row[0].strip("`"), row[1], row[3]) for row in rows if len(row) == 4 and row[0].startswith("`")}
    page = api.client.get("/metrics").text
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    assert told == {(name, types[name], said) for name, said in re.findall(r"^# HELP (\S+) (.+)$", page, re.MULTILINE)}


def test_the_oldest_waiting_report_and_last_complete_days_are_told(tmp_path: Path) -> None:
    """The age since the ask, not since a retry is due; the day as `tables` shows it."""
    settings = read_settings(data=tmp_path / "data", workers=0)
    (tmp_path / "earnings.csv").write_text("day,owner_channel_id,eur,usd\n2026-01-01,c1,1,1\n2026-01-03,c1,1,1\n")
    header = "started_at,video_id,owner_channel_id,media_type,views,time_watched_seconds\n"
    (tmp_path / "plays.csv").write_text(f"{header}2026-01-01T05:00,v1,c1,video,1,7\n2026-01-02T23:30,v1,c1,video,1,7\n")
    for name in ("earnings", "plays"):
        load(settings.facts_root, name, [tmp_path / f"{name}.csv"])
    shown = {
        report.table: report.complete_to
        for report in tables_report(settings.facts_root, datetime.now(UTC).date())
        if report.complete_to
    }
    assert set(shown) == {"earnings", "plays"}
    with TestClient(create_app(settings)) as client:
        page = client.get("/metrics").text
    days = re.findall(r'reelport_table_last_complete_day_timestamp_seconds\{table="(\w+)"\} (\S+)', page)
    assert {table: datetime.fromtimestamp(float(at), UTC).date() for table, at in days} == shown
    assert "reelport_oldest_waiting_report_seconds 0.0" in page


def test_the_age_of_the_oldest_waiting_report_counts_from_its_ask(api: Api) -> None:
    """Also where it was put off to a later moment."""
    api.ask(**api.new())
    with writing(api.service.db) as connection:
        connection.execute(text("UPDATE reports SET created_at = clock_ms() - 90000 WHERE status = 'IN_PROGRESS'"))
        connection.execute(text("UPDATE jobs SET not_before = clock_ms() + 30000"))
    found = re.search(r"^reelport_oldest_waiting_report_seconds (\S+)$", api.client.get("/metrics").text, re.MULTILINE)
    assert found is not None
    assert 90 <= float(found[1]) < 3600


def test_probes_are_not_logged_but_a_change_of_what_they_find(tmp_path: Path) -> None:
    """A probe comes every few seconds: what is wrong is a line once, and so is that it is over."""
    settings, written = read_settings(data=tmp_path, workers=0), io.StringIO()
    with TestClient(create_app(settings)) as client:
        logs.configure(settings, written)
        for _ in range(3):
            for path in ("/health", "/health/ready", "/health/live", "/metrics"):
                client.get(path)
        record_heartbeat_elsewhere(settings)
        for _ in range(3):
            client.get("/health")
    # The test's own client logs its requests too.
    lines = [json.loads(line) for line in written.getvalue().splitlines() if "HTTP Request" not in line]
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()
    assert [(line["level"], line["event"], line.get("workers")) for line in lines] == [
        ("warning", "unhealthy", "none is running"),
        ("info", "healthy again", None),
    ]
