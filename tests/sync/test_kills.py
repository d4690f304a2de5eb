"""A copy killed at any step ends as it should; it asks for a range's windows; its page's commands run as written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import forked
from tests.cases import thin_out
from tests.forked import command_folder

from reelport import Client, Partial, ReportFailed
from reelport.client.events import Bisected, Event
from reelport.errors import UsageError
from reelport.killpoints import VARIABLE
from reelport.sync import sync_run
from reelport.sync.coverage import coverage_of
from reelport.sync.destinations import lock_destination, open_destination
from reelport.sync.events import OfWindow, SyncEvent
from reelport.sync.spec import Days, Kind, Place, Spec
from reelport.testing import Vendor

from .conftest import HEADER, day, kept, put, spec_at, types
from .vendors import YESTERDAY, Numbers

STEPS = {
    Kind.DUCKDB: ("sync-deleted", "sync-inserted", "sync-stated", "sync-committed"),
    Kind.PARQUET: ("sync-written", "sync-version", "sync-committed"),
}
BEFORE = HEADER + "2026-01-01,FR,1,\n2026-01-02,FR,2,\n2026-01-03,FR,3,\n"
AFTER = "day,visitor_country,views,estimated_earnings_eur,bots\n2026-01-02,ES,20,,7\n2026-01-04,ES,40,,\n"

REPLACE = """
import sys
from pathlib import Path
from reelport.sync.spec import Kind, Place
from tests.sync.conftest import put, spec_at
put(spec_at(Place(Kind(sys.argv[1]), Path(sys.argv[2]))), sys.argv[3], 2, 4)
"""

HOLD = """
import sys, time
from pathlib import Path
from reelport.sync.destinations import lock_destination
from reelport.sync.spec import Kind, Place
with lock_destination(Place(Kind(sys.argv[1]), Path(sys.argv[2]))):
    print("held", flush=True)
    time.sleep(600)
