"""Measures what the descriptions (footers) of files cost a report: they list every row group, whoever's its rows are.

The CPU of small reports by engines in this process, one of which keeps what it has read, over two tables of different
size, in turns.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import duckdb

from benchmarks.facts import MEMORY, Facts
from benchmarks.reports import REPORTS
from benchmarks.service import READERS
from reelport.engine.compile import plan_pieces, tables_of
from reelport.engine.duckdb.engine import MOST_FOOTER_BYTES, QueryEngine
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import pin

_SMALL = REPORTS[0]
_COUNT_KEPT = "SELECT sum(memory_usage_bytes) FROM duckdb_memory() WHERE tag = 'OBJECT_CACHE'"


@dataclass(frozen=True, slots=True)
class Footers:
    """Seconds of the CPU for a million rows of the files that a report opens, and how many rows' footers are kept.

    Beyond so many rows of all files together none is kept.
    """

    read_seconds: float
    skip_seconds: float
    kept_rows: float


@dataclass(slots=True)
class _Spent:
    """The CPU of some reports, and the rows of all files that they opened."""

    seconds: float = 0.0
    opened: int = 0


def measure_footers(small: Facts, large: Facts, turns: int) -> Footers:
    """Measure them by so many turns of the reports of a partner over both."""
    spent = {case: _Spent() for case in product((small, large), (True, False))}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=small.folder)))
        engines = {
            (facts, keeps): stack.enter_context(QueryEngine(MEMORY, 2, folder, keeps_footers=keeps))
            for facts, keeps in spent
        }
        for turn in range(-1, turns):
            for (facts, keeps), engine in engines.items():
                found = _make_all(engine, facts, folder / "report.csv")
                if turn >= 0:  # the first turn warms up
                    spent[facts, keeps].seconds += found.seconds
                    spent[facts, keeps].opened += found.opened
    kept, unkept, of_small = spent[large, True], spent[large, False], spent[small, True]
    return Footers(
        read_seconds=(unkept.seconds - kept.seconds) / kept.opened * 1e6,
        skip_seconds=(kept.seconds - of_small.seconds) / (kept.opened - of_small.opened) * 1e6,
        kept_rows=MOST_FOOTER_BYTES / _count_kept_bytes(large) * large.rows,
    )


def _make_all(engine: QueryEngine, facts: Facts, to: Path) -> _Spent:
    """Make the small report of a few ranges of days, which lie in all months."""
    tenant, spent = Tenant(frozenset(READERS[_SMALL.organization])), _Spent()
    for shift in range(0, _SMALL.questions, 20):
        query = _SMALL.query(shift)
        snapshot = pin(facts.data / "facts", tables_of(query))
        spent.opened += sum(file.rows for file in snapshot.data_files("plays", query.start, query.end))
        with closing(engine.session()) as session:
            began = time.process_time()
            session.write(plan_pieces(query, tenant, snapshot), to)
            spent.seconds += time.process_time() - began
    return spent


def _count_kept_bytes(facts: Facts) -> int:
    """Count what DuckDB says that it keeps of the footers of all plays."""
    with duckdb.connect() as session:
        session.execute("SET parquet_metadata_cache = true")
        for file in facts.files("plays"):
            session.execute("SELECT min(started_at) FROM read_parquet(?)", [file]).fetchall()
        ((kept,),) = session.execute(_COUNT_KEPT).fetchall()
    return int(kept)
