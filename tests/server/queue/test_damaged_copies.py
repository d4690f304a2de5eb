"""A worker makes reports of EMBED and CLAIM from the facts themselves where their copies fail it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import structlog
from tests.cases import thin_out
from tests.server.conftest import State

from reelport.catalog import Product
from reelport.engine.duckdb.engine import QueryEngine
from reelport.errors import StorageError
from reelport.facts.loading.compaction import CopiedTable, copy_tables_by_roles
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.role_copies import LEAST_ROWS
from reelport.query import ReportQuery
from reelport.server.queue import attempt, backlog, jobs
from reelport.server.reports.ask import ask_report
from reelport.server.state.tallies import Fallback, read_tallies

DAY = date(2026, 1, 5)
Make = Callable[..., tuple[str, list[dict[str, object]]]]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plays of a day that one channel's players showed, with copies by role: each test has its own."""
    texts = {"owner_channel_id": "c9", "publisher_channel_id": "c1", "video_id": "v", "media_type": "video"}
    columns = {name: pa.repeat(pa.scalar(text), LEAST_ROWS) for name, text in texts.items()}
    counts = dict.fromkeys(("views", "time_watched_seconds"), pa.repeat(pa.scalar(1), LEAST_ROWS))
    times = pa.repeat(pa.scalar(datetime(2026, 1, 5, tzinfo=UTC)), LEAST_ROWS)
    root = tmp_path_factory.mktemp("copied") / "facts"
    load_arrow(root, "plays", pa.table({"started_at": times, **columns, **counts}), "one")
    assert copy_tables_by_roles(root) == (CopiedTable("plays", 2),)
    return root


@pytest.fixture
def make(state: State, copied: Path, tmp_path: Path) -> Iterator[Make]:
    """Makes a report of that day, by this dimension; its text, and what was logged."""
    shutil.copytree(copied, state.settings.facts_root)
    state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))

    def report(dimension: str) -> tuple[str, list[dict[str, object]]]:
        ask_report(
            state.db,
            state.settings,
            caller,
            ReportQuery.of(["VIEWS"], [dimension], DAY, DAY, {}, Product.EMBED),
            state.now,
        )
        claim = jobs.claim(state.db, "one", running=9, lease_seconds=30)
        assert claim is not None
        with structlog.testing.capture_logs() as logs:
            record = attempt.make_report(
                state.db, state.settings, claim, engine.session(), attempt.clock, threading.Event()
            )
        assert backlog.get_entry(state.db, claim.report_id).state == "finished"
        return (state.settings.files_root / record.name).read_text(), [dict(log) for log in logs]

    with QueryEngine("300MB", 1, tmp_path / "spill") as engine:
        yield report


def copy_of(state: State) -> Path:
    """The copy of the one file by publisher."""
    (path,) = (state.settings.facts_root / "plays").rglob("_by_publisher/*/*.parquet")
    return path


def cut(path: Path) -> None:
    """Let the first half of a file be lost, as a damaged disk may lose it: its description is whole."""
    content = path.read_bytes()
    path.write_bytes(bytes(len(content) // 2) + content[len(content) // 2 :])


@pytest.mark.parametrize(
    "damage", thin_out([cut, lambda path: path.write_bytes(b"no Parquet")], 3), ids=["cut", "no Parquet"]
)
def test_a_damaged_copy_fails_no_report(state: State, make: Make, damage: Callable[[Path], object]) -> None:
    """The same attempt reads the file instead, says so and counts it; deleted, the copy is made by the next copying."""
    damage(copy_of(state))
    text, logs = make("DAY")
    assert text == f"day,views\n2026-01-05,{LEAST_ROWS}\n"
    assert [log["event"] for log in logs] == [
        "copies by role can't be read: the report is made from the files themselves"
    ]
    assert read_tallies(state.db).fallbacks == {Fallback.SUMS: 0, Fallback.COPIES: 1}
    copy_of(state).unlink()
    assert make("MONTH") == (f"month,views\n2026-01,{LEAST_ROWS}\n", [])
    assert copy_tables_by_roles(state.settings.facts_root) == (CopiedTable("plays", 1),)
    assert make("MEDIA_TYPE") == (f"media_type,views\nvideo,{LEAST_ROWS}\n", [])
    assert read_tallies(state.db).fallbacks[Fallback.COPIES] == 1


def test_a_damaged_file_of_facts_fails_its_report(state: State, make: Make) -> None:
    """Whatever copies there are: nothing is counted."""
    (path,) = (state.settings.facts_root / "plays").glob("month=*/*.parquet")
    for each in (copy_of(state), path):
        each.write_bytes(b"no Parquet")
    with pytest.raises(StorageError):
        make("DAY")
    assert set(read_tallies(state.db).fallbacks.values()) == {0}
