"""A rejected row of a mapping is told by the row of the file that it was made of, where it was made of one."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cases import thin_out

from reelport.facts.loading.load import load

ONE_TO_ONE = {
    "columns": "SELECT n AS id, s AS owner_channel_id FROM input",
    "star": "SELECT * EXCLUDE (n, s), n AS id, s AS owner_channel_id FROM input",
    "where": "SELECT n AS id, s AS owner_channel_id FROM input WHERE n <> 'left out' ORDER BY s DESC",
    "ordered by all": "SELECT n AS id, s AS owner_channel_id FROM input ORDER BY ALL DESC",
    "alias": "SELECT i.n AS id, i.s AS owner_channel_id FROM input AS i",
    "named": "SELECT input.n AS id, input.s AS owner_channel_id FROM input;",
    "parts": "WITH a AS (SELECT n, s FROM input), b AS (SELECT * FROM a) SELECT n AS id, s AS owner_channel_id FROM b",
    "inner": "SELECT id, owner_channel_id FROM (SELECT n AS id, s AS owner_channel_id FROM INPUT) AS inner_one",
    "window": "SELECT n AS id, s AS owner_channel_id FROM input QUALIFY count(*) OVER (PARTITION BY n) > 0",
    "other": "SELECT n AS id, CASE WHEN (SELECT count(*) FROM input) > 0 THEN s END AS owner_channel_id FROM input",
    "first": "FROM input SELECT n AS id, s AS owner_channel_id",
}
MIXED = {
    "grouped": "SELECT n AS id, any_value(s) AS owner_channel_id FROM input GROUP BY n",
    "group all": "SELECT n AS id, any_value(s) AS owner_channel_id FROM input GROUP BY ALL",
    "distinct": "SELECT DISTINCT n AS id, s AS owner_channel_id FROM input",
    "summed": (
        "SELECT max(n) AS id, NULL AS owner_channel_id FROM input UNION ALL SELECT 'c9' AS id, 's' AS owner_channel_id"
    ),
    "summed part": (
        "WITH a AS (SELECT max(n) AS n, max(s) AS s FROM input) SELECT unnest([n, NULL]) "
        "AS id, s AS owner_channel_id FROM a"
    ),
    "united": (
        "SELECT n AS id, s AS owner_channel_id FROM input UNION ALL SELECT n || '2' AS "
        "id, s AS owner_channel_id FROM input"
    ),
    "joined": "SELECT a.n AS id, b.s AS owner_channel_id FROM input AS a JOIN input AS b USING (n)",
    "part read twice": (
        "WITH a AS (SELECT n, s FROM input) "
        "SELECT n AS id, s AS owner_channel_id FROM a WHERE n IN (SELECT max(n) FROM a GROUP BY n)"
    ),
    "grouped part": (
        "WITH a AS (SELECT n, any_value(s) AS s FROM input GROUP BY n) SELECT n AS id, s AS owner_channel_id FROM a"
    ),
    "whole rows": "SELECT left(CAST(input AS VARCHAR), 9) AS id, s AS owner_channel_id FROM input",
    "whole rows of an alias": (
        "SELECT left(CAST(to_json(i) AS VARCHAR), 9) AS id, s AS owner_channel_id FROM input AS i"
    ),
    "all columns": "SELECT left(CAST(row(*COLUMNS(*)) AS VARCHAR), 9) AS id, s AS owner_channel_id FROM input",
    "columns by pattern": "SELECT COLUMNS('n') AS id, 'a' AS owner_channel_id FROM input",
}


def _rejected(root: Path, files: list[Path], mapping: str, table: str = "videos") -> list[tuple[str, str]]:
    """The file and line of each rejected row."""
    text = root.parent.parent / "map.sql"
    text.write_text(mapping)
    done = load(root, table, files, mapping=text)
    if done.rejects_file is None:
        return []
    with done.rejects_file.open(newline="") as file:
        return [(Path(row["file"]).name, row["line"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("mapping", thin_out(ONE_TO_ONE, 3))
def test_a_row_of_a_csv_file_is_told_by_its_line(tmp_path: Path, root: Path, mapping: str) -> None:
    """Records of several lines, blank lines and broken ones count as in the file, over several files."""
    one, two = tmp_path / "one.csv", tmp_path / "two.csv.gz"
    one.write_text('n,s\n"a\nb",owner_channel_id\nc2,\nonly one field\nc3,s\n')
    two.write_bytes(gzip.compress(b"n,s\nc4,s\n\nc5,\n"))
    found = _rejected(root, [one, two], ONE_TO_ONE[mapping])
    assert found == [("one.csv", "4"), ("one.csv", "5"), ("two.csv.gz", "4")]


@pytest.mark.parametrize("mapping", thin_out(MIXED, 8))
def test_a_row_made_of_several_is_told_by_its_number(tmp_path: Path, root: Path, mapping: str) -> None:
    """Where the mapping makes a row of more than one, or of none that can be named, its own number is told."""
    path = tmp_path / "a.csv"
    path.write_text("n,s\nc1,s\nc2,\n,s\n")
    assert {file for file, _ in _rejected(root, [path], MIXED[mapping])} == {"the mapping's output"}


def test_a_row_of_parquet_is_told_by_its_number_in_its_file(tmp_path: Path, root: Path) -> None:
    """Rows of several Parquet files are counted in each of them."""
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, slugs in zip(paths, (["s", "s", None], [None, "s"]), strict=True):
        pq.write_table(pa.table({"n": [f"{path.stem}{at}" for at in range(len(slugs))], "s": slugs}), path)
    assert _rejected(root, paths, ONE_TO_ONE["columns"]) == [("a.parquet", "3"), ("b.parquet", "1")]


def test_parquet_with_a_column_of_the_same_name_is_told_by_its_number(tmp_path: Path, root: Path) -> None:
    """A file may have a column that is called as the engine calls the number of a row."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": ["c1", "c2"], "s": ["s", None], "file_row_number": [7, 7]}), path)
    assert _rejected(root, [path], ONE_TO_ONE["columns"]) == [("the mapping's output", "2")]


