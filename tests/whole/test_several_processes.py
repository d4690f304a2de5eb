"""Two APIs and three workers over one PostgreSQL that stops, and fails over to a replica.

`make outages` stops it for 20 seconds; without `REELPORT_OUTAGE_SECONDS` it is away until every kind of request was
refused.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise, permutations

import duckdb
import pytest
from sqlalchemy import Engine
from tests.callers import identify
from tests.patience import until

from reelport.query import ReportQuery
from reelport.server.access.callers import Caller as Asker
from reelport.server.queue import backlog, liveness
from reelport.server.reports.ask import ask_report
from reelport.server.state.database import connect
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.server.state.tallies import Outcome, read_tallies
from reelport.testing import Channel

from .fleet import RECORDS, Caller, Cluster, Fleet
from .freezing import freeze

pytestmark = pytest.mark.long
"""Turns, sweeps, lapsed leases and a database that goes away have shorter tests in `tests/server`."""

OUTAGE_SECONDS = float(os.environ.get("REELPORT_OUTAGE_SECONDS", "0"))
REPORTS = 100 if OUTAGE_SECONDS else 12
"""Reports that are asked for around an outage."""
FIRST = date(2026, 1, 1)
DAYS = 300
PARTNERS = {"greedy": 9, "modest": 2, "third": 2}
"""Reports that each of them has asked for when the workers start."""

# One view of each day, and many pages on the first: a report by page takes long enough to be met in the middle.
PLAYS = f"""
SELECT TIMESTAMPTZ '2026-01-01 05:00:00+00' + to_days(greatest(i - 99999, 0)) AS started_at,
       'v' || i % 500 AS video_id, 'c1' AS owner_channel_id, 'video' AS media_type,
       'https://example.com/' || hash(i) || '/a-rather-long-page' AS visitor_page_url,
       1 AS views, 3 AS time_watched_seconds
FROM range({99_999 + DAYS}) AS t(i)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A primary and its replica."""
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture(scope="module")
def fleet(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Five processes that start when partners have asked already."""
    settings = {"workers": 1, "slots": 2, "worker_threads": 1, "sweep_seconds": 1, "lease_seconds": 5}
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), cluster.address, **settings)
    service = fleet.services[0]
    for number, name in enumerate(PARTNERS, 1):
        service.organization(name, [Channel(f"c{number}", name)])
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        service.load("plays", connection.sql(PLAYS).to_arrow_table())
    cluster.read(RECORDS)
    with opened(fleet) as db:
        for name, count in PARTNERS.items():
            asker = make_asker(fleet, db, name)
            for day in range(count):
                ask(fleet, db, asker, day)
    try:
        fleet.start()
        with opened(fleet) as db:
            assert until(lambda: len(liveness.list_ready(db, fleet.settings)) == 3), fleet.log
        yield fleet
    finally:
        fleet.stop()


@contextmanager
def opened(fleet: Fleet) -> Iterator[Engine]:
    """The state."""
    db = connect(fleet.settings)
    yield db
    db.dispose()


def make_asker(fleet: Fleet, db: Engine, organization: str) -> Asker:
    """Who a new key of an organization stands for."""
    key = fleet.services[0].key(organization)
    return identify(db, require_same_secret(db, fleet.settings), key.id, key.secret)


def ask(fleet: Fleet, db: Engine, asker: Asker, day: int, *dimensions: str) -> str:
    """Ask for a day: the id of the report."""
    on = FIRST + timedelta(days=day)
    query = ReportQuery.of(["VIEWS"], dimensions or ["DAY"], on, on)
    return ask_report(db, fleet.settings, asker, query, datetime.now(UTC)).id


def has_ended(db: Engine) -> bool:
    """Whether no report waits or runs."""
    return until(lambda: not backlog.list_entries(db, unfinished_only=True))


