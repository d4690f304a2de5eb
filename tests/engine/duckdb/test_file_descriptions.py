"""A file's description is read once by an engine that keeps them, as long as they take little memory."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.plan import Pieces, Plan
from reelport.facts.data_files.file_columns import read_files_sql
from reelport.facts.tables import TABLES, stored_schema


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
