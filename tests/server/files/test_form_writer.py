"""Every form of a report's file holds what its CSV holds, cell by cell, as four libraries read it."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest
import zstandard

from reelport.catalog import CellType, Dimension, Metric
from reelport.cells import look_up_columns
from reelport.client.results.arrow import read_table
from reelport.client.results.typed_rows import read_typed_rows
from reelport.engine.report_format import (
    CSV_GZ,
    CSV_ZST,
    FORM_TYPES,
    NDJSON,
    PARQUET,
    XLSX,
    FileType,
    copy_options,
)
from reelport.errors import UsageError
from reelport.server.queue.form_maker import write_form

Rows = list[tuple[object, ...]]
MEMORY = 256_000_000
ABOUT = {"query": '{"metrics":["VIEWS"]}', "versions": "{}", "units": '{"views":"views"}', "last_complete_day": "none"}
TYPES = {
    "day": "DATE",
    "hour": "VARCHAR",
    "month": "VARCHAR",
    "video_title": "VARCHAR",
    "views": "HUGEINT",
    "estimated_earnings_eur": "DECIMAL(38,6)",
}
MOST = 2**63 - 1
ROWS: Rows = [
    (date(2024, 2, 29), "2024-02-29T23:00:00Z", "2024-02", 'say "it", é😀\nnext\r\nline', MOST, Decimal("0.000001")),
    (date(1970, 1, 1), "1970-01-01T00:00:00Z", "1970-01", "", -MOST, Decimal("-12345678901234567890.123456")),
    (date(2026, 12, 31), None, None, None, 0, None),
    (None, "2026-12-31T00:00:00Z", "2026-12", "=1+1", None, Decimal("1.500000")),
    (date(2000, 2, 29), "2000-02-29T05:00:00Z", "2000-02", " 007,NULL ", 2**53 + 1, Decimal(99)),
]


def write_csv(to: Path, rows: Rows, types: dict[str, str]) -> Path:
    """Write a CSV as the engine writes reports."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE r ({', '.join(f'{name} {kind}' for name, kind in types.items())})")
        for row in rows:
            connection.execute(f"INSERT INTO r VALUES ({', '.join('?' * len(types))})", row)
        connection.execute(f"COPY r TO '{to}' ({copy_options(has_header=True)})")
    return to


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A CSV with texts, times, counts and money at their limits."""
    return write_csv(tmp_path / "report.csv", ROWS, TYPES)


def write(report: Path, form: FileType, rows: int = len(ROWS)) -> Path:
    """Write a form beside its CSV."""
    to = report.with_suffix(form.suffix)
    scratch = report.with_name("scratch")
    scratch.mkdir(exist_ok=True)
    write_form(report, rows, form, ABOUT, to, MEMORY, scratch)
    return to


def typed(report: Path) -> Rows:
    """The cells of a CSV, typed by the catalog as the client types them, row by row."""
    with report.open(encoding="utf-8") as file:
        columns = look_up_columns(next(csv.reader(file)))
    return list(read_typed_rows(report, columns))


def of_duckdb(sql: str) -> Rows:
    """The rows of a query, by DuckDB."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


PARQUET_READERS: dict[str, Callable[[Path], Rows]] = {
    "pyarrow": lambda path: [tuple(row.values()) for row in pq.read_table(path).to_pylist()],
    "polars": lambda path: pl.read_parquet(path).rows(),
    "duckdb": lambda path: of_duckdb(f"FROM read_parquet('{path}')"),
    "pandas": lambda path: [
        tuple(None if pd.isna(cell) else cell for cell in row)
        for row in pd.read_parquet(path, dtype_backend="pyarrow").itertuples(index=False, name=None)
    ],
}


@pytest.mark.parametrize("reader", PARQUET_READERS)
def test_a_parquet_file_holds_the_cells_of_the_csv(report: Path, reader: str) -> None:
    """Exact money, 64-bit counts, days and moments as such; an empty cell is null, and an empty text is none."""
    assert PARQUET_READERS[reader](write(report, PARQUET)) == typed(report)


def test_a_parquet_file_has_the_clients_types(report: Path) -> None:
    """A program that took the client's Parquet takes the service's: same names, types and rows."""
    own = read_table(report, look_up_columns(TYPES))
    assert pq.read_table(write(report, PARQUET)).replace_schema_metadata() == own


