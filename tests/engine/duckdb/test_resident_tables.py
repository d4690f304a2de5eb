"""What an engine keeps: small object tables, files' descriptions, little memory; and how it fetches small plans."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.patience import PATIENCE, until

from reelport.engine.duckdb.engine import MOST_TABLE_ROWS, Cancelled, QueryEngine, ResidentTables, Session
from reelport.engine.plan import Pieces, Plan, StoredObjects, single_piece
from reelport.errors import InternalError, OutOfMemory, ReelportError, StorageError, UsageError
from reelport.facts.data_files.file_columns import read_files_sql
from reelport.facts.tables import TABLES, stored_schema

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


@pytest.mark.long
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


@pytest.mark.parametrize(("most_bytes", "readings"), [(10**9, 1), (1, 2)])
def test_the_description_of_a_file_is_read_once(tmp_path: Path, most_bytes: int, readings: int) -> None:
    """Each session binds its statement by what an earlier one has read of the file, until those kept take too much."""
    path = _write_groups(tmp_path)
    with QueryEngine("400MB", 1, None, within=(tmp_path,), keeps_footers=True) as engine:
        read = [_read_footer(engine, path) for _ in range(2)]
        engine.limit_footers(most_bytes)
        read += [_read_footer(engine, path) for _ in range(2)]
    assert read == [True, False, *(2 * [readings > 1])]


def test_an_engine_that_nobody_looks_after_keeps_no_descriptions(tmp_path: Path) -> None:
    """The explorer's is as old as the API: it would have those of files that are gone for months."""
    path = _write_groups(tmp_path)
    with QueryEngine("400MB", 1, None, within=(tmp_path,)) as engine:
        assert [_read_footer(engine, path) for _ in range(2)] == [True, True]


def test_what_a_plan_looks_at_in_a_file_is_not_read_again(tmp_path: Path) -> None:
    """A report learns which columns a file has by the description that its statement then needs."""
    path, at = tmp_path / "plays.parquet", list[int]()
    play = {"started_at": datetime(2025, 1, 1, tzinfo=UTC), "owner_channel_id": "c1", "batch": "b", "views": 1}
    rows = pa.Table.from_pylist([play] * 2_000, stored_schema("plays"))
    pq.write_table(rows, path, row_group_size=20)

    def plan() -> Pieces:
        at.append(_read_counter())
        relation = read_files_sql(TABLES["plays"], [str(path)])
        at.append(_read_counter())
        yield Plan(f"SELECT count(*) AS n FROM {relation} WHERE views > 1", ("n",))
        at.append(_read_counter())

    with QueryEngine("400MB", 1, tmp_path / "spill", keeps_footers=True) as engine, ThreadPoolExecutor(1) as pool:
        pool.submit(engine.session().write, plan(), tmp_path / "r.csv").result()
    read = [after - before >= _measure_footer(path) for before, after in pairwise(at)]
    assert read == [True, False]


