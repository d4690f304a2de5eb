"""Spark as the aggregator: its rows are streamed into a Parquet file, which DuckDB reads.

The SQL of an aggregation is translated from DuckDB's dialect to Spark's. Sums are made of decimals of 38 digits, so
that none of them wraps around or is rounded.
"""

from __future__ import annotations

import secrets
import threading
import time
import warnings
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot
from sqlglot import exp

from reelport.engine.aggregation import Aggregator, group_rows, read_parquet, select_typed
from reelport.engine.duckdb.engine import Cancelled
from reelport.engine.mapping import MEASURES, WIDEST_DECIMAL
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import ResolvedQuery
from reelport.engine.spark.pinned_files import PinnedFiles
from reelport.errors import EngineUnavailable, InternalError
from reelport.facts.log.snapshot import Snapshot
from reelport.wording import advise_extra

if TYPE_CHECKING:
    from reelport.engine.spark.connection import SparkConnection

_LOOK_SECONDS = 0.1
"""Seconds between two looks at whether the report was cancelled."""
_STOP_SECONDS = 10.0
"""Seconds that Spark gets to stop; a server that doesn't answer is not waited for any longer."""
_FUNCTIONS = {"EPOCH_US": "UNIX_MICROS"}
"""Functions that sqlglot doesn't know, and their names in Spark."""
_KEYS = {"TEXT": pa.string(), "DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us")}


class SparkAggregator(Aggregator):
    """Aggregates one report on a Spark Connect server, piece by piece; close it afterwards.

    `cancelled` stops a running aggregation, here and on the server, and lets none begin. `name` is what the work is
    called in Spark. `folder` takes the file of the piece that is being written: on the disk, so that memory is bounded.
    """

    def __init__(self, address: str, name: str, folder: Path, cancelled: threading.Event) -> None:
        self._address = address
        self._name = name
        self._folder = folder
        self._cancelled = cancelled
        self._connection: SparkConnection | None = None
        self._file: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def aggregate(self, resolved: ResolvedQuery, snapshot: Snapshot) -> str:
        """Aggregate on the server, and give the file of what came of it.

        Raises Cancelled, OSError when the file can't be written, and as `SparkConnection.stream`.
        """
        self._remove_file()
        files = PinnedFiles()
        sql = _translate(resolved, Relations(snapshot, files))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = self._folder / f"aggregated-{secrets.token_hex(8)}.parquet"
        running: Future[None] = Future()
        arguments = (running, resolved, sql, files, self._file)
        # A thread of its own: a call to a server that doesn't answer can't be interrupted, but left behind.
        threading.Thread(target=self._run, args=arguments, name="spark", daemon=True).start()
        self._wait(running)
        return read_parquet(resolved, [str(self._file)])

    def close(self) -> None:
        """Delete the file; release the session in the background: the server may not answer."""
        self._remove_file()
        if connection := self._connection:
            self._connection = None
            threading.Thread(target=connection.close, name="spark-close", daemon=True).start()

    def _run(self, running: Future[None], resolved: ResolvedQuery, sql: str, files: PinnedFiles, to: Path) -> None:
        try:
            rows = self._connect().stream(sql, files)
            with pq.ParquetWriter(to, schema := _arrow_schema(resolved)) as out:
                for part in rows:
                    if self._cancelled.is_set():
                        break
                    out.write_table(part.cast(schema))
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
            running.set_exception(error)
        else:
            running.set_result(None)

    def _connect(self) -> SparkConnection:
        if self._connection is None:
            # Its warnings say nothing that an error doesn't, and would stand between the lines of the log.
            warnings.filterwarnings("ignore", module=r"pyspark\.")
            try:
                from reelport.engine.spark.connection import SparkConnection  # noqa: PLC0415 - loads pyspark
            except ImportError as error:
                raise EngineUnavailable(f"{error}: {advise_extra('server,spark', 'spark')}") from error
            self._connection = SparkConnection(self._address, self._name)
        return self._connection

    def _wait(self, running: Future[None]) -> None:
        while not wait([running], _LOOK_SECONDS).done:
            if self._cancelled.is_set():
                self._interrupt(running)
                break
        if self._cancelled.is_set():
            raise Cancelled("the report was stopped")
        running.result()

    def _interrupt(self, running: Future[None]) -> None:
        """Interrupt what runs until it has ended: the server overlooks one before the work begins."""
        until = time.monotonic() + _STOP_SECONDS
        while not running.done() and time.monotonic() < until:
            if connection := self._connection:
                once = threading.Thread(target=connection.interrupt, name="spark-interrupt", daemon=True)
                once.start()
                once.join(_STOP_SECONDS)
            wait([running], _LOOK_SECONDS)

    def _remove_file(self) -> None:
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file = None


def _translate(resolved: ResolvedQuery, relations: Relations) -> str:
    """Write the aggregation as Spark's SQL. InternalError for a function without a translation."""
    sql = select_typed(resolved.column_types, f"({group_rows(resolved, relations)}) AS aggregated")
    tree = sqlglot.parse_one(sql, read="duckdb")
    for found in list(tree.find_all(exp.Sum)):
        measure = MEASURES.get(found.parent.alias) if isinstance(found.parent, exp.Alias) else None
        if measure is None:
            raise InternalError(f"{found.sql()} is no sum of a measure")
        found.set("this", exp.cast(found.this, f"DECIMAL({WIDEST_DECIMAL}, {measure.digits})"))
    for called in list(tree.find_all(exp.Anonymous)):
        name = called.name.upper()
        if name not in _FUNCTIONS:
            raise InternalError(f"{name} has no translation to Spark")
        called.set("this", _FUNCTIONS[name])
    return tree.sql("spark")


def _arrow_schema(resolved: ResolvedQuery) -> pa.Schema:
    types = resolved.column_types
    fields = [(key.header, _KEYS[types[key.header]]) for key in resolved.keys]
    for name in resolved.measures:
        measure = MEASURES[name]
        type_ = pa.int64() if measure.is_distinct_count else pa.decimal128(WIDEST_DECIMAL, measure.digits)
        fields.append((name, type_))
    return pa.schema(fields)
