"""Each fact table tells up to which day it is complete, and which load was its last, without reading older commits."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts.conftest import remote_tables
from tests.storage.object_server import Fault, FaultyProxy

from reelport.errors import StorageError, StoreUnavailable
from reelport.facts.loading.load import load, load_arrow
from reelport.facts.loading.undo import undo
from reelport.facts.log.freshness import (
    COUNTED,
    Freshness,
    find_freshness,
    last_complete_day,
    read_freshness,
    tables_report,
)
from reelport.facts.log.history import find_last_load, list_loads
from reelport.facts.log.log_files import attach_tables, commit_name, open_store
from reelport.facts.log.snapshot import pin
from reelport.storage.retries import retry_for

Write = Callable[..., Path]
TODAY = date(2023, 9, 1)
UPLOADED = pa.schema({"id": pa.string(), "owner_channel_id": pa.string(), "created_at": pa.timestamp("us", "UTC")})
UPLOADS_TODAY = date(2026, 11, 29)
DAY = timedelta(days=1)
AT_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_table_that_nothing_was_loaded_into_is_complete_to_no_day(root: Path) -> None:
    """It has no load either."""
    assert read_freshness(root, TODAY) == {table: Freshness(table, None, None) for table in COUNTED}


def test_each_table_has_days_and_loads_of_its_own(root: Path, plays: Write, earnings: Write) -> None:
    """Plays of a day that has not had its last hour are not complete; earnings have whole days."""
    load(root, "plays", [plays("a.csv", ("2023-07-01T00:10", "v", "c", 1), ("2023-07-02T22:00", "v", "c", 1))])
    load(root, "earnings", [earnings("e.csv", ("2023-06-30", "c", "1"))])
    fresh = read_freshness(root, TODAY)
    assert {name: fresh[name].complete for name in ("plays", "earnings", "ads")} == {
        "plays": date(2023, 7, 1),
        "earnings": date(2023, 6, 30),
        "ads": None,
    }
    assert fresh["plays"].loaded == list_loads(root, "plays")[-1].at is not None


def test_a_load_that_was_undone_is_not_the_last(root: Path, plays: Write) -> None:
    """The one before it stands, with its days."""
    load(root, "plays", [plays("a.csv", ("2023-07-01T23:10", "v", "c", 1))])
    before = read_freshness(root, TODAY)["plays"]
    load(root, "plays", [plays("b.csv", ("2023-07-02T23:10", "v", "c", 1))])
    assert read_freshness(root, TODAY)["plays"] != before
    undo(root, list_loads(root, "plays")[-1].batch)
    assert read_freshness(root, TODAY)["plays"] == before


def test_a_snapshot_tells_the_freshness_of_its_versions(root: Path, plays: Write) -> None:
    """Later loads don't show in it."""
    load(root, "plays", [plays("a.csv", ("2023-07-01T23:10", "v", "c", 1))])
    pinned = pin(root, ["plays", "videos"])
    before = find_freshness(pinned, TODAY)
    assert set(before) == {"plays", "videos"}
    load(root, "plays", [plays("b.csv", ("2023-07-02T23:10", "v", "c", 1))])
    assert find_freshness(pinned, TODAY) == before


def upload(root: Path, *moments: datetime | None) -> date | None:
    """Load a video of each of these moments; up to which day they are complete."""
    rows = [{"id": str(each), "owner_channel_id": "c1", "created_at": each} for each in moments]
    load_arrow(root, "videos", pa.Table.from_pylist(rows, UPLOADED), str(moments))
    found = {one.table: one for one in tables_report(root, UPLOADS_TODAY)}["videos"]
    assert found.complete_to == last_complete_day(pin(root, ["videos"]), ["videos"], UPLOADS_TODAY)
    return found.complete_to


def test_uploads_are_complete_up_to_the_newest_videos_day(root: Path) -> None:
    """That day itself once its last hour has a video; days without one are no gap, and one to come vouches for none."""
    assert upload(root, None) is None
    assert upload(root, AT_NOON - 90 * DAY, AT_NOON, None) == AT_NOON.date() - DAY
    assert upload(root, AT_NOON - DAY) == AT_NOON.date() - DAY
    assert upload(root, AT_NOON + timedelta(hours=11, minutes=30)) == AT_NOON.date()
    assert upload(root, datetime.combine(UPLOADS_TODAY, time(0, 10), UTC)) == UPLOADS_TODAY - DAY
    assert upload(root, datetime.combine(UPLOADS_TODAY, time(23, 10), UTC)) == UPLOADS_TODAY - DAY
    assert upload(root, AT_NOON + 90 * DAY) is None


