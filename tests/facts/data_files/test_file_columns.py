"""Files of a table: missing columns are filled in, and those of a stopped change stay or go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.data_files.file_columns import read_files_sql
from reelport.facts.data_files.projection import project_sql
from reelport.facts.data_files.sorted_files import StagedFiles, open_writer
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.log_entry import DataFile, LogEntry
from reelport.facts.log.log_files import commit_name, open_store
from reelport.facts.tables import TABLES, find_table, stored_schema

PLAYS = replace(TABLES["plays"], columns=tuple(column for column in TABLES["plays"].columns if column.default is None))
"""Plays as they are where no column has a default."""
AT = datetime(2023, 7, 1, tzinfo=UTC)


def write(path: Path, rows: pa.Table) -> str:
    pq.write_table(rows, path)
    return str(path)


def whole(views: int) -> pa.Table:
    """One row with every stored column of `PLAYS`."""
    defaults = {column.name for column in TABLES["plays"].columns} - {column.name for column in PLAYS.columns}
    schema = pa.schema([field for field in stored_schema("plays") if field.name not in defaults])
    values = {"started_at": AT, "owner_channel_id": "c1", "batch": "b", "views": views}
    return pa.table({field.name: pa.array([values.get(field.name)], field.type) for field in schema}, schema=schema)


def same_rows(paths: list[str]) -> bool:
    """Whether the files give what filling in gives: columns, types and rows."""
    with duckdb.connect() as session:
        found, filled = (
            session.sql(f"FROM {read_files_sql(PLAYS, paths)}"),
            session.sql(project_sql(PLAYS, parquet_source(paths))),
        )
        return (found.columns, found.types, sorted(found.fetchall(), key=repr)) == (
            filled.columns,
            filled.types,
            sorted(filled.fetchall(), key=repr),
        )


def test_whole_files_are_read_without_being_filled_in(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{views}.parquet", whole(views)) for views in (1, 2)]
    assert "UNION ALL" not in read_files_sql(PLAYS, paths)
    assert same_rows(paths)


def test_a_column_that_one_file_lacks_is_filled_in_for_all(tmp_path: Path) -> None:
    older = write(tmp_path / "older.parquet", whole(2).drop_columns(["visitor_country"]))
    paths = [write(tmp_path / "newer.parquet", whole(1)), older]
    assert "UNION ALL" in read_files_sql(PLAYS, paths)
    assert same_rows(paths)
    assert same_rows(paths[::-1])


def test_another_type_or_order_of_columns_is_filled_in(tmp_path: Path) -> None:
    """Another tool may have written the file: the first of several would decide how the others are read."""
    rows = whole(1)
    place = rows.column_names.index("views")
    narrow = rows.set_column(place, "views", rows["views"].cast(pa.int32()))
    for name, other in (("narrow", narrow), ("order", rows.select(rows.column_names[::-1]))):
        path = write(tmp_path / f"{name}.parquet", other)
        assert "UNION ALL" in read_files_sql(PLAYS, [path])


def test_a_table_with_defaults_is_always_filled_in(tmp_path: Path) -> None:
    """An empty cell of a whole file counts as the default too."""
    table = next(table for table in TABLES.values() if any(column.default is not None for column in table.columns))
    schema = stored_schema(table.name)
    path = write(tmp_path / "whole.parquet", schema.empty_table())
    assert "coalesce" in read_files_sql(table, [path])


def test_a_file_that_cannot_be_read_is_left_to_whoever_reads_it(tmp_path: Path) -> None:
    assert "UNION ALL" in read_files_sql(PLAYS, [str(tmp_path / "gone.parquet")])
    later = write(tmp_path / "gone.parquet", whole(1))
    assert "UNION ALL" not in read_files_sql(PLAYS, [later])


_TABLE = find_table("channels")
_ROWS = pa.Table.from_pylist([{"id": "c1", "slug": "s", "name": "n", "account_id": None}])


def _stop(root: Path, meanwhile: Callable[[tuple[DataFile, ...]], None]) -> bool:
    """Stop a change whose file was finished, and whether the file stays."""
    since = read_newest(root, _TABLE).version
    with suppress(KeyboardInterrupt), StagedFiles(root / _TABLE.name, _TABLE, since, root) as staged:
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
