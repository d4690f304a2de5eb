"""A service under an operator's hands: cancelled, stopped, stalled, out of space."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import permutations
from pathlib import Path

import duckdb
import pytest
from tests.disks import remount, small_disk
from tests.patience import until
from tests.warm_service import Service

from reelport.errors import UsageError
from reelport.server.queue import backlog, jobs, liveness
from reelport.server.queue.backlog import Entry
from reelport.server.state.database import connected
from reelport.testing import Channel

from .freezing import freeze_unlocked
from .partner import Partner

pytestmark = pytest.mark.long

# Days of 5,000 plays each, but for the last: 600,000, which one thread sorts for seconds.
PLAYS = """
SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_hours(i % 24) + to_days(least(i // 5000, 4)) AS started_at,
       'v' || i % 500 AS video_id, 'c1' AS owner_channel_id, 'video' AS media_type,
       'https://example.com/' || hash(i) || '/a-rather-long-page' AS visitor_page_url,
       1 AS views, 3 AS time_watched_seconds
FROM range(620000) AS t(i)
"""
LONG = {"dimensions": ["VISITOR_PAGE_URL", "VIDEO_ID", "HOUR"], "startDate": "2026-01-05", "endDate": "2026-01-05"}
SHORT = {"dimensions": ["VISITOR_PAGE_URL", "VIDEO_ID", "HOUR"], "startDate": "2026-01-01", "endDate": "2026-01-01"}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service with two workers of one thread each, a short lease and little patience at its end."""
    with Service(workers=2, worker_threads=1, lease_seconds=8, drain_seconds=0.2) as service:
        service.organization("demo", [Channel("c1", "demo-news")])
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            service.load("plays", connection.sql(PLAYS).to_arrow_table())
        yield service


def partner(service: Service) -> Partner:
    """A partner with a key of its own, so that no earlier report answers its ask."""
    return Partner(service, service.key("demo"))


def entry(service: Service, token: str) -> Entry:
    """What an operator sees of a report."""
    with connected(service.settings) as db:
        return backlog.get_entry(db, token)


def has_begun(service: Service, token: str) -> bool:
    """Whether a worker was at it, or is."""
    return entry(service, token).state != "queued"


def begin_long(service: Service, asker: Partner) -> Iterator[str]:
    """Ask for long reports, the next once a worker has begun the one before: on a busy machine that may be over."""
    for order in permutations([*LONG["dimensions"], "DAY"]):
        token = asker.ask(**{**LONG, "dimensions": order})
        assert until(partial(has_begun, service, token)), service.log
        yield token


def is_written(service: Service, token: str) -> bool:
    """Whether some report's file is being written, or that of this one was."""
    return drafts(service) != [] or entry(service, token).state == "finished"


def drafts(service: Service) -> list[str]:
    """The files that attempts are writing."""
    return [path.name for path in service.settings.files_root.glob("*.part")]


def test_cancelled_report_stops_its_engine(service: Service) -> None:
    """A running report that is cancelled has failed at once; its engine stops, and what it wrote goes."""
    asker = partner(service)
    for token in begin_long(service, asker):
        assert until(partial(is_written, service, token))
        with connected(service.settings) as db, contextlib.suppress(UsageError):
            report = backlog.cancel(db, token, datetime.now(UTC)).id
            break
    assert asker.look(token)["status"] == "FAILED"
    assert until(lambda: drafts(service) == [])
    assert until(lambda: '"attempt interrupted"' in service.log)
    found = entry(service, report)
    assert (found.state, found.reason) == ("cancelled", backlog.CANCELLED)
    assert asker.fetch(asker.ask(**SHORT)).count(b"\n") == 5001


def is_begun_anew(service: Service, before: Entry) -> bool:
    """Whether another worker is at a report, or was."""
    return entry(service, before.id).attempts > before.attempts


def test_stalled_worker_loses_its_report_and_does_no_harm(service: Service) -> None:
    """A worker that is stopped in mid-report is given up after its lease; when it goes on it changes nothing."""
    asker = partner(service)
    for token in begin_long(service, asker):
        stalled = entry(service, token)
        if stalled.worker is None:
            continue
        pid = liveness.parse_pid(stalled.worker)
        freeze_unlocked(service, pid)
        try:
            if entry(service, token) == stalled:
                assert until(partial(is_begun_anew, service, stalled)), service.log
                break
        finally:
            os.kill(pid, signal.SIGCONT)
    assert asker.fetch(token).count(b"\n") == 600_001
    found = entry(service, token)
    assert (found.attempts, found.file) == (2, f"{found.id}-2.csv")
    assert (found.failures, found.deaths, found.losses) == (0, 0, 1)
    assert until(lambda: [path.name for path in service.settings.files_root.glob(f"{found.id}*")] == [found.file])


def test_stopped_worker_gives_its_report_back_unblamed(service: Service) -> None:
    """A service that is stopped in mid-report ends soon; started again it makes the report, and nothing counts."""
    asker = partner(service)
    for token in begin_long(service, asker):
        service.stop()
        found = entry(service, token)
        service.start()
        if found.state != "finished":
            break  # else it was made before the service took the signal: its machine is busy
    assert found.state == "queued"
    assert asker.fetch(token).count(b"\n") == 600_001
    found = entry(service, token)
    assert (found.attempts, found.failures, found.deaths, found.losses) == (2, 0, 0, 0)


def test_workers_have_a_lower_priority_than_the_api(sampled: Service) -> None:
    """All of their threads, those of the engine too; the API keeps the priority that it was started with."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    lower = min(own + sampled.settings.worker_nice, 19)
    assert lower > own
    assert priorities(sampled.pid) == {own}
    assert until(lambda: [priorities(pid) for pid in sampled.worker_pids] == [{lower}])


def priorities(pid: int) -> set[int]:
    """The priorities of a process's threads, as nice(1) counts them."""
    found = set()
    for each in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # a thread that has ended since the listing
            found.add(os.getpriority(os.PRIO_PROCESS, int(each.name)))
    return found


def list_five(service: Service) -> list[tuple[str, int | None]]:
    """State and place of five reports of a partner: all while two run and three wait, else when one has finished."""
    asker = partner(service)
    assert until(lambda: len(service.worker_pids) == 2)
    workers = service.worker_pids
    for pid in workers:
        freeze_unlocked(service, pid)
    try:
        tokens = [asker.ask(**{**LONG, "dimensions": order}) for order in list(permutations(LONG["dimensions"]))[:5]]
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    names = [entry(service, token).id for token in tokens]
    found: list[tuple[str, int | None]] = []

    def is_known() -> bool:
        at_once = {each.id: (each.state, each.place) for each in backlog.list_entries(db)}
        found[:] = [at_once[name] for name in names]
        return found == TWO_RUN or any(state == "finished" for state, _ in found)

    with connected(service.settings) as db:
        assert until(is_known), found
        for name in names:
            jobs.cancel(db, name, "done", datetime.now(UTC))
    return found


TWO_RUN = [("running", None), ("running", None), *(("queued", place) for place in (1, 2, 3))]


def test_waiting_reports_have_a_place_and_two_run(service: Service) -> None:
    """Of five reports of a partner two run, over both workers; the others wait in order."""
    # On a busy machine the first may be made before the second is begun.
    assert TWO_RUN in (list_five(service) for _ in range(10))


def test_full_disk_ends_no_report(service: Service) -> None:
    """A report that doesn't fit on the disk waits and says so, for more than three attempts; with room it is made."""
    asker = partner(service)
    with small_disk(service.settings.files_root, "200k") as disk:
        token = asker.ask(**SHORT)
        assert until(lambda: entry(service, token).waited_for_room > 3), service.log
        found = entry(service, token)
        assert found.attempts > 3
        assert found.failures == 0
        assert "disk is full" in str(found.reason)
        assert "waits for room" in str(found.reason)
        # The next attempt may have begun by now, and writes until the disk is full again.
        assert until(lambda: drafts(service) == [])
        remount(disk, "size=50m")
        assert asker.fetch(token).count(b"\n") == 5001