FIRST, SECOND = date(2026, 11, 11), date(2026, 11, 12)
DAYS = FIRST, SECOND
SECOND_NOON = datetime(2026, 11, 12, 12, tzinfo=UTC)
"""When commits are made, where a test doesn't say."""
Entry = dict[str, object]
LOAD: Entry = {"kind": "load", "batch": "facts"}


def replacement(*days: date) -> Entry:
    """The record of a replacement that emptied these days, from the first to the last."""
    return {"kind": "replace", "batch": f"none of {days}", "span": [str(days[0]), str(days[-1])]}


def undo_of(entry: Entry, version: int) -> Entry:
    return {"kind": "undo", "batch": entry["batch"], "undoes": version}


def write_log(folder: Path, entries: Sequence[Entry], first: int = 0) -> None:
    """Write the commits from this version on."""
    for version, entry in enumerate(entries, first):
        path = folder / commit_name(version)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(format_commit(entry))


def format_commit(entry: Entry) -> bytes:
    stamp = int(entry.get("at", SECOND_NOON).timestamp() * 1000)  # type: ignore[attr-defined]
    record = {name: value for name, value in entry.items() if name != "at"}
    return json.dumps({"commitInfo": {"timestamp": stamp, "reelport": record}}).encode() + b"\n"


def list_standing(entries: Sequence[Entry]) -> list[tuple[int, Entry]]:
    """List the loads that no undo took back, each with its version, from the log's begin on."""
    standing: list[tuple[int, Entry]] = []
    for version, entry in enumerate(entries):
        if entry["kind"] != "undo":
            standing.append((version, entry))
            continue
        standing = [one for one in standing if one[0] != entry["undoes"]]
    return standing


def draw_log(steps: Sequence[int]) -> list[Entry]:
    """A log in which an undo takes back a load that stands."""
    made: list[Entry] = []
    standing: list[int] = []
    for step in steps:
        if step < 4 or not standing:
            standing.append(len(made))
            made.append((LOAD, replacement(FIRST), replacement(SECOND), replacement(*DAYS))[step % 4])
        else:
            version = standing.pop(step % len(standing))
            made.append(undo_of(made[version], version))
    return made


@given(st.lists(st.integers(0, 9), min_size=1, max_size=90), st.data())
def test_each_version_has_the_last_load_of_its_history(steps: list[int], data: st.DataObject) -> None:
    entries = draw_log(steps)
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), entries)
        for _ in range(4):
            version = data.draw(st.integers(0, len(entries) - 1))
            last = find_last_load(Path(folder), version)
            standing = list_standing(entries[: version + 1])
            assert (last and last.version) == (standing[-1][0] if standing else None)


def test_commits_before_the_last_load_are_not_read(tmp_path: Path) -> None:
    """Only as many as come after it, at most."""
    compacted: Entry = {"kind": "compact"}
    write_log(tmp_path, [LOAD, *[compacted] * 6, replacement(FIRST), *[compacted] * 4], 988)
    for version in range(995, 1_000):
        found = find_last_load(tmp_path, version)
        assert found is not None
        assert (found.version, found.replaced) == (995, (FIRST, FIRST))


def test_a_log_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    write_log(tmp_path, [{"kind": "compact"}] * 50, 50)
    with pytest.raises(StorageError, match="commit 49 is gone; run reelport verify"):
        find_last_load(tmp_path, 99)


def test_an_object_store_sends_one_commit_where_that_is_a_load(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """One that is away is told, so that nobody takes its silence for an answer, and asked for as long as is said."""
    root = tmp_path / "facts"
    attach_tables(root, remote_tables(root))
    store = open_store(root / "earnings")
    for version, entry in enumerate([replacement(FIRST)] + [LOAD] * 9):
        store.put(commit_name(version), format_commit(entry))
    faulty_server.choose = lambda _method, _path: Fault.SLOW_DOWN
    faulty_server.seen.clear()
    with retry_for(0), pytest.raises(StoreUnavailable):
        find_last_load(root / "earnings", 9)
    assert len(faulty_server.seen) == 1
    faulty_server.choose = lambda _method, _path: None
    faulty_server.seen.clear()
    assert find_last_load(root / "earnings", 9) is not None
    assert sum(method == "GET" and ".json" in path for method, path, _ in faulty_server.seen) == 1
