"""Emptied days and the last load are read from the newest commits, and what was read isn't read again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts.conftest import remote_tables
from tests.storage.object_server import Fault, FaultyProxy

from reelport.errors import StorageError, StoreUnavailable
from reelport.facts.log.log_files import commit_name, open_store
from reelport.facts.log.newest_commits import find_emptied_days, find_last_load
from reelport.facts.log.remote_tables import attach_tables
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


def find_by_history(entries: Sequence[Entry]) -> frozenset[date]:
    """Find the emptied days from the log's begin on, as a history is told."""
    spans = [entry["span"] for _, entry in list_standing(entries) if "span" in entry]
    return frozenset(day for day in DAYS if any(span[0] <= str(day) <= span[1] for span in spans))  # type: ignore[index]


def list_standing(entries: Sequence[Entry]) -> list[tuple[int, Entry]]:
    """List the loads that no undo took back, each with its version, from the log's begin on."""
    standing: list[tuple[int, Entry]] = []
    for version, entry in enumerate(entries):
        if entry["kind"] != "undo":
            standing.append((version, entry))
            continue
        undone = [one for one in standing if one[1]["batch"] == entry["batch"] and entry["undoes"] in {0, one[0]}]
        standing = [one for one in standing if one not in undone[-1:]]
    return standing


def draw_log(steps: Sequence[int]) -> list[Entry]:
    """A log in which an undo takes back a load that stands, by its version or as the newest of its batch."""
    made: list[Entry] = []
    standing: list[int] = []
    for step in steps:
        if step < 4 or not standing:
            standing.append(len(made))
            made.append((LOAD, replacement(FIRST), replacement(SECOND), replacement(*DAYS))[step % 4])
        elif step == 4:
            version = standing.pop()
            made.append(undo_of(made[version], 0))
        else:
            version = standing.pop(step % len(standing))
            made.append(undo_of(made[version], version))
    return made


@given(st.lists(st.integers(0, 9), min_size=1, max_size=90), st.data())
def test_each_version_has_the_days_of_its_history(steps: list[int], data: st.DataObject) -> None:
    """Whatever version was asked for before."""
    entries = draw_log(steps)
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), entries)
        for _ in range(4):
            version = data.draw(st.integers(0, len(entries) - 1))
            asked = data.draw(st.sets(st.sampled_from(DAYS)))
            expected = find_by_history(entries[: version + 1]) & asked
            assert find_emptied_days(Path(folder), version, asked) == expected
            last = find_last_load(Path(folder), version)
            standing = list_standing(entries[: version + 1])
            assert (last and last.version) == (standing[-1][0] if standing else None)


def test_a_new_version_reads_only_the_commits_after_the_last(tmp_path: Path) -> None:
    """Over a log that is longer than any number of commits that are read at once, in which a day stays missing."""
    entries = [replacement(FIRST)] + [LOAD] * 5_000
    write_log(tmp_path, entries)
    assert find_emptied_days(tmp_path, 5_000, DAYS) == {FIRST}
    for version in range(5_000):
        (tmp_path / commit_name(version)).unlink()
    assert find_emptied_days(tmp_path, 5_000, DAYS) == {FIRST}
    write_log(tmp_path, [LOAD, undo_of(entries[0], 0)], 5_001)
    assert find_emptied_days(tmp_path, 5_001, DAYS) == {FIRST}
    assert find_emptied_days(tmp_path, 5_002, DAYS) == frozenset()


def test_commits_before_the_last_load_are_not_read(tmp_path: Path) -> None:
    """Whatever was asked for before."""
    write_log(tmp_path, [LOAD] * 20 + [replacement(FIRST)] * 20, 980)
    for version in (1_019, 1_018):
        found = find_last_load(tmp_path, version)
        assert found is not None
        assert (found.version, found.kind) == (version, "replace")


def test_commits_before_the_emptying_one_are_not_read(tmp_path: Path) -> None:
    write_log(tmp_path, [LOAD] * 30 + [replacement(*DAYS)] + [LOAD] * 20, 970)
    assert find_emptied_days(tmp_path, 1_020, DAYS) == set(DAYS)


