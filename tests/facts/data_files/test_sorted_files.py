"""The new files of a change: which of them stay where it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelport.facts.data_files.sorted_files import StagedFiles, open_writer
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.log_entry import DataFile, LogEntry
from reelport.facts.log.log_files import commit_name, open_store
from reelport.facts.tables import find_table, stored_schema

_TABLE = find_table("channels")
_ROWS = pa.Table.from_pylist([{"id": "c1", "slug": "s", "name": "n", "account_id": None}])


def _stop(root: Path, meanwhile: Callable[[tuple[DataFile, ...]], None]) -> bool:
    """Stop a change whose file was finished, and whether the file stays."""
    since = read_newest(root, _TABLE).version
    with suppress(KeyboardInterrupt), StagedFiles(root / _TABLE.name, _TABLE, since) as staged:
        staged.write("all", None, _ROWS)
        files = staged.finish()
        meanwhile(files)
        raise KeyboardInterrupt
    return open_store(root / _TABLE.name).find(files[0].path) is not None


def _commit(root: Path, kind: str, adds: tuple[DataFile, ...] = (), removes: tuple[DataFile, ...] = ()) -> None:
    commit(root, _TABLE, lambda _: Change(LogEntry(kind, "b"), adds, removes))


def test_files_that_a_later_commit_removed_stay_when_their_change_is_stopped(root: Path) -> None:
    """Somebody else's compact or undo takes a commit's files out before its process is stopped: readers need them."""

    def commit_and_undo(files: tuple[DataFile, ...]) -> None:
        _commit(root, "load", files)
        _commit(root, "undo", removes=files)

    assert _stop(root, commit_and_undo)


@pytest.mark.parametrize("is_removed", [False, True])
def test_files_that_a_commit_named_stay_however_many_commits_came_since(root: Path, is_removed: bool) -> None:
    """A process that was frozen after its commit, and is stopped after many of others, takes no rows away.

    Nor from those who read a version of before somebody else's compact.
    """

    def commit_and_freeze(files: tuple[DataFile, ...]) -> None:
        _commit(root, "load", files)
        if is_removed:
            _commit(root, "compact", removes=files)
        for _ in range(21):
            _commit(root, "load")

    assert _stop(root, commit_and_freeze)


def test_files_of_a_stopped_change_that_no_commit_names_are_deleted(root: Path) -> None:
    """A change that is stopped before its commit leaves nothing, with a log of others and without one."""
    assert not _stop(root, lambda _: None)
    assert not _stop(root, lambda _: _commit(root, "load"))


def test_files_of_a_stopped_change_stay_where_a_commit_cant_be_read(root: Path) -> None:
    """Nothing tells what a damaged commit named: a vacuum deletes the files if none does."""

    def commit_and_damage(_: tuple[DataFile, ...]) -> None:
        _commit(root, "load")
        _commit(root, "load")
        open_store(root / _TABLE.name).put(commit_name(1), b"{")

    assert _stop(root, commit_and_damage)


@pytest.mark.parametrize("name", ["plays", "usage", "videos"])
def test_all_columns_but_times_have_dictionaries(tmp_path: Path, name: str) -> None:
    """Those of lists too, as the tags of videos: without one, they took nearly twice the bytes."""
    table, path = find_table(name), tmp_path / "rows.parquet"
    with open_writer(path, table) as writer:
        writer.write_table(stored_schema(name).empty_table())
        writer.write_table(pa.Table.from_pylist([{}] * 2, stored_schema(name)))
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    assert [each.path_in_schema for each in columns if not each.has_dictionary_page] == [table.time] * table.is_fact