def test_a_count_beyond_64_bits_becomes_a_decimal(tmp_path: Path) -> None:
    """Its column alone, and never a double."""
    rows: Rows = [(date(2026, 1, 1), 2**63, 1), (date(2026, 1, 2), None, MOST)]
    report = write_csv(tmp_path / "r.csv", rows, {"day": "DATE", "views": "HUGEINT", "impressions": "HUGEINT"})
    found = pq.read_table(write(report, PARQUET, 2))
    assert found.schema.types == [pa.date32(), pa.decimal128(38, 0), pa.int64()]
    assert [tuple(row.values()) for row in found.to_pylist()] == rows


def test_a_parquet_file_says_what_it_holds(report: Path) -> None:
    """Query, versions, units and last complete day are in its metadata."""
    found = pq.read_schema(write(report, PARQUET)).metadata
    assert {name: found[f"reelport.{name}".encode()].decode() for name in ABOUT} == ABOUT


def as_json(cells: tuple[object, ...]) -> tuple[object, ...]:
    """Cells as they stand in JSON: times as the CSV writes them, numbers as they are."""
    return tuple(
        f"{cell:%Y-%m-%dT%H:%M:%SZ}" if isinstance(cell, datetime) else str(cell) if isinstance(cell, date) else cell
        for cell in cells
    )


def as_doubles(rows: Rows) -> Rows:
    """The rows with each decimal as the double that is nearest."""
    return [tuple(float(cell) if isinstance(cell, Decimal) else cell for cell in row) for row in rows]


MONEY = {"estimated_earnings_eur": "DECIMAL(38,6)"}
TEXTS = {name: "VARCHAR" for name, kind in TYPES.items() if kind in {"VARCHAR", "DATE"}}
AS_TEXT = pa.json.ParseOptions(
    explicit_schema=pa.schema([(name, pa.string()) for name in TEXTS]), unexpected_field_behavior="infer"
)


def ndjson_by_pandas(path: Path) -> Rows:
    """The rows by pandas' reader through Arrow, which takes days and moments for such: its own knows no long number."""
    frame = pd.read_json(path, lines=True, engine="pyarrow", dtype_backend="pyarrow")
    for name, form in (("day", "%Y-%m-%d"), ("hour", "%Y-%m-%dT%H:%M:%SZ")):
        frame[name] = frame[name].dt.strftime(form)
    return [tuple(None if pd.isna(cell) else cell for cell in row) for row in frame.itertuples(index=False, name=None)]


NDJSON_READERS: dict[str, Callable[[Path], Rows]] = {
    "json": lambda path: [
        tuple(json.loads(line, parse_float=Decimal).values()) for line in path.read_text("utf-8").split("\n")[:-1]
    ],
    "duckdb": lambda path: of_duckdb(
        f"FROM read_json('{path}', format = 'newline_delimited', columns = {TEXTS | {'views': 'BIGINT'} | MONEY})"
    ),
}
NDJSON_DOUBLES: dict[str, Callable[[Path], Rows]] = {
    "pyarrow": lambda path: [tuple(row.values()) for row in pa.json.read_json(path, parse_options=AS_TEXT).to_pylist()],
    "polars": lambda path: pl.read_ndjson(path, infer_schema_length=None).rows(),
    "pandas": ndjson_by_pandas,
}


@pytest.mark.parametrize("reader", NDJSON_READERS)
def test_an_ndjson_file_holds_the_digits_of_the_csv(report: Path, reader: str) -> None:
    """What reads JSON's numbers as decimals has all of the money; texts are whole, and null is null."""
    assert NDJSON_READERS[reader](write(report, NDJSON)) == [as_json(row) for row in typed(report)]


@pytest.mark.parametrize("reader", NDJSON_DOUBLES)
def test_an_ndjson_file_is_read_by_what_knows_doubles_alone(report: Path, reader: str) -> None:
    """Money is then the nearest double; all else is exact, the largest counts too."""
    rows = as_doubles([as_json(row) for row in typed(report)])
    assert as_doubles(NDJSON_DOUBLES[reader](write(report, NDJSON))) == rows


TEXT_READERS: dict[str, Callable[[Path], Any]] = {
    "pyarrow": lambda path: pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(newlines_in_values=True)),
    "polars": lambda path: pl.read_csv(path, infer_schema=False).rows(),
    "duckdb": lambda path: of_duckdb(f"FROM read_csv('{path}', all_varchar = true, header = true, quote = '\"')"),
    "pandas": lambda path: pd.read_csv(path, dtype=str).to_dict(),
}