@pytest.mark.parametrize("bad", ["", "[1]\n"])
def test_a_row_of_ndjson_is_told_by_its_line(tmp_path: Path, root: Path, bad: str) -> None:
    """Blank lines, and lines that are no objects, count too; a packed file is like a plain one."""
    plain, packed = tmp_path / "a.ndjson", tmp_path / "b.ndjson"
    plain.write_text('{"n": "c1", "s": "s"}\n\n' + bad + '{"n": "c2"}\n{"n": "c3", "s": "s"}\n\n{"n": "c4", "s": ""}\n')
    packed.write_text('\n\n{"n": "c5"}\n{"n": "c6", "s": "s"}\n{"n": "c7"}')
    found = _rejected(root, [plain, packed], ONE_TO_ONE["columns"])
    broken = [("a.ndjson", "3")] if bad else []
    shift = len(broken)
    expected = [("a.ndjson", str(3 + shift)), ("a.ndjson", str(6 + shift)), ("b.ndjson", "3"), ("b.ndjson", "5")]
    assert found == [*broken, *expected]


def test_rows_of_many_batches_keep_their_lines(tmp_path: Path, root: Path) -> None:
    """Each of many rows is told by its own line, whatever the engine sorts and in how many parts it reads."""
    path = tmp_path / "a.csv"
    path.write_text("n,s\n" + "".join(f"c{at},{'' if at % 997 == 0 else 's'}\n" for at in range(120_000)))
    expected = [("a.csv", str(at + 2)) for at in range(0, 120_000, 997)]
    assert _rejected(root, [path], "SELECT n AS id, s AS owner_channel_id FROM input ORDER BY md5(n)") == expected