def check_that_nothing_is_lost_or_doubled(cluster: Cluster, db: Engine) -> None:
    """Every report has ended well and once, without blame, and never had a partner more than two at a time."""
    rows = cluster.read("SELECT status, failures, deaths FROM reports")
    assert {(failures, deaths) for _, failures, deaths in rows} == {(0, 0)}
    assert {status for status, *_ in rows} <= {"FINISHED", "EXPIRED"}
    assert read_tallies(db).ended == {(Outcome.FINISHED, ""): len(rows)}
    ((most,),) = cluster.read("SELECT max(running) FROM claims")
    assert most <= 2
    assert cluster.read("SELECT report, attempt FROM claims GROUP BY report, attempt HAVING count(*) > 1") == []


def test_partners_take_turns_over_all_workers(fleet: Fleet, cluster: Cluster) -> None:
    """What was asked for first fills no worker while others wait; each is made once, by whichever worker."""
    with opened(fleet) as db:
        assert has_ended(db), fleet.log
        claims = cluster.read("SELECT organization, owner FROM claims ORDER BY number")
        begun = [organization for organization, _ in claims][: 2 * len(PARTNERS) + 2]
        assert set(Counter(begun)) == {1, 2, 3}, begun
        assert Counter(begun)[2] == Counter(begun)[3] == 2, begun
        check_that_nothing_is_lost_or_doubled(cluster, db)


def test_a_sweep_is_done_once_by_all_processes(fleet: Fleet, cluster: Cluster) -> None:
    """Five processes try each second: none sweeps before it is due, and a report expires once."""
    with opened(fleet) as db:
        assert has_ended(db), fleet.log
    an_hour_ago = "clock_ms() - 3600000"
    cluster.read(f"UPDATE reports SET expires_at = {an_hour_ago} WHERE status = 'FINISHED'")
    assert until(lambda: not cluster.read("SELECT 1 FROM reports WHERE status = 'FINISHED'")), fleet.log
    due = [at for (at,) in cluster.read("SELECT due_at FROM sweeps ORDER BY number")]
    period = 1000 * fleet.settings.sweep_seconds
    assert all(later - earlier >= period for earlier, later in pairwise(due)), due
    ids = [id_ for (id_,) in cluster.read("SELECT id FROM reports WHERE status = 'EXPIRED'")]

    def told() -> list[str]:
        """The reports that any process says to have ended; it says so just after it has."""
        lines = [line for line in fleet.log.splitlines(keepends=True) if '"report expired"' in line]
        return sorted(json.loads(line)["report"] for line in lines if line.endswith("\n"))

    assert until(lambda: len(told()) >= len(ids)), fleet.log
    assert told() == sorted(ids)


def test_a_worker_that_was_frozen_past_its_lease_publishes_nothing(fleet: Fleet, cluster: Cluster) -> None:
    """Another one makes its report meanwhile; woken, it finds that out, leaves no file, and the end counts once."""
    with opened(fleet) as db:
        report, owner, attempt = freeze_worker(fleet, db)
        try:
            assert until(lambda: backlog.get_entry(db, report).state == "finished"), fleet.log
            found = backlog.get_entry(db, report)
        finally:
            os.kill(liveness.parse_pid(owner), signal.SIGCONT)
        assert until(lambda: attempt in list_ended_attempts(fleet, report)), fleet.log
        assert found.file is not None
        assert until(lambda: list_files(fleet, report) == [found.file])
        assert found.file != f"{report}-{attempt}.csv"
        assert backlog.get_entry(db, report) == found
        check_that_nothing_is_lost_or_doubled(cluster, db)


def has_begun(db: Engine, report: str) -> bool:
    """Whether a report waits no more."""
    return backlog.get_entry(db, report).state != "queued"


def freeze_worker(fleet: Fleet, db: Engine) -> tuple[str, str, int]:
    """Stop a worker that makes a report: the report, the worker's name, and the number of its attempt."""
    asker = make_asker(fleet, db, "greedy")
    for dimensions in permutations(["VISITOR_PAGE_URL", "VIDEO_ID", "HOUR", "DAY", "MEDIA_TYPE"]):
        report = ask(fleet, db, asker, 0, *dimensions)
        assert until(partial(has_begun, db, report)), fleet.log
        held = backlog.get_entry(db, report)
        if held.worker is None:
            continue
        freeze(liveness.parse_pid(held.worker))
        entry = backlog.get_entry(db, report)
        if (entry.worker, entry.attempts) == (held.worker, held.attempts):
            return report, held.worker, held.attempts
        os.kill(liveness.parse_pid(held.worker), signal.SIGCONT)
    raise AssertionError(fleet.log)