def test_a_day_may_be_emptied_some_weeks_before_it_comes(tmp_path: Path) -> None:
    """A pause is known before it."""
    early = {"at": SECOND_NOON - timedelta(days=20)}
    write_log(tmp_path, [LOAD | early] * 40 + [replacement(*DAYS) | early] + [LOAD | early] * 40 + [LOAD] * 40)
    assert find_emptied_days(tmp_path, 120, DAYS) == set(DAYS)


def test_commits_from_long_before_the_days_are_not_read(tmp_path: Path) -> None:
    """None of them emptied a day that was still to come: of a long log some months are read."""
    before: Entry = LOAD | {"at": SECOND_NOON - timedelta(days=40)}
    write_log(tmp_path, [before] * 60 + [LOAD] * 20, 921)
    assert find_emptied_days(tmp_path, 1_000, DAYS) == frozenset()


def test_a_commit_by_a_clock_that_was_far_behind_hides_none_before_it(tmp_path: Path) -> None:
    """As of a machine without a battery: it is the last of the commits that are read at once."""
    behind: Entry = LOAD | {"at": datetime(1970, 1, 2, tzinfo=UTC)}
    write_log(tmp_path, [LOAD, replacement(*DAYS), behind, *[LOAD] * 31])
    assert find_emptied_days(tmp_path, 33, DAYS) == set(DAYS)


@pytest.mark.parametrize("named", [3, 4])
def test_an_undo_that_names_itself_or_what_comes_later_takes_back_its_own(tmp_path: Path, named: int) -> None:
    """No version writes that: a log that was changed by hand is read all the same."""
    write_log(tmp_path, [LOAD, LOAD, replacement(FIRST), undo_of(replacement(FIRST), named)])
    assert find_emptied_days(tmp_path, 3, DAYS) == frozenset()
    last = find_last_load(tmp_path, 3)
    assert last is not None
    assert last.version == 1


def test_an_undo_that_names_a_load_of_another_batch_takes_back_its_own(tmp_path: Path) -> None:
    write_log(tmp_path, [LOAD, LOAD, replacement(FIRST), undo_of(replacement(FIRST), 1)])
    assert find_emptied_days(tmp_path, 3, DAYS) == frozenset()


def test_a_table_begun_anew_is_not_judged_by_the_one_before(tmp_path: Path) -> None:
    write_log(tmp_path, [LOAD, replacement(FIRST), LOAD])
    assert find_emptied_days(tmp_path, 2, DAYS) == {FIRST}
    for version in range(3):
        (tmp_path / commit_name(version)).unlink()
    write_log(tmp_path, [LOAD, replacement(SECOND), LOAD, LOAD])
    assert find_emptied_days(tmp_path, 3, DAYS) == {SECOND}


def test_a_log_that_cannot_be_read_is_told_and_read_on_from_there(tmp_path: Path) -> None:
    write_log(tmp_path, [LOAD] * 50, 50)
    with pytest.raises(StorageError, match="commit 49 is gone; run reelport verify"):
        find_emptied_days(tmp_path, 99, DAYS)
    write_log(tmp_path, [replacement(FIRST)] + [LOAD] * 49)
    for version in range(70, 99):
        (tmp_path / commit_name(version)).unlink()
    assert find_emptied_days(tmp_path, 99, DAYS) == {FIRST}


def test_an_object_store_sends_each_commit_once(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """And one that is away is told, so that nobody takes its silence for an answer."""
    root = tmp_path / "facts"
    attach_tables(root, remote_tables(root))
    store = open_store(root / "earnings")
    for version, entry in enumerate([replacement(FIRST)] + [LOAD] * 49):
        store.put(commit_name(version), format_commit(entry))
    faulty_server.choose = lambda _method, _path: Fault.SLOW_DOWN
    with retry_for(0), pytest.raises(StoreUnavailable):
        find_emptied_days(root / "earnings", 48, DAYS)
    faulty_server.choose = lambda _method, _path: None
    for newest, read in [(48, 49), (48, 0), (49, 1)]:
        faulty_server.seen.clear()
        assert find_emptied_days(root / "earnings", newest, DAYS) == {FIRST}
        assert sum(method == "GET" and ".json" in path for method, path, _ in faulty_server.seen) == read