"""


def replace_in_another_process(spec: Spec, step: str) -> int:
    """Replace the window in a process that is killed at the step; how it ended."""
    words = ["-c", REPLACE, spec.place.kind, str(spec.place.path), AFTER]
    environment = os.environ | {VARIABLE: step, "PYTHONPATH": str(Path(__file__).parents[2])}
    return forked.run(words, env=environment).returncode


@pytest.mark.parametrize("there", thin_out([False, True], 4), ids=["new", "there"])
@pytest.mark.parametrize("number", thin_out(range(4), 3))
def test_a_kill_leaves_the_copy_as_before_or_as_after(spec: Spec, number: int, there: bool) -> None:
    """Rows, columns and state change together or not at all; after the last step they have."""
    steps = STEPS[spec.place.kind]
    if number >= len(steps):
        return
    if there:
        put(spec, BEFORE, 1, 3)
    before = snapshot(spec)
    assert replace_in_another_process(spec, steps[number]) == -signal.SIGKILL
    found = snapshot(spec)
    put(spec, AFTER, 2, 4)
    after = snapshot(spec)
    assert found == (after if steps[number] == "sync-committed" else before)
    assert before != after
    assert leftovers(spec) == []


def snapshot(spec: Spec) -> object:
    """All that a copy holds and says of itself."""
    with open_destination(spec.place).view(spec) as view:
        if view is None:
            return None
    columns = types(spec)
    state = open_destination(spec.place).state(spec)
    return kept(spec, "* EXCLUDE (_loaded_at)"), columns, state


def leftovers(spec: Spec) -> list[Path]:
    """Files of versions that never were whole, and logs of transactions that never were closed."""
    return [*spec.place.path.parent.glob("*.wal"), *spec.place.path.parent.glob("copy/earned/versions/.*")]


def test_a_second_sync_is_refused_while_one_runs(spec: Spec) -> None:
    """It names the process that has the destination; once that has ended, however it did, the way is free."""
    words = ["-c", HOLD, spec.place.kind, str(spec.place.path)]
    with forked.Popen(words, stdout=forked.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(UsageError, match=rf"process {other.pid}\) is bringing .* up to date"),
            lock_destination(spec.place),
        ):
            raise AssertionError("two have it")
        other.kill()
    with lock_destination(spec.place) as workshop:
        assert workshop == spec.place.work_folder


def test_readers_of_the_folder_never_see_a_half_state(spec: Spec) -> None:
    """What a reader listed before a change it finds unchanged afterwards, or in no other content."""
    if spec.place.kind is not Kind.PARQUET:
        return
    put(spec, BEFORE, 1, 3)
    current = spec.place.path / "earned" / "current"
    listed = {path.name: path.read_bytes() for path in current.glob("*.parquet")}
    pinned = current.resolve()
    put(spec, AFTER, 2, 4)
    assert {path.name: path.read_bytes() for path in pinned.glob("*.parquet")} == listed
    for path in current.glob("*.parquet"):
        assert path.name not in listed or path.read_bytes() == listed[path.name]
    assert {path.name[:10] for path in current.glob("*.parquet")} == {str(day(1)), str(day(2)), str(day(4))}


def test_a_file_in_the_place_of_the_folder_is_refused_at_once(tmp_path: Path) -> None:
    """Nothing is asked for on its behalf."""
    (tmp_path / "copy").write_text("mine")
    place = Place(Kind.PARQUET, tmp_path / "copy")
    with pytest.raises(UsageError, match="is a file"):
        open_destination(place).state(spec_at(place))


bad_days = st.sets(st.integers(0, 44), max_size=4)


@given(count=st.integers(1, 45), bad=bad_days, set_to=st.sampled_from([None, 9, 31]), longest=st.integers(7, 50))
@settings(max_examples=max(settings().max_examples // 7, 2))
def test_a_sync_and_a_range_come_to_the_same_days(count: int, bad: set[int], set_to: int | None, longest: int) -> None:
    """Whatever days fail and however long windows are; up to two days that fail cost no other day."""
    start = YESTERDAY - timedelta(count - 1)
    fails = Days.of((day, day) for day in (start + timedelta(each) for each in bad if each < count))
    limit = max(longest, set_to or count)  # a vendor that takes fewer refuses both
    with TemporaryDirectory() as name:
        place = Place(Kind.DUCKDB, Path(name) / "copy.duckdb")
        spec = Spec("views", ("VIEWS",), ("DAY",), start, place, lookback=0)
        with _connect(fails, limit, set_to) as (vendor, client):
            synced = _sync(client, spec), vendor.asks
        with _connect(fails, limit, set_to) as (vendor, client):
            ranged = _fetch_range(client, spec, Path(name) / "windows"), vendor.asks
    assert synced == ranged
    (days, _), _ = synced
    others = Days.between(start, YESTERDAY) - fails
    assert days == others if len(fails) <= 2 else not (days - others).spans


@contextmanager
def _connect(fails: Days, longest: int, set_to: int | None) -> Iterator[tuple[Vendor, Client]]:
    """A vendor that fails on these days, and a client that asks for one report at a time."""
    with Vendor(csv=Numbers().csv) as vendor, Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
        vendor.longest = longest
        vendor.fails = lambda wire: any(wire["startDate"] <= str(day) <= wire["endDate"] for day in fails)
        yield vendor, client.with_options(slots=1, windows=set_to)


def _sync(client: Client, spec: Spec) -> tuple[Days, list[tuple[date, date, date]]]:
    """The days that a sync reads for good, and what it halves."""
    heard: list[SyncEvent] = []
    with suppress(Partial, ReportFailed):
        sync_run.run([spec], client, tell=heard.append, deadline=300)
    events = [event.event for event in heard if isinstance(event, OfWindow)]
    return coverage_of(spec).verified, _halvings(events)


def _fetch_range(client: Client, spec: Spec, to: Path) -> tuple[Days, list[tuple[date, date, date]]]:
    """The days of the files that a range leaves, and what it halves."""
    heard: list[Event] = []
    query = spec.query(spec.start, YESTERDAY)
    with suppress(Partial, ReportFailed):
        client.reports.run_range(query, to, progress=heard.append, deadline=300, keep_windows=True)
    spans = [map(date.fromisoformat, path.stem.split("_")) for path in to.glob("*.csv")]
    return Days.of((first, last) for first, last in spans), _halvings(heard)


def _halvings(events: list[Event]) -> list[tuple[date, date, date]]:
    return [(event.start, event.end, event.middle) for event in events if isinstance(event, Bisected)]


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "keep-in-sync.md"


@pytest.mark.long
def test_the_page_runs_as_written(tmp_path: Path) -> None:
    """Commands, the file, programs and SQL; the copies are there in the end."""
    blocks = re.findall(r"^```(sh|toml|python|sql)\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    path = os.pathsep.join((str(command_folder()), str(Path(sys.executable).parent), os.environ["PATH"]))
    seen: list[tuple[object, ...]] = []
    with Vendor() as vendor:
        ours = {"REELPORT_URL": vendor.url, "REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
        ours |= {"REELPORT_HOME": str(tmp_path / "home"), "DLT_DATA_DIR": str(tmp_path / "dlt"), "PATH": path}
        environment = os.environ | ours
        for language, text in blocks:
            match language:
                case "toml":
                    (tmp_path / "reelport.toml").write_text(text, "utf-8")
                case "sql":
                    with duckdb.connect(str(tmp_path / "reports.duckdb"), read_only=True) as con:
                        seen = con.execute(text).fetchall()
                case _:
                    words = ["bash", "-eu", "-c", text] if language == "sh" else [sys.executable, "-c", text]
                    done = subprocess.run(
                        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
                    )
                    assert done.returncode == 0, f"{text}\n{done.stderr}"
    assert len(seen) > 30
    assert [language for language, _ in blocks].count("python") == 3
    assert (tmp_path / "earned" / "earned_by_month" / "current" / "manifest.json").exists()
    with duckdb.connect(str(tmp_path / "partner.duckdb"), read_only=True) as con:
        assert con.execute("SELECT count(*) > 30 FROM reports.views_by_day").fetchall() == [(True,)]