def list_ended_attempts(fleet: Fleet, report: str) -> list[int]:
    """The attempts at a report that ended without a file, as their workers logged it."""
    lines = [line for line in fleet.log.splitlines() if report in line and '"attempt ' in line]
    return [int(json.loads(line)["attempt"]) for line in lines]


def list_files(fleet: Fleet, report: str) -> list[str]:
    """The files of a report, drafts too."""
    return sorted(path.name for path in fleet.settings.files_root.glob(f"{report}-*"))


def test_a_server_that_stops_loses_no_report_and_restarts_no_process(fleet: Fleet, cluster: Cluster) -> None:
    """Requests are refused meanwhile, and say when to come again; afterwards everything goes on by itself."""

    def stop_and_start(is_refused: Callable[[], bool]) -> None:
        cluster.primary.stop()
        assert until(is_refused)
        time.sleep(OUTAGE_SECONDS)
        cluster.primary.start()

    go_through(fleet, cluster, 0, stop_and_start)


def test_a_failover_loses_no_report_and_restarts_no_process(fleet: Fleet, cluster: Cluster) -> None:
    """The primary crashes for good; its replica, which has whatever was answered, is promoted."""

    def fail_over(is_refused: Callable[[], bool]) -> None:
        cluster.primary.stop("immediate")
        assert until(is_refused)
        cluster.fail_over()

    go_through(fleet, cluster, REPORTS, fail_over)


def go_through(fleet: Fleet, cluster: Cluster, first: int, outage: Callable[[Callable[[], bool]], None]) -> None:
    """Ask for reports on and on while the database goes away, and hold what came of all of them."""
    with opened(fleet) as db, ThreadPoolExecutor(1) as pool:
        assert has_ended(db), fleet.log
        caller = Caller(fleet, fleet.services[0].key("greedy"))
        before = fleet.list_processes()
        asking = pool.submit(ask_on_and_on, caller, first)
        assert until(lambda: len(caller.answers) > REPORTS // 2 or asking.done())
        # Each kind of request by each API, some times.
        outage(lambda: asking.done() or [answer.status for answer in caller.answers].count(503) >= 12)
        tokens = asking.result()
        assert has_ended(db), fleet.log
        for day, token in tokens.items():
            assert caller.get(fetch_link(caller, token)).body.decode() == f"day,views\n{day},1\n"
        ((count, distinct),) = cluster.read(
            f"SELECT count(*), count(DISTINCT fingerprint) FROM reports WHERE key_id = '{caller.key.id}'"
        )
        assert count == distinct == len(tokens) == REPORTS
        check_that_nothing_is_lost_or_doubled(cluster, db)
        refused = [answer for answer in caller.answers if answer.status != 200]
        assert {(answer.status, answer.retry_after) for answer in refused} == {(503, "5")}
        assert before <= fleet.list_processes(), fleet.log
        assert until(lambda: count_listeners(cluster) == 5), fleet.log


def ask_on_and_on(caller: Caller, first: int) -> dict[date, str]:
    """Ask for one day after the other, each until it is taken, and look and fetch between: the token of each day."""
    tokens: dict[date, str] = {}
    link = None
    for number in range(first, first + REPORTS):
        day = FIRST + timedelta(days=1 + number)
        while link is not None and len(tokens) == REPORTS - 1 and not caller.is_refused:
            caller.get(link)  # not the last before the outage, however late that comes
        while (token := caller.ask(startDate=day.isoformat(), endDate=day.isoformat())) is None:
            if link is not None:
                caller.look(next(iter(tokens.values())))
                caller.get(link)
        tokens[day] = token
        while link is None:  # the first one: there is a link to fetch from then on
            link = caller.look(token)
    return tokens


def fetch_link(caller: Caller, token: str) -> str:
    """The link of a finished report."""
    link = caller.look(token)
    assert link is not None
    return link


def count_listeners(cluster: Cluster) -> int:
    """How many processes listen for events."""
    ((count,),) = cluster.read("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN reelport_%'")
    return int(count)
