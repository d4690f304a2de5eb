"""Small object tables are kept in memory by their files: the same rows, within a bound, and never in a report's way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from reelport.engine.duckdb.engine import MOST_TABLE_ROWS, QueryEngine, ResidentTables, Session
from reelport.engine.plan import Plan, StoredObjects
from reelport.errors import StorageError

_BYTES = 50_000
"""Bytes of a table above which it isn't kept here."""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A session of an engine of its own."""
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine:
        yield engine.session()


def store(path: Path, title: str, times: int = 1) -> StoredObjects:
    """Write a table of one object; it is read as any object table is."""
    duckdb.execute(f"COPY (SELECT 'v1' AS id, repeat('{title}', {times}) AS title) TO '{path}' (FORMAT parquet)")
    return StoredObjects(f"read_parquet(['{path}'], hive_partitioning = false)", 1)


def plan(objects: StoredObjects, rows: int = 1) -> Plan:
    """A plan that reads the objects, which are said to be so many."""
    return Plan(f"SELECT title FROM {objects.sql} AS v", ("title",), objects=(StoredObjects(objects.sql, rows),))


def test_objects_are_read_from_memory_from_their_second_use_on(session: Session, tmp_path: Path) -> None:
    """Their file is opened twice, for the first report and to keep them, and no more."""
    objects = plan(store(tmp_path / "videos.parquet", "Goal"))
    for _ in range(2):
        assert session.fetch(objects, "rows") == [("Goal",)]
    (tmp_path / "videos.parquet").unlink()
    assert session.fetch(objects, "rows") == [("Goal",)]


def test_objects_of_other_files_are_others(session: Session, tmp_path: Path) -> None:
    """Another version of a table has files of other names: its rows are its own, be the old ones kept or not."""
    first, second = (plan(store(tmp_path / f"{title}.parquet", title)) for title in ("old", "new"))
    assert [session.fetch(each, "rows") for each in (first, first, second, second, first)] == [
        [(title,)] for title in ("old", "old", "new", "new", "old")
    ]


def test_many_objects_are_not_kept(session: Session, tmp_path: Path) -> None:
    """They are read from their file each time: without it the report fails."""
    objects = plan(store(tmp_path / "videos.parquet", "Goal"), MOST_TABLE_ROWS + 1)
    for _ in range(3):
        session.fetch(objects, "rows")
    (tmp_path / "videos.parquet").unlink()
    with pytest.raises(StorageError):
        session.fetch(objects, "rows")


def test_long_titles_are_not_kept(tmp_path: Path) -> None:
    """It is bytes that a worker's memory is made of, however few rows have them."""
    connection, residents = duckdb.connect(), ResidentTables(_BYTES)
    for times, is_kept in ((_BYTES, False), (_BYTES // 2, True)):
        objects = plan(store(tmp_path / f"{times}.parquet", "x", times))
        for _ in range(3):
            with residents.reading(connection, objects) as sql:
                assert connection.execute(f"SELECT len(title) FROM ({sql})").fetchall() == [(times,)]
        assert ("resident" in sql) == is_kept


def test_kept_tables_stay_within_their_bound(tmp_path: Path) -> None:
    """The ones used least recently go, but none that a statement reads at this moment."""
    connection, residents = duckdb.connect(), ResidentTables(_BYTES)
    plans = [plan(store(tmp_path / f"{number}.parquet", str(number), _BYTES * 9 // 10)) for number in range(6)]

    def use(number: int) -> None:
        for _ in range(2):
            with residents.reading(connection, plans[number]) as sql:
                assert connection.execute(f"SELECT title[-1:] FROM ({sql})").fetchall() == [(str(number),)]

    use(0)
    with residents.reading(connection, plans[0]) as sql:
        assert "read_parquet" not in sql
        for number in range(1, 6):
            use(number)
        assert connection.execute(f"SELECT title[-1:] FROM ({sql})").fetchall() == [("0",)]
    assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(2,)]


def test_objects_that_find_no_memory_are_read_from_their_file(tmp_path: Path) -> None:
    """A report that needs less memory than all of their rows is made."""
    counted = count_titles(tmp_path / "videos.parquet")
    with QueryEngine("25MB", 1, None) as engine:
        assert [engine.session().fetch(counted, "rows") for _ in range(3)] == [[(600_000,)]] * 3


def test_objects_that_found_no_memory_are_not_tried_again(tmp_path: Path) -> None:
    """Each try costs a report: there is no other, though memory is free by then, until a load changes the table."""
    residents = ResidentTables()

    def is_kept(counted: Plan, memory: str) -> bool:
        connection.execute(f"SET memory_limit = '{memory}'")
        for _ in range(2):
            with residents.reading(connection, counted) as sql:
                assert connection.execute(sql).fetchall() == [(600_000,)]
        return "resident" in sql

    with duckdb.connect(config={"temp_directory": "", "threads": 1}) as connection:
        former, present = (count_titles(tmp_path / f"{name}.parquet") for name in ("former", "present"))
        assert not is_kept(former, "25MB")
        assert not is_kept(former, "1GB")
        assert is_kept(present, "1GB")


def count_titles(path: Path) -> Plan:
    """Write more titles than 25 MB hold; a plan that counts them."""
    duckdb.execute(f"COPY (SELECT md5(range::TEXT) AS title FROM range(600000)) TO '{path}' (FORMAT parquet)")
    objects = StoredObjects(f"read_parquet(['{path}'], hive_partitioning = false)", 1)
    return Plan(f"SELECT count(title) AS n FROM {objects.sql} AS v", ("n",), objects=(objects,))


def test_a_column_that_no_report_reads_takes_no_memory(tmp_path: Path) -> None:
    """It counts for nothing where a table is kept, so that long addresses don't keep titles from being kept."""
    path = tmp_path / "videos.parquet"
    duckdb.execute(f"COPY (SELECT 'Goal' AS title, repeat('a', 100000) AS address) TO '{path}' (FORMAT parquet)")
    relation = f"read_parquet(['{path}'], hive_partitioning = false)"
    for left_out, is_kept in (((), False), (("address",), True)):
        residents, objects = ResidentTables(most_bytes=10_000), StoredObjects(relation, 1, left_out)
        with duckdb.connect() as connection:
            for _ in range(2):
                with residents.reading(connection, Plan(f"SELECT title FROM {relation} AS v", (), (objects,))) as sql:
                    assert connection.execute(sql).fetchall() == [("Goal",)]
            assert ("resident" in sql) == is_kept
