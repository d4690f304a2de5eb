"""Whose fault a lost attempt is, with real processes: the whole service killed again and again; one that kills workers.

`make kills` kills forty times; without `REELPORT_KILLS` two times must do, as each start costs seconds.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import permutations
from pathlib import Path

import duckdb
import psutil
import pyarrow as pa
import pytest
from sqlalchemy import Engine, func, select
from tests import warm_service
from tests.callers import identify
from tests.fact_rows import make_plays
from tests.patience import PATIENCE, until

from reelport import killpoints
from reelport.query import ReportQuery
from reelport.server.access.callers import Caller
from reelport.server.queue import backlog, liveness
from reelport.server.queue.backlog import Entry
from reelport.server.reports.ask import ask_report
from reelport.server.reports.report_access import FoundReport
from reelport.server.state.database import connect, reading
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.server.state.tables import REPORTS as REPORTS_TABLE
from reelport.testing import Channel, Service
from reelport.wire import ReportStatus

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("REELPORT_KILLS", "2"))
REPORTS = 100
FIRST = date(2026, 1, 1)


@contextmanager
def opened(service: Service) -> Iterator[Engine]:
    """The state of a service, whether it runs or not."""
    db = connect(service.settings)
    yield db
    db.dispose()


def caller(service: Service, db: Engine, organization: str) -> Caller:
    """Who a new key of an organization stands for."""
    key = service.key(organization)
    return identify(db, require_same_secret(db, service.settings), key.id, key.secret)


def plays(days: int) -> pa.Table:
    """One play a day, of as many views as the day's number."""
    first = datetime(2026, 1, 1, 5, tzinfo=UTC)
    return make_plays([(first + timedelta(days=day), day + 1) for day in range(days)])


def kill_tree(service: Service, chance: random.Random) -> None:
    """Kill -9 every process of the service, one after the other in any order, as whoever ends a machine does."""
    processes = [psutil.Process(service.pid), *psutil.Process(service.pid).children(recursive=True)]
    chance.shuffle(processes)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    service.kill()
    psutil.wait_procs(processes, timeout=PATIENCE)


