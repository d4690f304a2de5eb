"""A worker makes reports from rollups: never a wrong one, and none is lost where a rollup fails."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import structlog
from tests.cases import thin_out
from tests.disks import small_disk
from tests.fact_rows import make_play
from tests.rotten_files import build_double, double_views
from tests.server.conftest import State

from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupList
from reelport.engine.rollups.columns import make_rollup
from reelport.facts.loading.load import load_arrow
from reelport.facts.rollups import add_rollup, drop_rollup
from reelport.query import ReportQuery
from reelport.server.queue import attempt, jobs
from reelport.server.queue.attempt import is_sampled
from reelport.server.reports.ask import ask_report
from reelport.server.state.tallies import Fallback, RollupCheck, read_tallies

ROLLUP = make_rollup("plays", ["visitor_country"])
RIGHT = "day,views\n2026-01-01,3\n2026-01-02,3\n"
Made = tuple[str, list[dict[str, object]]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plays of two days, and a rollup of them: each test has its own copy."""
    rows = [make_play(f"2026-01-0{day}T05:00:00", video_id=f"v{number}") for day in (1, 2) for number in range(3)]
    root = tmp_path_factory.mktemp("built") / "facts"
    load_arrow(root, "plays", pa.Table.from_pylist(rows), "one")
    add_rollup(root, ROLLUP)
    build_rollups(root, space=10**9)
    return root


@pytest.fixture
def make(state: State, built: Path, tmp_path: Path) -> Iterator[Callable[..., Made]]:
    """Makes one report of two days, by these settings; its text, and what was logged."""
    shutil.copytree(built, state.settings.facts_root)
    state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))

    def report(**given: object) -> Made:
        settings = state.again(**given)
        query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 2))
        ask_report(state.db, settings, caller, query, state.now)
        claim = jobs.claim(state.db, "one", running=2, lease_seconds=30)
        assert claim is not None
        with structlog.testing.capture_logs() as logs:
            record = attempt.make_report(state.db, settings, claim, engine.session(), attempt.clock, threading.Event())
        assert [path.name for path in settings.files_root.iterdir()] == [record.name]
        assert not list((settings.spill_root / "one").glob("*.check"))
        return (settings.files_root / record.name).read_text(), [dict(log) for log in logs]

    with QueryEngine("200MB", 1, tmp_path / "spill") as engine:
        yield report


def data_file(state: State) -> Path:
    """The one file of the rollup."""
    ((segment,),) = RollupList.read(state.settings.facts_root).segments.values()
    return segment.data


def test_a_report_from_rollups_is_told_and_checked(state: State, make: Callable[..., Made]) -> None:
    """The log says what was read; made from the facts too it is the same, and that is counted."""
    text, logs = make(rollup_checks=1)
    assert text == RIGHT
    assert [(log["event"], log["used"], log["refused"]) for log in logs] == [
        ("rollups chosen", [f"plays from {ROLLUP.name}: 2 of 2 days"], [])
    ]
    assert read_tallies(state.db).rollup_checks == {RollupCheck.SAME: 1, RollupCheck.DIFFERENT: 0}


def test_a_checked_report_is_right_where_a_rollup_is_wrong(state: State, make: Callable[..., Made]) -> None:
    """The report is the one from the facts, the difference is counted and told, and the rollup is read no more."""
    build_double(data_file(state))
    text, logs = make(rollup_checks=1)
    assert text == RIGHT
    assert "rollups gave other numbers than the facts" in [log["event"] for log in logs if log["log_level"] == "error"]
    assert read_tallies(state.db).rollup_checks == {RollupCheck.SAME: 0, RollupCheck.DIFFERENT: 1}
    assert RollupList.read(state.settings.facts_root).segments == {ROLLUP: ()}
    assert len(build_rollups(state.settings.facts_root, space=10**9)) == 1


def test_reports_outside_of_the_sample_are_not_checked(state: State, make: Callable[..., Made]) -> None:
    """Then a rollup's word is taken: so this report is wrong, which shows that it was read."""
    build_double(data_file(state))
    assert make(rollup_checks=0)[0] == RIGHT.replace(",3", ",6")
    assert set(read_tallies(state.db).rollup_checks.values()) == {0}


def strip(path: Path) -> None:
    """Let a rollup's file lack its columns."""
    duckdb.execute(f"COPY (SELECT 1 AS one) TO '{path}' (FORMAT PARQUET)")


@pytest.mark.parametrize(
    "damage",
    thin_out([Path.unlink, lambda path: path.write_bytes(b"no Parquet"), strip], 3),
    ids=["gone", "damaged", "another"],
)
def test_a_rollup_that_can_not_be_read_fails_no_report(
    state: State, make: Callable[..., Made], damage: Callable[[Path], object]
) -> None:
    """Its file was deleted, damaged or replaced: the same attempt makes the report from the facts."""
    damage(data_file(state))
    text, logs = make()
    assert text == RIGHT
    assert [log["event"] for log in logs] == ["rollups can't be read: the report is made from the facts"]
    assert read_tallies(state.db).fallbacks == {Fallback.SUMS: 1, Fallback.COPIES: 0}
    assert len(build_rollups(state.settings.facts_root, space=10**9)) == 1


def test_a_rollup_that_has_rotted_fails_no_report(state: State, make: Callable[..., Made]) -> None:
    """Its file can be read, and gives other numbers: its digest tells before a process first reads it."""
    double_views(data_file(state))
    text, logs = make(rollup_checks=0)
    assert text == RIGHT
    assert [log["event"] for log in logs] == ["rollups can't be read: the report is made from the facts"]
    assert "its bytes are not those that were written" in str(logs[0]["reason"])
    assert read_tallies(state.db).fallbacks == {Fallback.SUMS: 1, Fallback.COPIES: 0}
    assert len(build_rollups(state.settings.facts_root, space=10**9)) == 1


def test_a_check_that_has_no_room_fails_no_report(state: State, make: Callable[..., Made]) -> None:
    """The report from rollups was written; the same one would fail in each attempt."""
    with small_disk(state.settings.spill_root, "4k") as disk:
        (disk / "full").write_bytes(bytes(4096))
        text, logs = make(rollup_checks=1)
    assert text == RIGHT
    assert [log["event"] for log in logs] == ["rollups chosen", "a report from rollups was not checked"]
    assert set(read_tallies(state.db).rollup_checks.values()) == {0}


def test_rollups_that_are_off_or_dropped_are_not_read(state: State, make: Callable[..., Made]) -> None:
    """By the setting, and by deleting them: nothing of them is logged either."""
    build_double(data_file(state))
    assert make(rollups="off") == (RIGHT, [])
    drop_rollup(state.settings.facts_root, ROLLUP)
    assert not (state.settings.facts_root / ".rollups" / ROLLUP.name).exists()


def test_a_share_of_the_reports_is_sampled() -> None:
    """None, all, or about the share; and each report always or never."""
    ids = [json.dumps(number) for number in range(2000)]
    assert not any(is_sampled(each, 0) for each in ids)
    assert all(is_sampled(each, 1) for each in ids)
    some = [each for each in ids if is_sampled(each, 0.1)]
    assert 120 < len(some) < 280
    assert all(is_sampled(each, 0.1) for each in some)