@pytest.mark.parametrize("reader", TEXT_READERS)
@pytest.mark.parametrize("form", [CSV_GZ, CSV_ZST])
def test_a_compressed_csv_is_read_as_the_csv_is(report: Path, reader: str, form: FileType) -> None:
    """By its suffix alone: each library unpacks it itself."""
    read = TEXT_READERS[reader]
    assert repr(read(write(report, form))) == repr(read(report))


def test_a_compressed_csv_has_the_bytes_of_the_csv(report: Path) -> None:
    """Whatever unpacks it."""
    assert gzip.decompress(write(report, CSV_GZ).read_bytes()) == report.read_bytes()
    packed = write(report, CSV_ZST).read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == report.read_bytes()


def test_a_workbook_holds_the_cells_of_the_csv(report: Path) -> None:
    """And no formula: what looks like one is a text."""
    header, *rows = openpyxl.load_workbook(write(report, XLSX)).active.iter_rows()
    assert [cell.value for cell in header] == list(TYPES)
    assert [cell.data_type for row in rows for cell in row].count("f") == 0
    texts = [(row[3].value or "").replace("_x000D_", "\r") for row in rows]
    assert texts == [row[3] or "" for row in ROWS]
    assert [row[0].value and row[0].value.date() for row in rows] == [row[0] for row in ROWS]
    assert [row[4].value for row in rows][2:] == [0, None, str(2**53 + 1)]


@pytest.mark.parametrize("form", FORM_TYPES.values(), ids=FORM_TYPES)
def test_the_same_csv_gives_the_same_bytes(report: Path, form: FileType) -> None:
    """Also elsewhere, and at another time."""
    first = write(report, form).read_bytes()
    (report.parent / "other").mkdir()
    again = report.parent / "other" / "again.csv"
    again.write_bytes(report.read_bytes())
    assert write(again, form).read_bytes() == first


@pytest.mark.parametrize("form", FORM_TYPES.values(), ids=FORM_TYPES)
def test_a_report_without_rows_has_every_form(tmp_path: Path, form: FileType) -> None:
    """With its columns, where the form has such."""
    report = write_csv(tmp_path / "r.csv", [], TYPES)
    made = write(report, form, 0)
    if form == PARQUET:
        assert pq.read_table(made).column_names == list(TYPES)
    assert form != NDJSON or made.read_bytes() == b""


def test_empty_cells_of_one_column_are_rows(tmp_path: Path) -> None:
    """Where a row is one cell, a blank line is a row: null, and an empty text another one."""
    rows: Rows = [("a",), (None,), ("",), (None,)]
    report = write_csv(tmp_path / "r.csv", rows, {"video_title": "VARCHAR"})
    assert of_duckdb(f"FROM '{write(report, PARQUET, 4)}'") == rows
    assert [json.loads(line)["video_title"] for line in write(report, NDJSON, 4).read_text().splitlines()] == [
        *("a", None, "", None)
    ]


def test_a_workbook_that_can_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    """Else each attempt on a full disk would keep it full."""
    report = write_csv(tmp_path / "r.csv", [("a" * 40_000,)], {"video_title": "VARCHAR"})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(UsageError, match="32,767"):
        write_form(report, 1, XLSX, {}, tmp_path / "r.xlsx", MEMORY, scratch)
    assert list(scratch.iterdir()) == []


def test_every_column_of_the_catalog_has_a_type_that_is_exact(tmp_path: Path) -> None:
    """None is a double: every number is a 64-bit integer or a decimal with the catalog's digits."""
    names = [row.header for row in (*Dimension, *Metric)]
    report = tmp_path / "r.csv"
    report.write_text(",".join(names) + "\n")
    found = pq.read_schema(write(report, PARQUET, 0))
    numbers = {
        CellType.INTEGER: lambda digits: pa.int64(),  # noqa: ARG005 - as the other
        CellType.DECIMAL: lambda digits: pa.decimal128(38, digits),
    }
    for column in look_up_columns(names):
        if column.type in numbers:
            assert found.field(column.name).type == numbers[column.type](column.digits)
        assert not pa.types.is_floating(found.field(column.name).type)