@pytest.mark.nightly
@pytest.mark.timeout(900 + 60 * KILLS)
def test_service_that_is_killed_again_and_again_loses_no_report() -> None:
    """Of a hundred reports none is lost, none is there twice, none is different, and none is blamed for it."""
    seed = os.environ.get("REELPORT_KILLS_SEED", str(time.time_ns()))
    print(f"REELPORT_KILLS_SEED={seed}")  # noqa: T201 - what makes the same moments again
    chance = random.Random(seed)  # noqa: S311 - keeps no secret
    with Service(slots=3, running_limit=3) as service, opened(service) as db:
        service.organization("demo", [Channel("c1", "demo-news")])
        service.load("plays", plays(REPORTS))
        asker = caller(service, db, "demo")

        def ask(day: int) -> FoundReport:
            on = FIRST + timedelta(days=day)
            query = ReportQuery.of(["VIEWS"], ["DAY"], on, on)
            return ask_report(db, service.settings, asker, query, datetime.now(UTC))

        def finished() -> int:
            is_finished = REPORTS_TABLE.c.status == ReportStatus.FINISHED.value
            with reading(db) as connection:
                return connection.execute(select(func.count()).where(is_finished)).scalar_one()

        def reached(count: int) -> bool:
            return finished() >= count

        asked: list[FoundReport] = []
        for kill in range(1, KILLS + 1):
            asked += [ask(day) for day in range(len(asked), REPORTS * kill // KILLS)]
            some = chance.randint(finished(), len(asked))
            assert until(partial(reached, some)), service.log
            time.sleep(chance.uniform(0, 0.2))
            kill_tree(service, chance)
            service.start()
        assert until(partial(reached, REPORTS)), service.log
        for day, each in enumerate(asked):
            found = backlog.get_entry(db, each.id)
            assert (found.state, found.deaths, found.failures) == ("finished", 0, 0), found
            assert found.file is not None
            expected = f"day,views\n{FIRST + timedelta(days=day)},{day + 1}\n"
            assert (service.settings.files_root / found.file).read_text() == expected
            assert ask(day).id == each.id
        assert len(backlog.list_entries(db, most=REPORTS * 2)) == REPORTS
        assert until(lambda: len(list(service.settings.files_root.iterdir())) == REPORTS)


DEATHS = 9
"""More than a report may cause."""
LONG = """
SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_hours(i % 24) AS started_at,
       'v' || i % 500 AS video_id, 'c1' AS owner_channel_id, 'video' AS media_type,
       'https://example.com/' || hash(i) || '/a-rather-long-page' AS visitor_page_url,
       1 AS views, 3 AS time_watched_seconds
FROM range(100000) AS t(i)
"""


def test_poison_report_fails_alone_and_takes_nobody_with_it(tmp_path: Path) -> None:
    """It kills each worker that makes it: first beside two others, which are made all the same; then alone."""
    # Once for each death: all are armed before, and so no worker lives until the next is.
    armed = ",".join(f"claim:{tmp_path}/{{subject}}-{number}" for number in range(DEATHS))
    with (
        warm_service.Service(slots=3, worker_threads=1, environment={killpoints.VARIABLE: armed}) as service,
        opened(service) as db,
        duckdb.connect() as connection,
    ):
        for name, channel in (("demo", "c1"), ("rival", "c2")):
            service.organization(name, [Channel(channel, f"{name}-news")])
        connection.execute("SET TimeZone = 'UTC'")
        service.load("plays", connection.sql(LONG).to_arrow_table())

        def ask(who: Caller, metric: str, *dimensions: str) -> str:
            query = ReportQuery.of([metric], dimensions, FIRST, FIRST)
            return ask_report(db, service.settings, who, query, datetime.now(UTC)).id

        def entry(report: str) -> Entry:
            return backlog.get_entry(db, report)

        def have_begun(reports: list[str]) -> bool:
            return all(entry(each).state != "queued" for each in reports)

        innocent, guilty = caller(service, db, "demo"), caller(service, db, "rival")
        for order in permutations(["VISITOR_PAGE_URL", "VIDEO_ID", "HOUR"]):
            beside = [ask(innocent, metric, *order) for metric in ("VIEWS", "TIME_WATCHED_SECONDS")]
            assert until(partial(have_begun, beside)), service.log
            if all(entry(each).state == "running" for each in beside):
                break  # else one was made before a busy machine began the other
        fingerprint = ReportQuery.of(["VIEWS"], [], FIRST, FIRST).fingerprint()
        for number in range(DEATHS):
            (tmp_path / f"{fingerprint}-{number}").touch()
        poison = ask(guilty, "VIEWS")
        assert until(lambda: entry(poison).state in {"failed", "finished"}), service.log
        assert entry(poison).deaths == 3
        assert "death 3 of 3" in str(entry(poison).reason)
        assert until(lambda: all(entry(each).state == "finished" for each in beside)), service.log
        assert [entry(each).deaths for each in beside] == [0, 0]


MEMORY_GROUPS = {"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"}
"""Where groups of processes are made, and how their memory is limited: of the first and the second version."""
GROUP_BYTES = 400 << 20
"""Less than an engine may take: a worker that knew it would take less, and not be killed."""


JOIN = 'echo $$ > "$0" && exec "$@"'


@contextmanager
def memory_group() -> Iterator[Path]:
    """The file with the limit of a group of processes: where they would take more, the kernel kills one."""
    for root, limit in MEMORY_GROUPS.items():
        group = Path(root) / f"reelport-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            (group / limit).write_text(str(GROUP_BYTES))
            (group / limit).write_text("-1" if limit.endswith("bytes") else "max")
            break
    else:
        pytest.skip("groups of limited memory can be made by root alone")
    try:
        yield group / limit
    finally:
        group.rmdir()


@pytest.mark.skipif("REELPORT_KILLS" not in os.environ, reason="takes a minute: make kills")
def test_report_that_the_kernel_kills_for_its_memory_fails_alone(tmp_path: Path) -> None:
    """With `reelport worker`, a supervisor of its own: its processes get less memory than the engine may take."""
    with (
        Service(workers=0) as service,
        opened(service) as db,
        duckdb.connect() as connection,
        memory_group() as limit,
    ):
        service.organization("demo", [Channel("c1", "demo-news")])
        service.organization("rival", [Channel("c2", "rival-news")])
        connection.execute("SET TimeZone = 'UTC'")
        service.load("plays", connection.sql(LONG).to_arrow_table())
        large = LONG.replace("range(100000)", "range(1500000)").replace("'c1'", "'c2'")
        service.load("plays", connection.sql(large).to_arrow_table())
        innocent, guilty = caller(service, db, "demo"), caller(service, db, "rival")

        def ask(who: Caller, *dimensions: str) -> str:
            query = ReportQuery.of(["VIEWS"], dimensions, FIRST, FIRST)
            return ask_report(db, service.settings, who, query, datetime.now(UTC)).id

        with (tmp_path / "log").open("wb") as log:
            worker = subprocess.Popen(
                ["/bin/sh", "-c", JOIN, limit.with_name("cgroup.procs"), sys.executable, "-m", "reelport", "worker"],
                env={**os.environ, **service.settings.environment()},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
            try:
                assert until(lambda: liveness.list_ready(db, service.settings)), (tmp_path / "log").read_text()
                limit.write_text(str(GROUP_BYTES))
                poison = ask(guilty, "VISITOR_PAGE_URL", "VIDEO_ID", "HOUR")
                beside = [ask(innocent, "VISITOR_PAGE_URL", "VIDEO_ID"), ask(innocent, "VIDEO_ID")]
                assert until(lambda: not backlog.list_entries(db, unfinished_only=True)), (tmp_path / "log").read_text()
            finally:
                worker.terminate()
                assert worker.wait(300) == 0
        assert (backlog.get_entry(db, poison).state, backlog.get_entry(db, poison).deaths) == ("failed", 3)
        assert [(backlog.get_entry(db, each).state, backlog.get_entry(db, each).deaths) for each in beside] == [
            ("finished", 0)
        ] * 2
