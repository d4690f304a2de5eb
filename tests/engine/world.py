"""Facts to ask of: in files as the service keeps them, and the same rows as plain tables for hand-written SQL."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb.func import FunctionNullHandling
from tests.object_rows import merge_rows

from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.compile import plan_pieces, tables_of
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.tenant import Tenant
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.facts.tables import BATCH, TABLES, stored_schema
from reelport.query import ReportQuery

Rows = list[list[str]]
Tables = Mapping[str, Sequence[Mapping[str, object]]]
FACTS = frozenset(name for name, table in TABLES.items() if table.is_fact)


@dataclass
class Usual:
    """Who aggregates where a test doesn't say; with REELPORT_AGGREGATOR=spark a real Spark (`conftest.py`)."""

    aggregator: Aggregator = DUCKDB


USUAL = Usual()


@dataclass(frozen=True)
class World:
    """The facts: as rows, in pinned files for the engine, and as an in-memory database."""

    tables: Tables
    snapshot: Snapshot
    engine: QueryEngine
    folder: Path

    @cached_property
    def plain(self) -> duckdb.DuckDBPyConnection:
        """The rows as tables of a database."""
        return _plain(self.tables)

    def report(self, query: ReportQuery, channels: frozenset[str] | Tenant) -> Rows:
        """The report's rows as a CSV reader sees them, the header left out."""
        lines = io.StringIO(self.text(query, channels), newline="")
        # The one empty cell of a one-column report is a blank line, which Python reads as no cell.
        return [row or [""] for row in csv.reader(lines)][1:]

    def text(
        self,
        query: ReportQuery,
        channels: frozenset[str] | Tenant,
        *,
        worth: int = 0,
        aggregator: Aggregator | None = None,
    ) -> str:
        """The report's file, made month by month where that can be and the facts are `worth` it."""
        assert tables_of(query) <= set(self.snapshot.listing)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "report.csv"
        session = self.engine.session()
        tenant = channels if isinstance(channels, Tenant) else Tenant(channels)
        by = aggregator or USUAL.aggregator
        session.write(plan_pieces(query, tenant, self.snapshot, aggregator=by, worth=worth, size=1), path)
        session.close()
        return path.read_bytes().decode()

    def by_hand(self, sql: str, cells: int) -> Rows:
        """The rows of hand-written SQL as texts, sorted by their first `cells` columns: by bytes, empty last."""
        rows = [[written(value) for value in row] for row in self.plain.execute(sql).fetchall()]
        return sorted(rows, key=lambda row: [(cell == "", cell.encode()) for cell in row[:cells]])


def written(value: object) -> str:
    """A value as a cell holds it."""
    match value:
        case None:
            return ""
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        case date():
            return value.isoformat()
        case _:
            return str(value)


def loaded(tables: Tables, folder: Path, engine: QueryEngine) -> World:
    """A world whose facts went through the load that a service uses."""
    root = folder / "facts"
    load_tables(tables, root)
    return World(tables, pin(root, TABLES), engine, folder)


def load_tables(tables: Tables, root: Path) -> None:
    """Load facts as a service does."""
    for name, rows in arrow(tables).items():
        table = TABLES[name]
        if table.unique is None:
            load_arrow(root, name, rows, "by hand")
        else:  # two have the same slug, as loads of earlier versions took them
            columns = [column.name for column in table.columns]
            merge_rows(root, table, [{each: row.get(each) for each in columns} for row in rows.to_pylist()], "by hand")


def laid(tables: Tables, folder: Path, engine: QueryEngine, *, rows_a_file: int = 10**6) -> World:
    """A world whose facts were written straight to files: quicker than a load, and free of its rules."""
    listing: dict[str, tuple[DataFile, ...]] = dict.fromkeys(TABLES, ())
    for name, rows in arrow(tables).items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        size = rows_a_file if TABLES[name].is_fact else rows.num_rows or 1
        parts = [rows.slice(start, size) for start in range(0, rows.num_rows, size)]
        listing[name] = tuple(_file(name, part, folder / name / f"{at}.parquet") for at, part in enumerate(parts))
    return World(tables, Snapshot(folder, dict.fromkeys(TABLES, 0), listing), engine, folder)


def _file(table: str, rows: pa.Table, path: Path) -> DataFile:
    time = TABLES[table].time
    if time is None:
        pq.write_table(rows, path)
        return DataFile(path.name, 0, rows.num_rows)
    batch = pa.array(["by hand"] * rows.num_rows, pa.string())
    pq.write_table(rows.append_column(BATCH, batch), path)
    times, owners = rows[time].to_pylist(), rows["owner_channel_id"].to_pylist()
    spans = {"first": min(times), "last": max(times), "low_owner": min(owners), "high_owner": max(owners)}
    return DataFile(path.name, 0, rows.num_rows, f"{min(times):%Y-%m}", **spans)


def arrow(tables: Tables) -> dict[str, pa.Table]:
    """The rows as Arrow tables: what a row leaves out is empty, or the column's default."""
    found: dict[str, pa.Table] = {}
    for name, rows in tables.items():
        columns = TABLES[name].columns
        full = [{column.name: row.get(column.name, column.default) for column in columns} for row in rows]
        schema = pa.schema([stored_schema(name).field(column.name) for column in columns])
        found[name] = pa.Table.from_pylist(full, schema)
    return found


def _plain(tables: Tables) -> duckdb.DuckDBPyConnection:
    """The rows as tables of a database, and `rate(numerator, denominator, digits)` as schools teach it."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    empty: Tables = dict.fromkeys(TABLES, ())
    for name, rows in arrow({**empty, **tables}).items():
        database.register("given", rows)
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
        database.unregister("given")
    types = [duckdb.sqltype(name) for name in ("DECIMAL(38, 6)", "DECIMAL(38, 0)", "INTEGER")]
    database.create_function(
        "rate", _rate, [*types], duckdb.sqltype("VARCHAR"), null_handling=FunctionNullHandling.SPECIAL
    )
    return database


def _rate(numerator: Decimal | None, denominator: Decimal | None, digits: int) -> str | None:
    if not denominator:
        return None
    with localcontext(prec=120):
        exact = (numerator or Decimal(0)) / denominator
        return str(exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP) + 0)  # no -0.00