def _write_groups(folder: Path) -> Path:
    path = folder / "many-groups.parquet"
    duckdb.sql(f"COPY (SELECT i FROM range(200000) t(i)) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    return path


def _read_footer(engine: QueryEngine, path: Path) -> bool:
    """Let a session of its own read a file: whether it reads its description, too."""
    plan = Plan(f"SELECT count(*) FROM read_parquet('{path}') WHERE i < 100", ())
    return _count_read_bytes(engine, plan) >= _measure_footer(path)


def _measure_footer(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[-8:-4], "little")


def _count_read_bytes(engine: QueryEngine, plan: Plan) -> int:
    """Count what a session of its own reads: an engine with one thread reads in that of its caller."""
    before = _read_counter()
    engine.session().fetch(plan, "this page")
    return _read_counter() - before


def _read_counter() -> int:
    found = re.search(r"rchar: (\d+)", Path("/proc/thread-self/io").read_text())
    assert found is not None
    return int(found[1])


ENDLESS = Plan("SELECT count(*) AS n FROM range(1000000000000) t(i) WHERE hash(i) = 7", ("n",))


@pytest.fixture
def engine() -> Iterator[QueryEngine]:
    with QueryEngine("400MB", 2, None) as engine:
        yield engine


def test_rows_are_fetched_as_exact_values(engine: QueryEngine) -> None:
    """Sums are whole numbers of any size, money is a decimal, an empty cell is None."""
    plan = Plan("SELECT 'é' AS a, 2::HUGEINT ** 100 > 1, sum(i) AS b, 1.5::DECIMAL(9, 2), NULL FROM range(5) t(i)", ())
    assert engine.session().fetch(plan, "this page") == [("é", True, 10, Decimal("1.50"), None)]


@pytest.mark.parametrize("after", [0, 0.2])
def test_a_fetch_is_stopped_and_its_engine_goes_on(engine: QueryEngine, after: float) -> None:
    """`cancel` from another thread ends an endless fetch; the next session is free to run."""
    session, raised = engine.session(), list[ReelportError]()

    def fetch() -> None:
        try:
            session.fetch(ENDLESS, "this page")
        except ReelportError as error:
            raised.append(error)

    running = threading.Thread(target=fetch)
    running.start()
    time.sleep(after)
    session.cancel()
    running.join(PATIENCE)
    assert [type(error) for error in raised] == [Cancelled]
    with pytest.raises(Cancelled):
        session.fetch(ENDLESS, "this page")
    assert engine.session().fetch(Plan("SELECT 1", ("n",)), "this page") == [(1,)]


def test_an_engine_without_a_folder_runs_out_of_memory_instead_of_spilling(tmp_path: Path) -> None:
    """What exceeds its limit fails in words, and it writes no file."""
    with QueryEngine("64MB", 2, None, within=(tmp_path,)) as engine:
        plan = Plan("SELECT i, count(*) FROM range(5000000) t(i) GROUP BY ALL ORDER BY 2, 1 LIMIT 1", ("i", "n"))
        with pytest.raises(OutOfMemory, match="this page needs more memory"):
            engine.session().fetch(plan, "this page")
        with pytest.raises(UsageError, match="no folder"):
            engine.session().write(single_piece(plan), tmp_path / "r.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_that_is_wrong_is_our_fault(engine: QueryEngine) -> None:
    """It is an internal error that names what was made."""
    with pytest.raises(InternalError, match="while making this page"):
        engine.session().fetch(Plan("SELECT nothing", ()), "this page")


def test_what_the_engine_is_set_to_holds_in_each_of_its_sessions(
    engine: QueryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the process is, times are UTC; no variable of Python's passes for a table; a report sets nothing."""
    monkeypatch.setenv("TZ", "America/New_York")
    names = ("TimeZone", "python_enable_replacements", "lock_configuration")
    settings = ", ".join(f"current_setting('{name}')" for name in names)
    plan = Plan(f"SELECT {settings}", ())
    assert engine.session().fetch(plan, "this page") == [("UTC", False, True)]


LARGE = Plan(
    "SELECT count(*) AS n FROM (SELECT hash(i)::TEXT AS s, count(*) FROM range(1500000) t(i) GROUP BY s)", ("n",)
)


def read_anonymous() -> int:
    """Bytes of this process that are of no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def test_an_idle_engine_gives_back_what_a_large_report_took(tmp_path: Path) -> None:
    """Its allocator would keep the pages for good otherwise, and each worker would rest in its largest report."""
    with QueryEngine("1GB", 2, tmp_path) as engine:
        session = engine.session()
        before = read_anonymous()
        assert session.fetch(LARGE, "a test") == [(1_500_000,)]
        taken = read_anonymous() - before
        assert taken > 50_000_000
        assert until(lambda: read_anonymous() - before < taken / 3)
        session.close()
