"""Files with every declared column are read as they are; others are filled in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.data_files.file_columns import read_files_sql
from reelport.facts.data_files.projection import project_sql
from reelport.facts.tables import TABLES, stored_schema

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
