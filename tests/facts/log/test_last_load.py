"""The last load of a table is found in the newest commits of its log, and older ones aren't read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts.conftest import remote_tables
from tests.storage.object_server import Fault, FaultyProxy

from reelport.errors import StorageError, StoreUnavailable
from reelport.facts.log.freshness import find_last_load
from reelport.facts.log.log_files import attach_tables, commit_name, open_store
from reelport.storage.retries import retry_for

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
        assert (found.version, found.kind) == (995, "replace")


def test_a_log_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    write_log(tmp_path, [{"kind": "compact"}] * 50, 50)
    with pytest.raises(StorageError, match="commit 49 is gone; run reelport verify"):
        find_last_load(tmp_path, 99)


def test_an_object_store_sends_one_commit_where_that_is_a_load(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """And one that is away is told, so that nobody takes its silence for an answer."""
    root = tmp_path / "facts"
    attach_tables(root, remote_tables(root))
    store = open_store(root / "earnings")
    for version, entry in enumerate([replacement(FIRST)] + [LOAD] * 9):
        store.put(commit_name(version), format_commit(entry))
    faulty_server.choose = lambda _method, _path: Fault.SLOW_DOWN
    with retry_for(0), pytest.raises(StoreUnavailable):
        find_last_load(root / "earnings", 9)
    faulty_server.choose = lambda _method, _path: None
    faulty_server.seen.clear()
    assert find_last_load(root / "earnings", 9) is not None
    assert sum(method == "GET" and ".json" in path for method, path, _ in faulty_server.seen) == 1
